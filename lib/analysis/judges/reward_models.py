"""How good a reward head is on answers that it was not fitted on, with intervals.

Accuracy over pairs of answers to one prompt, as a whole, by score gap, by source, on pairs of
nearly equal length, beside what length alone would get, and the calibration of its differences.
Who is right follows `outcomes.compare_gaps`: scores alone count, an equal score is half right.
Intervals count prompts, not pairs, because pairs of one prompt share answers.
"""

import numpy as np

from lib.analysis.statistics.calibration import calibration
from lib.analysis.statistics.clusters import clustered_share_interval
from lib.analysis.statistics.outcomes import compare_gaps
from lib.inference.rewards.heads.answers import ScoredAnswers
from lib.runtime.files import Row

GAPS = (0.5, 1.0, 2.0, 3.0)
MATCHED_LENGTH = 0.1  # lengths differ by at most this share of the longer answer


def head_report(rewards: np.ndarray, answers: ScoredAnswers) -> Row:
    """Accuracy by gap, source and length, and calibration, as one plain row for JSON.

    rewards: [answers], NaN where an answer could not be scored; pairs with such a side are left
    out and counted in `missing`. Raises ValueError when no pair is left.
    """
    better, worse = answers.pairs.T
    advantage = rewards[better] - rewards[worse]  # [pairs]
    scored = np.isfinite(advantage)
    if not scored.any():
        raise ValueError(f"{answers.name} has no pair with two scored answers; nothing to report")
    hits = compare_gaps(advantage[scored])
    better, worse, gaps = better[scored], worse[scored], answers.gaps[scored]
    prompts, sources = answers.groups[better], answers.sources[better]
    shorter = compare_gaps(answers.lengths[worse] - answers.lengths[better])
    longer = np.maximum(answers.lengths[better], answers.lengths[worse])
    matched = np.abs(answers.lengths[better] - answers.lengths[worse]) <= MATCHED_LENGTH * longer

    def accuracy(chosen: np.ndarray) -> Row:
        return clustered_share(hits[chosen], prompts[chosen])

    return {
        "tested_on": answers.name,
        "answers": len(rewards),
        "missing": int((~scored).sum()),
        "all": accuracy(np.full(len(hits), True)),
        "by_gap": [{"gap_at_least": gap} | accuracy(gaps >= gap) for gap in GAPS],
        "by_source": [{"source": str(source)} | accuracy(sources == source)
                      for source in np.unique(sources)],
        "length_matched": accuracy(matched),
        "length_alone": _length_alone(shorter, prompts),
        "calibration": calibration(advantage[scored], prompts),
    }


def clustered_share(values: np.ndarray, clusters: np.ndarray) -> Row:
    """Mean of `values` (0 to 1) with the 95 % interval of their clusters; None if empty.

    values, clusters: [pairs]. Returns {value, ci_low, ci_high, n, prompts}.
    """
    if not len(values):
        return {"value": None, "ci_low": None, "ci_high": None, "n": 0, "prompts": 0}
    low, high = clustered_share_interval(values, clusters)
    return {"value": float(values.mean()), "ci_low": low, "ci_high": high,
            "n": len(values), "prompts": len(np.unique(clusters))}


def summary_line(name: str, report: Row) -> str:
    """One line for logs: accuracy with interval, at a gap of 1 or more, and of length alone."""
    whole, wide = report["all"], report["by_gap"][GAPS.index(1.0)]
    text = (f"{name} on {report['tested_on']}: accuracy {whole['value']:.3f} "
            f"[{whole['ci_low']:.3f}, {whole['ci_high']:.3f}] over {whole['n']} pairs")
    if wide["n"]:
        text += f", {wide['value']:.3f} over {wide['n']} pairs with a gap of 1 or more"
    length = report["length_alone"]
    return f"{text}; length alone {length['value']:.3f} ({length['rule']})"


def _length_alone(shorter: np.ndarray, prompts: np.ndarray) -> Row:
    """Accuracy of the better of two rules, chosen on these very pairs: a strong baseline."""
    rule = "the shorter wins" if shorter.mean() >= 0.5 else "the longer wins"
    hits = shorter if shorter.mean() >= 0.5 else 1 - shorter
    return {"rule": rule} | clustered_share(hits, prompts)
