"""Errors of a judge, measured on answers that the blind reader scored too.

Calibration of score gaps, preference for length beside the reader's, and win rates corrected for
the errors. In: the audit's rows and a judge's scores of its answers. Out: plain rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from lib.analysis.judges.audit import (
    READER,
    Scores,
    answer_pairs,
    audit_systems,
    corrected_win_rate,
)
from lib.analysis.judges.quality import length_preference
from lib.analysis.statistics.calibration import calibration
from lib.runtime.files import Row


def judge_calibration(audit_rows: Sequence[Row], judge: str, scores: Scores) -> Row:
    """Calibration of the judge's score gaps on all pairs that the reader scores differently.

    {"judge"} and the keys of `calibration`; pairs of one prompt are correlated, so n overstates the
    information.
    """
    gaps = [gap for _, apart, gap in answer_pairs(audit_rows, scores) if apart > 0]
    return {"judge": judge} | calibration(gaps)


def length_bias(audit_rows: Sequence[Row], judge_scores: Mapping[str, Scores]) -> list[Row]:
    """How often each judge prefers the longer of two answers, the reader first.

    A judge above the reader's share is biased towards length. Pairs of unequal length, in
    characters; intervals count prompts.
    """
    reader = [[answer["score"] for answer in row["answers"]] for row in audit_rows]
    return [{"judge": judge} | _length_row(audit_rows, scores)
            for judge, scores in ({READER: reader} | dict(judge_scores)).items()]


def corrected_win_rates(systems: Mapping[str, Sequence[Row]], audit_rows: Sequence[Row],
                        judge: str, scores: Scores,
                        pairs: Iterable[tuple[str, str]]) -> list[Row]:
    """`corrected_win_rate` for each pair of systems that the audit has too."""
    known = audit_systems(audit_rows)
    rows = [corrected_win_rate(systems, audit_rows, judge, scores, a, b) for a, b in pairs
            if a in known and b in known]
    return [row for row in rows if row is not None]


def _length_row(audit_rows: Sequence[Row], scores: Scores) -> Row:
    """`length_preference` on every two different answers of a prompt."""
    gaps, lengths, prompts = [], [], []
    for row, judged in zip(audit_rows, scores, strict=True):
        answers = zip(row["answers"], judged, strict=True)
        for (one, first), (other, second) in combinations(answers, 2):
            if None not in (first, second) and one["text"] != other["text"]:
                gaps.append(first - second)
                lengths.append(len(one["text"]) - len(other["text"]))
                prompts.append(row["id"])
    return length_preference(gaps, lengths, prompts)
