"""Work without gradients, shared by the processes of `--processes N`.

    accelerate launch --multi_gpu --num_processes 4 -m lib.study.workers.worker --config FILE

Sampling, scoring and reading a stream split their prompts or rows among N processes. The caller
(`run_on_workers`) starts them, joins what they return, and alone writes the run's files. Random
streams depend on the prompt, so that N processes give the rows of one.
"""

import argparse
import importlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lib.runtime.files import read_json, write_json
from lib.runtime.parent import end_with_parent
from lib.runtime.settings import build
from lib.study.profiles import Profile
from lib.study.run import Study
from lib.study.workers.processes import share_count
from lib.training.parallel.launch import launch, launch_command
from lib.training.parallel.processes import JOIN_SECONDS, ProcessError, join, leave
from lib.training.processes import Processes

Task = Callable[[Study, Mapping[str, Any], Processes], Any]  # its return value goes through JSON


def run_on_workers(study: Study, task: str, options: Mapping[str, Any], action: str,
                   resume_hint: str) -> list[Any]:
    """Call a task on every process; returns their values in rank order.

    task: `module:function` of a Task. action, resume_hint: for the sentence of the ProcessError
    that a failed process raises, see `launch`.
    """
    count, folder = share_count(), study.path("shares")
    shutil.rmtree(folder, ignore_errors=True)
    path = folder / "task.json"
    write_json(path, {"task": task, "options": options, "profile": asdict(study.profile),
                      "folder": str(study.folder)})
    try:
        launch(launch_command("lib.study.workers.worker", path, count), count, action, resume_hint)
        return [read_json(_returned(path, rank)) for rank in range(count)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _returned(path: Path, rank: int) -> Path:
    return path.with_name(f"returned-{rank}.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do this process's share; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lib.study.workers.worker")
    parser.add_argument("--config", required=True, type=Path, help="written by `run_on_workers`")
    path = parser.parse_args(arguments).config
    end_with_parent()
    try:
        job = read_json(path)
        study = Study(build(Profile, job["profile"]), Path(job["folder"]))
        processes = join(study.device.device.type == "cpu" or not torch.cuda.is_available(),
                         JOIN_SECONDS)
        if not processes.main:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - rank 0 talks
        module, _, name = job["task"].partition(":")
        task: Task = getattr(importlib.import_module(module), name)
        write_json(_returned(path, processes.rank), task(study, job["options"], processes))
    except (ProcessError, ValueError, OSError, RuntimeError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 2
    leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
