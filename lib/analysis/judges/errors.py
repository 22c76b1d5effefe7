"""Errors of a judge, measured on answers that the blind reader scored too.

Calibration of score gaps, preference for length beside the reader's, and win rates corrected for
the errors. In: the audit's rows and a judge's scores of its answers. Out: plain rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.judges.audit import READER, Scores, answer_pairs, audit_systems
from lib.analysis.judges.quality import length_preference
from lib.analysis.statistics.calibration import calibration
from lib.analysis.statistics.prediction_powered import prediction_powered_win_rate
from lib.runtime.files import Record, Row

FEWEST = 2  # prompts on either side of a correction


def judge_calibration(audit_rows: Sequence[Record], judge: str, scores: Scores) -> Row:
    """Calibration of the judge's score gaps on all pairs that the reader scores differently.

    {"judge"} and the keys of `calibration`; its intervals count prompts.
    """
    pairs = [pair for pair in answer_pairs(audit_rows, scores) if pair[1] > 0]
    prompts, _, gaps = zip(*pairs, strict=True)
    return {"judge": judge} | calibration(gaps, np.array(prompts))


def length_bias(audit_rows: Sequence[Record], judge_scores: Mapping[str, Scores]) -> list[Row]:
    """How often each judge prefers the longer of two answers, the reader first.

    A judge above the reader's share is biased towards length. Pairs of unequal length, in
    characters; intervals count prompts.
    """
    reader = [[answer["score"] for answer in row["answers"]] for row in audit_rows]
    return [{"judge": judge} | _length_row(audit_rows, scores)
            for judge, scores in ({READER: reader} | dict(judge_scores)).items()]


def corrected_win_rates(systems: Mapping[str, Sequence[Row]], audit_rows: Sequence[Record],
                        judge: str, scores: Scores,
                        pairs: Iterable[tuple[str, str]]) -> list[Row]:
    """A run's win rates by a judge, corrected by the audit, of each pair that the audit has too.

    The correction assumes that the judge errs on this run's answers as on the audit's. `win_rate`,
    `low`, `high`: the judge's rate minus its mean error. `pooled_*`: weighted for the shortest
    interval, which also assumes that the audit's answers are as good as this run's. A pair with
    fewer than two scored prompts on either side has no variance and no row.
    """
    labelled, rows = audit_systems(audit_rows, {judge: scores}), []
    for a, b in pairs:
        if a in labelled and b in labelled:
            board = scoreboard({a: systems[a], b: systems[b]}, [judge])
            audit = scoreboard({a: labelled[a], b: labelled[b]}, [READER, judge])
            rows.append({"a": a, "b": b, "judge": judge} | _corrected(
                board.outcomes(judge, a, b), audit.outcomes(judge, a, b),
                audit.outcomes(READER, a, b)))
    return [row for row in rows if "win_rate" in row]


def _corrected(judged: np.ndarray, judge_on_audit: np.ndarray, reader_on_audit: np.ndarray) -> Row:
    """Both corrections of one comparison; empty for too few prompts."""
    counts = [np.sum(~np.isnan(values)) for values in (judged, judge_on_audit + reader_on_audit)]
    if min(counts) < FEWEST:
        return {}
    outcomes = judged, judge_on_audit, reader_on_audit
    pooled = prediction_powered_win_rate(*outcomes)
    return prediction_powered_win_rate(*outcomes, weight=1.0) | {
        "pooled_rate": pooled["win_rate"], "pooled_low": pooled["low"],
        "pooled_high": pooled["high"], "pooled_weight": pooled["weight"]}


def _length_row(audit_rows: Sequence[Record], scores: Scores) -> Row:
    """`length_preference` on every two different answers of a prompt."""
    gaps, lengths, prompts = [], [], []
    for row, judged in zip(audit_rows, scores, strict=True):
        answers = zip(row["answers"], judged, strict=True)
        for (one, first), (other, second) in combinations(answers, 2):
            if first is not None and second is not None and one["text"] != other["text"]:
                gaps.append(first - second)
                lengths.append(len(one["text"]) - len(other["text"]))
                prompts.append(row["id"])
    return length_preference(gaps, lengths, prompts)
