"""What a reader of this run's own answers says of the judges, and what that takes off their rates.

In: response rows whose candidates carry the reader's score beside the judges'. The read prompts are
a seeded part of the run's, so that the judge's error there is its error on the rest.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lib.analysis.best_of_n.reader_forecast import read_answers
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import Pair
from lib.analysis.judges.audit import judge_quality
from lib.analysis.statistics.clusters import clustered_share_interval
from lib.analysis.statistics.prediction_powered import nested_win_rate
from lib.inference.rewards import OWN_READER
from lib.inference.systems import RANDOM, System
from lib.runtime.files import Row

FEWEST = 2  # read prompts of a correction
Rates = Mapping[str, float]  # prompt -> win rate


def read_counts(systems: Mapping[str, Sequence[Row]]) -> Row:
    """{"prompts", "answers", "mean_scores"}: what was read, and each system's mean score."""
    found: dict[tuple[str, str], float] = {}
    means: dict[str, list[float]] = {}
    for name, rows in systems.items():
        if System.parse(name).rule == RANDOM:  # read only where its pick is another's answer
            continue
        for row in rows:
            answer = row["candidates"][row["chosen"]]
            if (score := answer["rewards"].get(OWN_READER)) is not None:
                found[row["id"], answer["text"].strip()] = score
                means.setdefault(name, []).append(score)
    return {"prompts": len({prompt for prompt, _ in found}), "answers": len(found),
            "mean_scores": [{"system": name, "n": len(scores), "mean": float(np.mean(scores))}
                            for name, scores in means.items()]}


def own_judge_quality(systems: Mapping[str, Sequence[Row]], judges: Sequence[str]) -> list[Row]:
    """`judge_quality` of each judge on every two different read answers of a prompt."""
    read = read_answers(systems, OWN_READER)
    rows = [{"id": row["id"], "answers": [
        {"text": each["text"], "score": each["rewards"][OWN_READER]}
        for each in row["candidates"]]} for row in read]
    return [row for judge in judges for row in judge_quality(rows, judge, [
        [each["rewards"].get(judge) for each in row["candidates"]] for row in read])]


def own_corrected(systems: Mapping[str, Sequence[Row]], pairs: Iterable[Pair], judge: str,
                  judged: Mapping[Pair, Rates]) -> list[Row]:
    """The judge's rates over all prompts and candidates, less its mean error where it was read.

    judged: the judge's rate of each pair on each prompt, of which its verdicts on the read answers
    are draws. Rows {"a", "b", "judge"}, the keys of `nested_win_rate` with weight 1, "judge_low"
    and "judge_high", and "pooled_rate", "pooled_low", "pooled_high", "pooled_weight", those of the
    shortest interval. A pair with fewer than two read prompts has no row.
    """
    rows = []
    for a, b in pairs:
        if not (_is_read(systems[a]) and _is_read(systems[b])):
            continue
        board = scoreboard({b: systems[b], a: systems[a]}, [judge, OWN_READER])
        rates = judged[a, b]
        columns = np.array([[rates.get(prompt, np.nan) for prompt in board.prompts],
                            board.outcomes(judge, a, b), board.outcomes(OWN_READER, a, b)])
        if (~np.isnan(columns).any(axis=0)).sum() >= FEWEST:
            pooled = nested_win_rate(columns[0], columns[1], columns[2])
            corrected = nested_win_rate(columns[0], columns[1], columns[2], weight=1.0)
            rows.append({"a": a, "b": b, "judge": judge} | corrected | {
                "pooled_rate": pooled["win_rate"], "pooled_low": pooled["low"],
                "pooled_high": pooled["high"], "pooled_weight": pooled["weight"]} | dict(
                    zip(("judge_low", "judge_high"), clustered_share_interval(
                        columns[0][~np.isnan(columns[0])]), strict=True)))
    return rows


def _is_read(rows: Sequence[Row]) -> bool:
    return any(row["candidates"][row["chosen"]]["rewards"].get(OWN_READER) is not None
               for row in rows)
