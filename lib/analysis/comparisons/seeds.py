"""The spread over seeds of the study, beside the interval over prompts.

Prompts are the same in every run; training and sampling differ. The interval is over seeds and
prompts together, so quote it for "would another run show this".
"""

from collections.abc import Sequence

import numpy as np

from lib.analysis.comparisons.candidates import CandidateBoard
from lib.analysis.statistics.clusters import seed_spread
from lib.runtime.files import Row


def win_rates_over_seeds(boards: Sequence[CandidateBoard],
                         pairs: Sequence[tuple[str, str]]) -> list[Row]:
    """One row for each pair and judge: mean, interval, each seed's win rate and their spread.

    boards: the pools of each seed's run. Prompts that a judge could not score in some run are left
    out of all and counted. Raises ValueError when the runs answered different prompts and when no
    prompt is left.
    """
    if not boards:
        raise ValueError("no run was given; the spread over seeds needs at least one")
    return [_row(boards, judge, a, b) for judge in boards[0].judges for a, b in pairs]


def _row(boards: Sequence[CandidateBoard], judge: str, a: str, b: str) -> Row:
    runs = [board.matches(judge, a, b) for board in boards]
    by_prompt = [dict(zip(run.a.prompts, run.values, strict=True)) for run in runs]
    for number, other in enumerate(by_prompt[1:], start=1):
        apart = by_prompt[0].keys() ^ other.keys()
        if apart:
            raise ValueError(f"runs 0 and {number} answered different prompts, such as "
                             f"{min(apart)}; use one held-out set for all seeds")
    values = np.array([[run[prompt] for prompt in by_prompt[0]] for run in by_prompt])
    complete = ~np.isnan(values).any(axis=0)
    return {"a": a, "b": b, "judge": judge, "seeds": len(boards), "n": int(complete.sum()),
            "missing": int((~complete).sum())} | seed_spread(values[:, complete])
