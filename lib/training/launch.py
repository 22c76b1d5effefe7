"""Starting a training job on several processes of this machine by `accelerate launch`.

An accelerate configuration file may say more (machines, FSDP); its number of processes then counts.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from lib import ROOT
from lib.runtime.progress import say
from lib.training.distributed import ProcessError, lost_another
from lib.training.job import Job, write_job


def launch_job(job: Job, processes: int, sharded: bool = False, config_file: str = "") -> None:
    """Run the job on `processes` processes and show what rank 0 says.

    Raises ProcessError, one sentence, when any of them failed; what is done is in the checkpoints.
    """
    path = Path(job.folder) / "job.json"
    write_job(job, path)
    command = launch_command(path, processes, sharded, config_file)
    say(f"{Path(job.folder).name}: {' '.join(command[2:])}")
    with tempfile.TemporaryFile("w+") as errors:
        worker = subprocess.Popen(command, cwd=ROOT, env=_environment(processes), text=True,
                                  stdout=subprocess.PIPE, stderr=errors)
        for line in worker.stdout:
            print(line, end="", flush=True)
        if worker.wait():
            errors.seek(0)
            raise ProcessError(_reason(errors.read(), job))


def launch_command(path: Path, processes: int, sharded: bool = False,
                   config_file: str = "") -> list[str]:
    """The command line; the same works by hand."""
    if config_file:
        options = ["--config_file", config_file]
    else:  # --multi_gpu starts processes on a machine without GPUs as well, which --cpu does not
        kind = ["--use_fsdp", "--fsdp_version", "2"] if sharded else ["--multi_gpu"]
        options = [*kind, "--num_processes", str(processes), "--num_machines", "1",
                   "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    return [sys.executable, "-m", "accelerate.commands.launch", *options, "-m", "lib.training",
            "--config", str(path)]


def _environment(processes: int) -> dict[str, str]:
    """This process's environment, the cores shared out among the processes."""
    threads = max(1, (os.cpu_count() or 1) // max(1, processes))
    return {"OMP_NUM_THREADS": str(threads)} | dict(os.environ)


def _reason(errors: str, job: Job) -> str:
    """One sentence out of what the processes and their launcher wrote."""
    signals = re.findall(r"exitcode\s*:\s*-(\d+)", errors)
    killed = [signal for signal in signals if signal != "15"]  # 15: the launcher ends the others
    if killed:
        return (f"a process that trained {job.folder} was killed (signal {killed[0]}), and all "
                "were stopped; start again, with any number of processes, to go on from the newest "
                "checkpoint")
    said = re.findall(r"^(?:\[rank\d+\]: )?(?:error|[\w.]+Error): (.+)$", errors, re.MULTILINE)
    own = [text for text in said if not lost_another(text)]
    return (own or said or ["the launcher failed; run its command by hand to see why"])[0]
