"""`python -m lib.training --config FILE`: one training run, alone or as one of many processes.

    python -m lib.training --config job.yaml
    accelerate launch --multi_gpu --num_processes 4 -m lib.training --config job.yaml
    accelerate launch --use_fsdp --fsdp_version 2 --num_processes 4 -m lib.training --config ...

--multi_gpu trains copies of the model (DDP), --use_fsdp cuts it over the processes (FSDP2). FILE
is a `lib.training.job.Job` as YAML or JSON. On a machine without GPUs the same commands train on
CPUs. Any number of processes can resume an interrupted run.
"""

import argparse
import os
import sys
from collections.abc import Sequence

import torch

from lib.runtime.parent import end_with_parent
from lib.training.dpo import train_dpo
from lib.training.job import Job, ProbeMaker, read_job
from lib.training.loop import TrainingError
from lib.training.on_policy.train import train_policy_gradient
from lib.training.parallel.processes import JOIN_SECONDS, ProcessError, join, leave, lost_another
from lib.training.sft import train_sft

TRAIN = {"sft": train_sft, "dpo": train_dpo, "policy_gradient": train_policy_gradient}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lib.training", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="the job, a YAML or JSON file")
    parser.add_argument("--join-timeout", type=float, default=JOIN_SECONDS,
                        help=f"seconds to wait for all processes to join ({JOIN_SECONDS:.0f})")
    options = parser.parse_args(arguments)
    end_with_parent()
    try:
        _run(*read_job(options.config), options.join_timeout)
    except (ProcessError, TrainingError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


def _run(job: Job, make_probe: ProbeMaker | None, seconds: float) -> None:
    cpu = job.device == "cpu" or not torch.cuda.is_available()
    processes = join(cpu, seconds)
    if not processes.main:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - only rank 0 prints
    try:
        TRAIN[job.method](job, processes, make_probe)
    except RuntimeError as error:
        if processes.count > 1 and lost_another(str(error)):
            raise ProcessError(
                f"process {processes.rank} of {processes.count} lost another one "
                f"({str(error).splitlines()[0]}); start again, with any number of processes, to "
                f"resume from the newest checkpoint in {job.folder}/checkpoints") from error
        raise
    leave()


if __name__ == "__main__":
    sys.exit(main())
