"""How many processes a study works on: `--processes`, `--shard` and `--accelerate` of the runner.

The runner passes them to the notebooks' kernels in the environment, because they change how long
a stage takes and not what comes out: they are no part of a profile or of a stage's parameters.
"""

import os

COUNT, SHARDED, CONFIG = "STUDY_PROCESSES", "STUDY_SHARDED", "STUDY_ACCELERATE_CONFIG"


def use_processes(count: int, sharded: bool, config_file: str) -> None:
    """Set what `lib.study.workers.training` does from here on, in the kernels of notebooks too.

    Raises ValueError for a count below 1 or a configuration file that is not there.
    """
    if count < 1:
        raise ValueError(f"--processes is {count}; use at least 1")
    if config_file and not os.path.exists(config_file):
        raise ValueError(f"--accelerate {config_file}: there is no such file; "
                         "`accelerate config --config_file FILE` writes one")
    os.environ[COUNT], os.environ[SHARDED] = str(count), "1" if sharded else ""
    os.environ[CONFIG] = os.path.abspath(config_file) if config_file else ""


def process_count() -> int:
    """How many processes train, where no accelerate configuration file says it."""
    return int(os.environ.get(COUNT, "1"))


def share_count() -> int:
    """On how many processes sampling and scoring are split: one with a configuration file."""
    return 1 if config_file() else process_count()


def sharded() -> bool:
    """Whether training cuts the model over its processes."""
    return bool(os.environ.get(SHARDED))


def config_file() -> str:
    """The accelerate configuration file for training, or an empty text."""
    return os.environ.get(CONFIG, "")
