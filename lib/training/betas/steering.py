"""The beta of a run in which it changes, its state, and what the training loop asks of it.

beta-DPO takes a beta from each step's pairs and leaves some of them out; a KL target moves beta at
each probe. The state is kept in checkpoints, so that a resumed run has the betas of one that never
stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from lib.training.betas.formulas import (
    RunningMoments,
    adaptive_beta,
    dynamic_beta,
    filter_log_weights,
    filtered,
)
from lib.training.objective import Metrics, PackedRow
from lib.training.settings import DPOSettings

MeasureGaps = Callable[[Sequence[int]], Mapping[int, float]]


def steering_of(settings: DPOSettings) -> "Steering | None":
    """What changes beta while these settings train; None where it is fixed."""
    changes = settings.loss == "beta_dpo" or settings.kl_target is not None
    return Steering(settings) if changes else None


class Steering:
    """The beta in force, `beta`, and what it follows."""

    def __init__(self, settings: DPOSettings) -> None:
        assert settings.beta is not None  # only losses that have one change it
        self.settings = settings
        self.beta = self.base = settings.beta  # base: before a batch changes it
        self.moments = RunningMoments()
        self.unprobed = 0  # pairs since the last probe

    def begin_step(self, examples: Sequence[int], measure_gaps: MeasureGaps,
                   generator: np.random.Generator) -> list[int]:
        """The examples that the step trains on; sets its beta.

        measure_gaps: gives the gap of each pair before the step, in nats.
        """
        self.unprobed += len(examples)
        if self.settings.loss != "beta_dpo":
            return list(examples)
        own = self.settings.of_loss()
        found = measure_gaps(examples)
        gaps = [found[example] for example in examples]
        self.moments = self.moments.after(gaps, own["gap_momentum"])
        running = self.moments.debiased()
        kept = filtered(filter_log_weights(gaps, running), own["filtered_share"], generator)
        self.beta = dynamic_beta(self.base, float(np.mean([gaps[i] for i in kept])), running.mean,
                                 own["beta_strength"])
        return [examples[i] for i in kept]

    def after_probe(self, metrics: Metrics) -> None:
        """Follow the probe's KL, where there is a target; raises ValueError for a missing one."""
        settings = self.settings
        if settings.kl_target is None:
            return
        kl = metrics.get("kl")
        if kl is None:
            raise ValueError(f"kl_target is {settings.kl_target:g}, but the probe measured no KL; "
                             "leave kl_target out, or give the run validation prompts and "
                             "evaluation.probe_prompts of at least 1")
        self.beta = self.base = adaptive_beta(self.base, kl, settings.kl_target, self.unprobed,
                                              settings.horizon())
        self.unprobed = 0

    def metrics(self) -> Metrics:
        """The beta in force, and for beta-DPO the running mean of gaps that it is relative to."""
        running = {"running_gap": self.moments.debiased().mean}
        return {"beta": self.beta} | (running if self.settings.loss == "beta_dpo" else {})

    def state(self) -> dict[str, Any]:
        """All that changes, ready for JSON."""
        return {"beta": self.beta, "base": self.base, "moments": asdict(self.moments),
                "unprobed": self.unprobed}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.beta, self.base, self.unprobed = state["beta"], state["base"], state["unprobed"]
        self.moments = RunningMoments(**state["moments"])


class Gaps:
    """The gaps of an objective's pairs where the loop's forward expects its loss."""

    def __init__(self, objective: Any) -> None:
        self.objective = objective

    def loss(self, model: PreTrainedModel, row: PackedRow) -> tuple[Tensor, Metrics]:
        """Gap of each of the row's pairs, [pairs]."""
        return self.objective.gaps(model, row), {}
