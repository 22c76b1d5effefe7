"""The spread over seeds of the study, beside the interval over prompts.

Prompts are the same in every run; training and sampling differ. The interval is over seeds and
prompts together, so quote it for "would another run show this".
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lib.analysis.comparisons.scoreboard import Scoreboard, scoreboard
from lib.analysis.statistics.clusters import seed_spread
from lib.runtime.files import Row


def win_rates_over_seeds(runs: Sequence[Mapping[str, Sequence[Row]]], judges: Sequence[str],
                         pairs: Sequence[tuple[str, str]]) -> list[Row]:
    """One row for each pair and judge: mean, interval, each seed's win rate and their spread.

    runs: for each seed, response rows by system. Prompts that a judge could not score in some run
    are left out of all and counted. Raises ValueError when the runs answered different prompts and
    when no prompt is left.
    """
    _check_same_prompts(runs)
    boards = [scoreboard(run, judges) for run in runs]
    return [_row(boards, judge, a, b) for judge in judges for a, b in pairs]


def _row(boards: Sequence[Scoreboard], judge: str, a: str, b: str) -> Row:
    outcomes = []
    for board in boards:
        by_prompt = dict(zip(board.prompts, board.outcomes(judge, a, b), strict=True))
        outcomes.append([by_prompt[prompt] for prompt in boards[0].prompts])
    values = np.array(outcomes)  # [seeds, prompts]
    complete = ~np.isnan(values).any(axis=0)
    return {"a": a, "b": b, "judge": judge, "seeds": len(boards), "n": int(complete.sum()),
            "missing": int((~complete).sum())} | seed_spread(values[:, complete])


def _check_same_prompts(runs: Sequence[Mapping[str, Sequence[Row]]]) -> None:
    if not runs:
        raise ValueError("no run was given; the spread over seeds needs at least one")
    prompts = [{row["id"] for rows in run.values() for row in rows} for run in runs]
    for number, other in enumerate(prompts[1:], start=1):
        apart = prompts[0] ^ other
        if apart:
            raise ValueError(f"runs 0 and {number} answered different prompts, such as "
                             f"{min(apart)}; use one held-out set for all seeds")
