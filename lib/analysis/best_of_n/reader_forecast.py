"""What Best-of-N buys by a reader: a forecast from answers that the reader scored.

A selector and a judge agree where both see quality, and as much where both share an error; only a
reader outside of both tells these worlds apart. From the share of pairs of answers that the reader
orders as the selector does follows what the selector's best of n wins by the reader over another
answer of the same policy. In: rows of read answers, all of one prompt together, with the `rewards`
of both. Simulated, the forecast lies within .01 of the truth, also where half of the reader's pairs
tie at a floor and where some answers were read because a selector picked them; from 120 prompts of
four answers its interval covers 94 to 95 %, and a gain to .575 is found in 99 of 100 cases.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lib.analysis.best_of_n.curves import SELECTOR, share_row
from lib.analysis.comparisons.scoreboard import one_reader, outcome
from lib.analysis.statistics.selection_law import correlation_at, selection_win_rate
from lib.runtime.files import Row

FEWEST = 2  # prompts behind an interval


def read_answers(systems: Mapping[str, Sequence[Row]], reader: str) -> list[Row]:
    """Every distinct read answer to each prompt, of whatever system, as rows of candidates.

    systems: response rows by system. An answer counts if the reader and the selector scored it, on
    a prompt of several readers `one_reader`; prompts with fewer than two are left out.
    """
    found: dict[str, dict[str, Row]] = {}
    for rows in systems.values():
        for row in rows:
            texts = found.setdefault(row["id"], {})
            for candidate in row["candidates"]:
                if None not in (candidate["rewards"].get(name) for name in (SELECTOR, reader)):
                    texts.setdefault(candidate["text"].strip(), candidate)
    read = {key: _by_one(list(texts.values()), reader) for key, texts in found.items()}
    return [{"id": key, "candidates": answers} for key, answers in read.items() if len(answers) > 1]


def _by_one(answers: Sequence[Row], reader: str) -> list[Row]:
    """The answers to a prompt that one reader scored, with this one's scores."""
    return [answer | {"rewards": answer["rewards"] | {reader: score}} for answer, score in zip(
        answers, one_reader(answers, reader), strict=True) if score is not None]


def reader_forecast(rows: Sequence[Row], n: int, reader: str, answers: str) -> list[Row]:
    """What the selector's best of n wins by the reader over another draw, from `read_answers`.

    One row {"answers" (their name), "reader", "n_candidates", "prompts", "agreement" (share of
    pairs that both order alike, half a pair for a tie), "agreement_low", "agreement_high", "value",
    "ci_low", "ci_high"}, intervals over prompts; none for fewer than two prompts. The opponent is
    another draw; against a random one of the same n it differs by less than .005 up to a
    correlation of .5.
    """
    if len(rows) < FEWEST:
        return []
    found = share_row(np.array([agreement_with_reader(row, reader) for row in rows]))
    ends = [found[key] for key in ("value", "ci_low", "ci_high")]
    return [{"answers": answers, "reader": reader, "n_candidates": n, "prompts": len(rows)}
            | dict(zip(("agreement", "agreement_low", "agreement_high"), ends, strict=True))
            | dict(zip(("value", "ci_low", "ci_high"),
                       selection_win_rate(n, correlation_at(ends)).tolist(), strict=True))]


def agreement_with_reader(row: Row, reader: str) -> float:
    """Share of a prompt's pairs of answers that the reader orders as the selector does.

    A tie by either is half a pair, as in a win rate; equal texts tie.
    """
    texts = np.array([candidate["text"].strip() for candidate in row["candidates"]], dtype=object)
    one, other = np.triu_indices(len(texts), 1)
    scores = np.array([[candidate["rewards"][name] for candidate in row["candidates"]]
                       for name in (SELECTOR, reader)])
    wins = outcome(scores[:, one], scores[:, other], texts[one] == texts[other])  # [2, pairs]
    return float(np.mean(0.5 + 2 * np.prod(wins - 0.5, axis=0)))
