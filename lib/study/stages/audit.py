"""How good the run's judges are: they score the blind reader's audit and the reference answers.

All of notebook 05 that needs a reward model is here, behind one `Scorer`; `lib.analysis` has the
statistics. The audit only measures: nothing is fitted or chosen on it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lib.analysis.best_of_n.curves import pool_scores
from lib.analysis.best_of_n.reader_forecast import read_answers, reader_forecast
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import rate_systems, ratings_rows
from lib.analysis.exports.formats import reconstructed_score
from lib.analysis.judges import audit
from lib.analysis.judges.audit import READER
from lib.analysis.judges.correlations import correlation_rows
from lib.analysis.judges.errors import corrected_win_rates, judge_calibration, length_bias
from lib.analysis.judges.own_reader import (
    Rates,
    own_corrected,
    own_judge_quality,
    read_counts,
)
from lib.analysis.judges.same_answers import same_answers
from lib.data.schema import ScoredRow, is_cut_off
from lib.data.sources import load_scored
from lib.inference.rewards import OWN_READER, ROLES, conversation
from lib.inference.systems import System
from lib.runtime.files import Row
from lib.study.reader.agreement import reliability_rows
from lib.study.reader.readings import readers_of
from lib.study.reward_models.refits import audit_refits
from lib.study.run import Study
from lib.study.stages.rewards import Scorer

Systems = Mapping[str, Sequence[Row]]
Pairs = Sequence[tuple[str, str]]


def audit_results(scorer: Scorer, systems: Systems, pairs: Pairs, resamples: int) -> Row:
    """The reader's verdicts, each judge's agreement with them, and error-corrected win rates."""
    rows = load_scored("audit")
    scores = _audit_scores(scorer, rows)
    board = scoreboard(audit.audit_systems(rows), [READER])
    read = audit.audit_systems(rows, scores)
    return by_reader("earlier answers", read, READER, pairs, _most_candidates(systems)) | {
        "win_rates": audit.reader_win_rates(rows, scores, resamples=resamples),
        "ratings": ratings_rows(rate_systems(board, READER), READER),
        "judge_quality": [row for role in ROLES
                          for row in audit.judge_quality(rows, role, scores[role])],
        "agreement": audit.audit_agreement(rows, scores),
        "system_order": [audit.system_order(rows, role, scores[role]) for role in ROLES],
        "calibration": [judge_calibration(rows, role, scores[role]) for role in ROLES],
        "length_bias": length_bias(rows, scores),
        "refits": [row for model in scorer.embedded if model.name == "judge"
                   for row in audit_refits(model, pairs)],
        "corrected": [row for role in ROLES for row in corrected_win_rates(
            systems, rows, role, scores[role], pairs)]}


def reader_results(study: Study, systems: Systems, pairs: Pairs,
                   judged: Mapping[str, Mapping[tuple[str, str], Rates]]) -> Row:
    """What this run's own reader says: `audit_results` for the very answers that are compared.

    judged: by role, the rates of each pair on every prompt. {} for a run that no one has read.
    """
    counts = read_counts(systems)
    if not counts["answers"]:
        return {}
    return counts | by_reader("this run's answers", systems, OWN_READER, pairs,
                              _most_candidates(systems)) | {
        "readers": readers_of(study.folder), "reliability": reliability_rows(study.folder),
        "judge_quality": own_judge_quality(systems, ROLES),
        "corrected": [row for role in ROLES
                      for row in own_corrected(systems, pairs, role, judged[role])]}


def by_reader(answers: str, systems: Systems, reader: str, pairs: Pairs, n: int) -> Row:
    """What a reader's scores of some answers say of Best-of-N and of the judges.

    {"same_answers", "forecast", "correlations"}: lists of rows with `answers`, empty for a reader
    who scored none of them.
    """
    read = read_answers(systems, reader)
    scores = {judge: pool_scores(read, judge) for judge in (*ROLES, reader)} if read else {}
    return {
        "same_answers": [{"answers": answers} | row
                         for row in same_answers(systems, ROLES, reader, pairs)],
        "forecast": reader_forecast(read, n, reader, answers),
        "correlations": [{"answers": answers} | row
                         for row in (correlation_rows(scores, reader) if read else [])]}


def reference_results(scorer: Scorer, systems: Systems, heldout: Sequence[Row]) -> list[Row]:
    """Each system's reconstructed leaderboard score: its answers against the references.

    Empty if the held-out prompts have no reference answers. A judge that compares answers with the
    reference has no row: the reference would win by being compared with itself.
    """
    known = [row for row in heldout if row.get("reference")]
    if not known:
        return []
    scores = scorer.score([conversation(row["prompt"], row["reference"]) for row in known])
    return [{"system": name} | reconstructed_score(
                rows, {row["id"]: score for row, score in zip(known, scores[role], strict=True)},
                role)
            for role in ROLES if not scorer.reads_reference(role)
            for name, rows in systems.items()]


def _most_candidates(systems: Systems) -> int:
    """N of the run's Best-of-N."""
    return max(System.parse(name).n for name in systems)


def _audit_scores(scorer: Scorer, rows: Sequence[ScoredRow]) -> dict[str, list[list[float | None]]]:
    """Each judge's scores of every answer, row by row."""
    flat = scorer.score([conversation(row["prompt"], answer["text"], is_cut_off(answer))
                         for row in rows for answer in row["answers"]])
    sizes = np.cumsum([len(row["answers"]) for row in rows])[:-1]
    return {role: [list(part) for part in np.split(np.array(values, dtype=object), sizes)]
            for role, values in flat.items()}
