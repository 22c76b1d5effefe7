"""How good a head is on answers that it never saw, with intervals.

Accuracy over pairs of answers to one prompt, as a whole, by score gap, by source, on pairs of
nearly equal length, beside what length alone would get, and how well differences are calibrated.
Intervals count prompts, not pairs, because pairs of one prompt share answers.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from lib.analysis.statistics.calibration import calibration
from lib.analysis.statistics.clusters import clustered_share_interval
from lib.analysis.tables.formatting import markdown_table, number, rate
from lib.inference.rewards.heads.answers import ScoredAnswers

GAPS = (0.5, 1.0, 2.0, 3.0)
MATCHED_LENGTH = 0.1  # lengths differ by at most this share of the longer answer

Report = dict[str, Any]


def head_report(rewards: np.ndarray, answers: ScoredAnswers) -> Report:
    """Everything below as one JSON-ready dictionary.

    rewards: [answers], NaN where an answer could not be scored; pairs with such a side are left
    out and counted in `missing`. Raises ValueError when no pair is left.
    """
    better, worse = answers.pairs.T
    advantage = rewards[better] - rewards[worse]  # [pairs]
    scored = np.isfinite(advantage)
    if not scored.any():
        raise ValueError(f"{answers.name} has no pair with two scored answers; nothing to report")
    hits = _hits(advantage[scored])
    better, worse, gaps = better[scored], worse[scored], answers.gaps[scored]
    prompts, sources = answers.groups[better], answers.sources[better]
    shorter = _hits(answers.lengths[worse] - answers.lengths[better])
    longer = np.maximum(answers.lengths[better], answers.lengths[worse])
    matched = np.abs(answers.lengths[better] - answers.lengths[worse]) <= MATCHED_LENGTH * longer

    def accuracy(chosen: np.ndarray) -> Report:
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
        "calibration": calibration(advantage[scored]).row(),
    }


def clustered_share(values: np.ndarray, clusters: np.ndarray) -> Report:
    """Mean of `values` (0 to 1) with the 95 % interval of their clusters; None if empty.

    values, clusters: [pairs]. Returns {value, ci_low, ci_high, n, prompts}.
    """
    if not len(values):
        return {"value": None, "ci_low": None, "ci_high": None, "n": 0, "prompts": 0}
    low, high = clustered_share_interval(values, clusters)
    return {"value": float(values.mean()), "ci_low": low, "ci_high": high,
            "n": len(values), "prompts": len(np.unique(clusters))}


def summary_line(name: str, report: Report) -> str:
    """One line for logs: accuracy with interval, at a gap of 1 or more, and of length alone."""
    whole, wide = report["all"], report["by_gap"][GAPS.index(1.0)]
    text = (f"{name} on {report['tested_on']}: accuracy {whole['value']:.3f} "
            f"[{whole['ci_low']:.3f}, {whole['ci_high']:.3f}] over {whole['n']} pairs")
    if wide["n"]:
        text += f", {wide['value']:.3f} over {wide['n']} pairs with a gap of 1 or more"
    length = report["length_alone"]
    return f"{text}; length alone {length['value']:.3f} ({length['rule']})"


def slices_table(reports: dict[str, dict[str, Report]]) -> str:
    """Accuracy by score gap and by source, of length alone, and calibration: a column a test.

    reports: {model: {test set: report}}; the temperature is what differences are best divided by.
    """
    if not reports:
        return "The reward models of this run were not fitted here, so no unseen pairs are known."
    columns = {f"{model} on {name}": dict(_slices(report))
               for model, tested in reports.items() for name, report in tested.items()}
    labels = dict.fromkeys(label for cells in columns.values() for label in cells)
    rows = [{"pairs": label} | {heading: cells.get(label, number(None))
                                for heading, cells in columns.items()} for label in labels]
    return markdown_table(rows, {heading: heading for heading in ("pairs", *columns)})


def _slices(report: Report) -> Iterator[tuple[str, str]]:
    """(label, cell) of each line of one report's column."""
    for row in report["by_gap"]:
        yield f"a gap of {row['gap_at_least']:g} or more", _share(row)
    for row in report["by_source"]:
        yield row["source"], _share(row)
    yield "by length alone", _share(report["length_alone"])
    yield "calibration error", number(report["calibration"]["ece"])
    yield "temperature", number(report["calibration"]["temperature"])


def _share(row: Report) -> str:
    """`.62 [.55, .68], n = 120`; an en dash where there is no pair."""
    if row["value"] is None:
        return number(None)
    return f"{rate({'win_rate': row['value']} | row)}, n = {row['n']}"


def _hits(advantage: np.ndarray) -> np.ndarray:
    """1 where the better answer has the higher value, half for a tie."""
    return (advantage > 0) + 0.5 * (advantage == 0)


def _length_alone(shorter: np.ndarray, prompts: np.ndarray) -> Report:
    """Accuracy of the better of two rules, chosen on these very pairs: a hard rival to beat."""
    rule = "the shorter wins" if shorter.mean() >= 0.5 else "the longer wins"
    hits = shorter if shorter.mean() >= 0.5 else 1 - shorter
    return {"rule": rule} | clustered_share(hits, prompts)
