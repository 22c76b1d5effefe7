"""The number of processes of a study: `--processes`, `--shard` and `--accelerate` of the runner.

They change a stage's time and not its results, so they belong to no profile and no manifest; the
runner passes them to the notebooks' kernels in the environment.
"""

import os

COUNT, SHARDED, CONFIG = "STUDY_PROCESSES", "STUDY_SHARDED", "STUDY_ACCELERATE_CONFIG"


def use_processes(count: int, sharded: bool, config_file: str) -> None:
    """Set the processes for this process and its notebooks' kernels.

    Raises ValueError for a count below 1 and for a missing configuration file.
    """
    if count < 1:
        raise ValueError(f"--processes is {count}; use at least 1")
    if config_file and not os.path.exists(config_file):
        raise ValueError(f"--accelerate {config_file}: there is no such file; "
                         "`accelerate config --config_file FILE` writes one")
    os.environ[COUNT], os.environ[SHARDED] = str(count), "1" if sharded else ""
    os.environ[CONFIG] = os.path.abspath(config_file) if config_file else ""


def process_count() -> int:
    """How many processes train, without an accelerate configuration file."""
    return int(os.environ.get(COUNT, "1"))


def share_count() -> int:
    """How many processes sample and score; one with an accelerate configuration file."""
    return 1 if config_file() else process_count()


def sharded() -> bool:
    """Whether the training processes share the model's weights (FSDP2)."""
    return bool(os.environ.get(SHARDED))


def config_file() -> str:
    """The accelerate configuration file for training; empty without one."""
    return os.environ.get(CONFIG, "")
