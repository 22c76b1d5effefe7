"""Pools scored by selector and judge, and timed; `lib.study.pools.split` deals them out."""

import time
from collections.abc import Sequence

from lib.runtime.files import Row
from lib.study.run import Study
from lib.study.stages.rewards import Scorer, conversation, score_rows


def timed_scorer(study: Study, roles: Sequence[str]) -> Scorer:
    """These roles' models, which read every answer anew so that the reading can be timed."""
    return Scorer(study, roles, keep_features=False)


def timed_scores(scorer: Scorer, rows: list[Row]) -> tuple[list[Row], float | None]:
    """Rows with `rewards`, and the seconds that this took; None where a cache knew some answer."""
    if not rows:  # the share of one process too many
        return [], 0.0
    anew, started = scorer.lacks_all([conversation(row["prompt"], candidate["text"])
                                      for row in rows for candidate in row["candidates"]]), \
        time.perf_counter()
    rows = score_rows(scorer, rows)
    return rows, time.perf_counter() - started if anew else None
