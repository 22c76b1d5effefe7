"""Arms that learn from fixed pairs: another loss, or another choice of pairs."""

from pathlib import Path

from lib.study.beyond.arm import ArmRun


def preference_loss(run: ArmRun, loss: str) -> Path:
    """A loss of the DPO family on the run's own pairs of these prompts."""
    return run.train("dpo", run.pairs(), run.settings(loss))
