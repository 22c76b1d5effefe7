"""How good the run's judges are: the blind reader's audit and the reference answers, scored.

Everything that needs a reward model for notebook 05 is here, behind one `Scorer`; the statistics
are in `lib.analysis`. The audit only measures: nothing is fitted or chosen on it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import rate_systems, ratings_rows
from lib.analysis.exports.formats import reconstructed_score
from lib.analysis.judges.audit import (
    READER,
    audit_agreement,
    audit_systems,
    judge_quality,
    reader_win_rates,
    system_order,
)
from lib.analysis.judges.errors import corrected_win_rates, judge_calibration, length_bias
from lib.data.sources import load_scored
from lib.runtime.files import Row
from lib.study.stages.rewards import ROLES, Scorer, conversation

Systems = Mapping[str, Sequence[Row]]
Pairs = Sequence[tuple[str, str]]


def audit_results(scorer: Scorer, systems: Systems, pairs: Pairs, resamples: int) -> Row:
    """The reader's verdicts, how far each judge agrees, and win rates corrected for its errors."""
    rows = load_scored("audit")
    scores = _audit_scores(scorer, rows)
    return {
        "win_rates": reader_win_rates(rows, scores, resamples=resamples),
        "ratings": ratings_rows(rate_systems(scoreboard(audit_systems(rows), [READER]), READER),
                                READER),
        "judge_quality": [row for role in ROLES for row in judge_quality(rows, role, scores[role])],
        "agreement": audit_agreement(rows, scores),
        "system_order": [system_order(rows, role, scores[role]) for role in ROLES],
        "calibration": [judge_calibration(rows, role, scores[role]) for role in ROLES],
        "length_bias": length_bias(rows, scores),
        "corrected": [row for role in ROLES for row in corrected_win_rates(
            systems, rows, role, scores[role], pairs)]}


def reference_results(scorer: Scorer, systems: Systems, heldout: Sequence[Row]) -> list[Row]:
    """The class leaderboard's score, reconstructed: each system against the reference answers.

    Empty where the held-out prompts carry none.
    """
    known = [row for row in heldout if row.get("reference")]
    if not known:
        return []
    scores = scorer.score([conversation(row["prompt"], row["reference"]) for row in known])
    return [{"system": name} | reconstructed_score(
                rows, {row["id"]: score for row, score in zip(known, scores[role], strict=True)},
                role)
            for role in ROLES for name, rows in systems.items()]


def _audit_scores(scorer: Scorer, rows: Sequence[Row]) -> dict[str, list[list[float | None]]]:
    """Each judge's scores of every answer, row by row."""
    flat = scorer.score([conversation(row["prompt"], answer["text"])
                         for row in rows for answer in row["answers"]])
    sizes = np.cumsum([len(row["answers"]) for row in rows])[:-1]
    return {role: [list(part) for part in np.split(np.array(values, dtype=object), sizes)]
            for role, values in flat.items()}
