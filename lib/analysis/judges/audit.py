"""The blind reader's scores as a measure of the systems and of the judges.

`audit.jsonl` holds five answers to each of 120 held-out prompts, scored by a reader who saw neither
system nor selection. The answers come from earlier trials of the same recipe, so the reader's win
rates stand beside this run's and measure its judges; nothing is fitted on them.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.stats import kendalltau

from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import Pair, rate_systems, round_robin
from lib.analysis.judges.quality import outcome_labels, pair_accuracy
from lib.analysis.statistics.agreement import agreement
from lib.analysis.statistics.intervals import Interval, mean_interval
from lib.inference.systems import System
from lib.runtime.files import Record, Row

Scores = Sequence[Sequence[float | None]]
READER = "blind reader"
STORY = ("base", "sft", "dpo")


def audit_systems(audit_rows: Sequence[Record],
                  judge_scores: Mapping[str, Scores] | None = None) -> dict[str, list[Row]]:
    """Audit rows as response rows by system (base first), scored by `READER` and the given judges.

    judge_scores: judge -> for each audit row the scores of its answers, in their order. Raises
    ValueError when a row's scores and answers differ in number.
    """
    systems: dict[str, list[Row]] = {}
    for number, row in enumerate(audit_rows):
        scores = {judge: given[number] for judge, given in (judge_scores or {}).items()}
        _check_lengths(row, scores)
        for place, answer in enumerate(row["answers"]):
            rewards = {judge: values[place] for judge, values in scores.items()}
            candidate = {"text": answer["text"], "rewards": {READER: answer["score"]} | rewards}
            systems.setdefault(system_name(answer), []).append(
                {"id": row["id"], "prompt": row["prompt"], "source": row["source"],
                 "candidates": [candidate], "chosen": 0})
    return dict(sorted(systems.items(), key=lambda item: _story_order(item[0])))


def system_name(answer: Row) -> str:
    """The study's name of an audit answer's system: `sft`, or `sft+bon4@0.6` where selected."""
    if answer["selected"] == "first":
        return answer["system"]
    name = f"{answer['system']}+{answer['selected']}@{answer['temperature']}"
    return System.parse(name).name  # `@1`, never `@1.0`


def reader_win_rates(audit_rows: Sequence[Record], judge_scores: Mapping[str, Scores] | None = None,
                     pairs: Sequence[Pair] | None = None, **options: int) -> list[Row]:
    """Win-rate rows between the audit's systems, by the reader first and then by each judge."""
    judges = [READER, *(judge_scores or {})]
    board = scoreboard(audit_systems(audit_rows, judge_scores), judges)
    return round_robin(board, pairs, **options)


def judge_quality(audit_rows: Sequence[Record], judge: str, scores: Scores,
                  gaps: Sequence[float] = (0.5, 1.0, 2.0)) -> list[Row]:
    """How often a judge orders two answers to one prompt as the reader does, by the reader's gap.

    Rows {"judge", "gap", "n", "missing", "accuracy", "ci_low", "ci_high"}: pairs at least `gap`
    points apart; the interval counts prompts. Which answer of a pair comes first says nothing, so
    that an agreement beyond chance would be 2 accuracy - 1 and nothing more.
    """
    pairs, rows = answer_pairs(audit_rows, scores), []
    for gap in gaps:
        apart = [pair for pair in pairs if pair[1] >= gap]
        if apart:
            prompts, _, differences = zip(*apart, strict=True)
            rows.append({"judge": judge, "gap": gap}
                        | pair_accuracy(differences, np.array(prompts)))
    return rows


def system_order(audit_rows: Sequence[Record], judge: str, scores: Scores) -> Row:
    """The judge's ranking of the systems beside the reader's.

    Both rankings (best first, by Bradley-Terry rating), Kendall's tau between them, and the pairs
    of systems that the judge reverses: `turned`, of which in `turned_surely` the reader's 95 %
    interval excludes one half.
    """
    board = scoreboard(audit_systems(audit_rows, {judge: scores}), [READER, judge])
    strengths = {who: dict(zip(board.systems, rate_systems(board, who, resamples=1).strengths,
                               strict=True)) for who in (READER, judge)}
    reader, judged = strengths[READER], strengths[judge]
    turned = [[a, b] for a, b in combinations(board.systems, 2)
              if (reader[a] - reader[b]) * (judged[a] - judged[b]) < 0]
    surely = [pair for pair in turned if not _even(mean_interval(board.outcomes(READER, *pair)))]
    tau = kendalltau(list(reader.values()), list(judged.values())).statistic
    return {"judge": judge, "reader_order": sorted(reader, key=lambda name: -reader[name]),
            "judge_order": sorted(judged, key=lambda name: -judged[name]),
            "kendall_tau": None if np.isnan(tau) else float(tau), "turned": turned,
            "turned_surely": surely}


def audit_agreement(audit_rows: Sequence[Record], judge_scores: Mapping[str, Scores]) -> list[Row]:
    """Agreement, kappa and AC1 of each two raters, reader and judges, on the audit's comparisons.

    All pairs of systems on all prompts together, each a win, a tie or a loss by
    `Scoreboard.outcomes`: equal texts tie, otherwise the scores count.
    """
    systems, judges = audit_systems(audit_rows, judge_scores), [READER, *judge_scores]
    board = scoreboard(systems, judges)
    labels = {judge: [label for a, b in combinations(systems, 2)
                      for label in outcome_labels(board, judge, b, a)] for judge in judges}
    return [{"judge_a": one, "judge_b": other} | agreement(labels[one], labels[other])
            for one, other in combinations(judges, 2)]


def _even(ends: Interval) -> bool:
    """Whether an interval of a win rate includes one half."""
    return ends.low <= 0.5 <= ends.high


def answer_pairs(audit_rows: Sequence[Record], scores: Scores) -> list[tuple[str, float, float]]:
    """(prompt, reader's gap >= 0, judge's difference) of all pairs of different answers."""
    pairs = []
    for row, judged in zip(audit_rows, scores, strict=True):
        _check_lengths(row, {"the judge": judged})
        known = [(answer["text"], answer["score"], score) for answer, score in
                 zip(row["answers"], judged, strict=True) if score is not None]
        for better, worse in combinations(sorted(known, key=lambda item: -item[1]), 2):
            if better[0] != worse[0]:
                pairs.append((row["id"], better[1] - worse[1], better[2] - worse[2]))
    return pairs


def _check_lengths(row: Record, scores: Mapping[str, Sequence[float | None]]) -> None:
    for judge, values in scores.items():
        if len(values) != len(row["answers"]):
            raise ValueError(f"{row['id']}: {len(values)} scores of {judge} for "
                             f"{len(row['answers'])} answers; score each answer once")


def _story_order(name: str) -> tuple[int, str]:
    policy = System.parse(name).policy
    return (STORY.index(policy) if policy in STORY else len(STORY), name)
