"""Losses compared at equal movement: each at the learning rate that moves it as far as DPO.

A loss that merely moves further can look better or worse than it is. The strength is the learning
rate: over the few steps of an arm AdamW divides the gradient by its own size, so that beta changes
its direction and hardly the length of the way. KL is measured on validation answers alone.
"""

from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from lib.runtime.files import read_jsonl, write_json
from lib.runtime.progress import say
from lib.study.beyond.arm import ArmError, ArmRun, kl_from_sft
from lib.study.beyond.settings import ANCHOR, TRIALS

NEAR, STEP = 0.1, 4.0  # relative to the KL; largest factor between two rates


def equal_movement(run: ArmRun, loss: str, faster: float = 1.0, **own: Any) -> Path:
    """The loss at the rate, of at most `TRIALS`, whose KL from SFT is nearest to that of `ANCHOR`.

    KL grows like the square of a small step, so the next rate is the last one times the root of
    what is missing. matched.json has every trial. faster: the first rate over the profile's; own:
    further settings of the training. Raises ArmError before `ANCHOR` has run.
    """
    target = kl_of_anchor(run)
    rate, trials, models = faster * run.settings(loss).learning_rate, [], []
    for number in range(TRIALS):
        models.append(run.train("dpo", run.pairs(), run.settings(loss, learning_rate=rate, **own),
                                name=f"trial{number}"))
        rows = kl_from_sft(run.study, models[-1], f"{run.name}/trial{number}",
                           run.folder / f"trial{number}" / "kl_answers.jsonl")
        kl = float(np.mean([row["kl"] for row in rows]))
        trials.append({"learning_rate": rate, "kl": kl, "target": target})
        say(f"{run.name}: a rate of {rate:.1e} moves it {kl:.3f} nats, {ANCHOR} {target:.3f}")
        if abs(kl - target) <= NEAR * target:
            break
        rate *= min(STEP, max(1 / STEP, sqrt(target / max(kl, 1e-9))))
    write_json(run.folder / "matched.json", trials)
    return min(zip(trials, models, strict=True),
               key=lambda one: abs(one[0]["kl"] - target))[1]


def kl_of_anchor(run: ArmRun) -> float:
    """KL of the arm `ANCHOR` from SFT; raises ArmError before it has run, and where it has none."""
    file = run.study.path("arms", ANCHOR, "kl.jsonl")
    if not file.exists():
        raise ArmError(f"{run.name} needs the KL of {ANCHOR}, which has not run; put {ANCHOR} "
                       "before it in beyond.arms, or see why it failed")
    if not (rows := read_jsonl(file)):
        raise ArmError(f"{run.name} needs the KL of {ANCHOR}, which no validation prompt measured; "
                       "raise data.validation_share")
    return float(np.mean([row["kl"] for row in rows]))
