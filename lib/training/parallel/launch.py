"""Starting a job on several processes of this machine by `accelerate launch`.

An accelerate configuration file may say more (machines, FSDP); its number of processes then counts.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from lib.runtime.places import prepare_children
from lib.runtime.progress import say
from lib.training.job import Job, ProbeMaker, write_job
from lib.training.parallel.processes import JOIN_SECONDS, ProcessError, lost_another


def launch_job(job: Job, processes: int, sharded: bool = False, config_file: str = "",
               make_probe: ProbeMaker | None = None) -> None:
    """Train on `processes` processes and show what rank 0 prints.

    Raises ProcessError, one sentence, when a process failed; the checkpoints stay.
    """
    path = Path(job.folder) / "job.json"
    write_job(job, path, make_probe)
    launch(launch_command("lib.training", path, processes, sharded, config_file), processes,
           f"trained {job.folder}", "the newest checkpoint")


def launch(command: list[str], processes: int, action: str, resume_hint: str) -> None:
    """Run a command line of `launch_command` and show its output as it comes.

    Raises ProcessError when a process failed; its sentence says `action`, what the processes did,
    and `resume_hint`, where a new start resumes.
    """
    say(" ".join(command[2:]))
    threads = max(1, (os.cpu_count() or 1) // max(1, processes))
    prepare_children()
    environment = {"OMP_NUM_THREADS": str(threads)} | dict(os.environ)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        worker = subprocess.Popen(command, env=environment, encoding="utf-8", errors="replace",
                                  stdout=subprocess.PIPE, stderr=errors)
        try:
            for line in worker.stdout or ():
                print(line, end="", flush=True)
        except BaseException:  # an interrupted cell leaves no process at work
            worker.terminate()
            worker.wait()
            raise
        if worker.wait():
            errors.seek(0)
            raise ProcessError(reason_of(errors.read(), action, resume_hint))


def launch_command(module: str, path: Path, processes: int, sharded: bool = False,
                   config_file: str = "") -> list[str]:
    """The command line; the same works by hand."""
    if config_file:  # it may name several machines
        options = ["--config_file", config_file, "--rdzv_conf", f"timeout={JOIN_SECONDS:.0f}"]
    else:  # --multi_gpu starts processes without GPUs as well, --cpu does not
        kind = ["--use_fsdp", "--fsdp_version", "2"] if sharded else ["--multi_gpu"]
        options = [*kind, "--num_processes", str(processes), "--num_machines", "1",
                   "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    return [sys.executable, "-m", "accelerate.commands.launch", *options, "-m", module,
            "--config", str(path)]


def reason_of(errors: str, action: str, resume_hint: str) -> str:
    """One sentence about a failure from what processes and launcher wrote; see `launch`."""
    signals = re.findall(r"exitcode\s*:\s*-(\d+)", errors)
    killed = [signal for signal in signals if signal != "15"]  # the launcher sends 15 to the others
    if killed:
        return (f"a process that {action} was killed (signal {killed[0]}), and all were stopped; "
                f"start again, with any number of processes, to resume from {resume_hint}")
    if came := re.search(r"waiting for clients\. (\d+)/(\d+) clients joined", errors):
        return (f"{came[1]} of {came[2]} machines joined; start the others at the same time, or "
                "check main_process_ip and the firewall")
    said = re.findall(r"^(?:\[rank\d+\]: )?(?:error|[\w.]+Error): (.+)$", errors, re.MULTILINE)
    own = [text for text in said if not lost_another(text)]
    return (own or said or ["the launcher failed; run its command by hand to see why"])[0]
