"""Does the kind of pairs or the learning rate ruin the answers? A two-by-two of short DPO runs.

In: metrics and validation rewards of four runs, whose probes answer the same prompts with the same
random numbers. Out: each cell with intervals, and the effects of both factors paired by prompt.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lib.analysis.policies.displacement import reward_accuracy, reward_intervals
from lib.analysis.statistics.clusters import clustered_mean_interval, clustered_share_interval
from lib.runtime.files import Row

PROBED = {"judge_score": ("judge_scores", clustered_mean_interval),  # mean -> values, interval
          "repetition": ("repetitions", clustered_share_interval)}


def probe_intervals(samples: Row) -> Row:
    """A probe's row with `<metric>_low` and `<metric>_high`, 95 % over prompts, without values."""
    ends: Row = {}
    for name, (values, interval) in PROBED.items():
        known = [value for value in samples.get(values, ()) if value is not None]
        if len(known) > 1:
            ends |= dict(zip((f"{name}_low", f"{name}_high"), interval(known), strict=True))
    hidden = [values for values, _ in PROBED.values()]
    return {key: value for key, value in samples.items() if key not in hidden} | ends


def probe_change(samples: Sequence[Row]) -> Row:
    """Change of the judge's score from the first probe to the last, {"mean", "low", "high", "n"}.

    Paired by prompt; the interval is 95 %.
    """
    before, after = (np.array(samples[place]["judge_scores"], dtype=float) for place in (0, -1))
    return _mean(after - before)


def warning_cell(name: str, pairs: str, learning_rate: float, metrics: Sequence[Row],
                 rewards: Sequence[Row]) -> Row:
    """One run: accuracy and margin on validation pairs, the probe before and after training.

    `change` is the mean change of the judge's score from the start, with its interval; `scores` are
    the judge's of every prompt after training.
    """
    samples = [row for row in metrics if row["split"] == "samples"]
    return {"cell": name, "pairs": pairs, "learning_rate": learning_rate,
            "steps": samples[-1]["step"], "accuracy": reward_accuracy(rewards),
            "margin": dict(zip(("mean", "low", "high"), _margin(rewards), strict=True)),
            "start": probe_intervals(samples[0]), "end": probe_intervals(samples[-1]),
            "change": probe_change(samples), "scores": samples[-1]["judge_scores"]}


def factor_effects(cells: Sequence[Row]) -> dict[str, Row]:
    """Effects on the judge's score, {"mean", "low", "high", "n"} each, paired by prompt.

    `pairs`: written less on-policy pairs, mean of both rates. `rate`: high less low rate, mean of
    both kinds. `interaction`: the rate's effect on written pairs less that on on-policy ones.
    Prompts that a cell lacks a score of are left out. Empty with fewer than four cells.
    """
    scores = {(cell["pairs"], cell["cell"].rsplit("_", 1)[1]):
              np.array(cell["scores"], dtype=float) for cell in cells}
    if len(scores) < 4:
        return {}
    written, own = ({rate: scores[kind, rate] for rate in ("low", "high")}
                    for kind in ("written", "on_policy"))
    return {"pairs": _mean((written["low"] + written["high"] - own["low"] - own["high"]) / 2),
            "rate": _mean((written["high"] + own["high"] - written["low"] - own["low"]) / 2),
            "interaction": _mean(written["high"] - written["low"] - own["high"] + own["low"])}


def harmful(effects: Mapping[str, Row]) -> list[str]:
    """The factors whose effect's interval lies below 0: "pairs", "rate", both or none."""
    return [name for name in ("pairs", "rate") if effects[name]["high"] < 0]


def _margin(rewards: Sequence[Row]) -> tuple[float, float, float]:
    mean = float(np.mean([row["chosen"] - row["rejected"] for row in rewards]))
    low, high = reward_intervals(rewards)["rewards/margins"]
    return mean, low, high


def _mean(values: np.ndarray) -> Row:
    known = values[~np.isnan(values)]
    low, high = clustered_mean_interval(known)
    return {"mean": float(known.mean()), "low": low, "high": high, "n": len(known)}
