"""Which pairs to show and in which order: search, filters, presets, and the slice in numbers.

Pure functions over `Pair` rows. `web/filters.js` has the same flags, orders and presets.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from lib.analysis.statistics.intervals import score_interval
from lib.viewers.blind import shuffled
from lib.viewers.rows import Collection, Pair

Flag = Callable[[Pair, Collection], bool]


def _disagree(pair: Pair, collection: Collection) -> bool:
    """Two models name different winners; ties and missing scores do not count."""
    return {"a", "b"} <= {pair.winner(model) for model in collection.models}


def _shorter_won(pair: Pair, collection: Collection) -> bool:
    """The first model's winner has fewer tokens."""
    winner = pair.winner(collection.models[0]) if collection.models else None
    return (winner == "a" and pair.a.tokens < pair.b.tokens) or (
        winner == "b" and pair.b.tokens < pair.a.tokens
    )


FLAGS: dict[str, Flag] = {
    "judge and selector disagree": _disagree,
    "won but shorter": _shorter_won,
    "identical": lambda pair, _: pair.identical,
    "hit the limit": lambda pair, _: "length" in (pair.a.finish, pair.b.finish),
    "loops": lambda pair, _: max(pair.a.loop, pair.b.loop) > 0,
    "breaks a constraint": lambda pair, _: not all(
        (*pair.a.checks.values(), *pair.b.checks.values())
    ),
}
BARS = 11  # of the histogram; an odd number puts near-ties into one bar in the middle
ORDERS = ("as given", "score gap", "length gap", "loop", "random")


@dataclass(frozen=True)
class Filter:
    """What a reader asked for; the default shows everything as given.

    `score` is the model whose scores decide winner and gap; `gap` bounds the score of a minus b
    (upper end excluded), `tokens` the length of the longer answer; no `sources` means all of them.
    """

    score: str = ""
    search: str = ""
    sources: frozenset[str] = frozenset()
    winner: str = "any"
    gap: tuple[float, float] = (-math.inf, math.inf)
    tokens: tuple[float, float] = (0, math.inf)
    flags: frozenset[str] = frozenset()
    order: str = "as given"
    seed: int = 0


PRESETS: dict[str, tuple[tuple[str, ...], str]] = {
    "everything": ((), "as given"),
    "largest gap": ((), "score gap"),
    "judge and selector disagree": (("judge and selector disagree",), "score gap"),
    "won but shorter": (("won but shorter",), "length gap"),
    "identical": (("identical",), "as given"),
    "hit the limit": (("hit the limit",), "as given"),
    "longest loop": (("loops",), "loop"),
    "random": ((), "random"),
}


def preset(name: str, score: str = "", seed: int = 0) -> Filter:
    """The filter behind one preset button."""
    flags, order = PRESETS[name]
    return Filter(score=score, flags=frozenset(flags), order=order, seed=seed)


def select(rows: Sequence[Pair], wanted: Filter, collection: Collection) -> list[Pair]:
    """The pairs that pass every filter, in the wanted order."""
    wanted = replace(wanted, search=wanted.search.lower())
    return ordered([pair for pair in rows if _passes(pair, wanted, collection)], wanted)


def _passes(pair: Pair, wanted: Filter, collection: Collection) -> bool:
    gap, length = pair.gap(wanted.score), max(pair.a.tokens, pair.b.tokens)
    unlimited = wanted.gap == (-math.inf, math.inf)
    return (
        (not wanted.sources or pair.prompt.source in wanted.sources)
        and (wanted.winner == "any" or pair.winner(wanted.score) == wanted.winner)
        and (unlimited or (gap is not None and wanted.gap[0] <= gap < wanted.gap[1]))
        and wanted.tokens[0] <= length <= wanted.tokens[1]
        and all(FLAGS[flag](pair, collection) for flag in wanted.flags)
        and (not wanted.search or _found(pair, wanted.search))
    )


def _found(pair: Pair, search: str) -> bool:
    texts = (pair.prompt.id, pair.prompt.text, pair.a.text, pair.b.text)
    return any(search in text.lower() for text in texts)


def ordered(rows: Sequence[Pair], wanted: Filter) -> list[Pair]:
    """Largest first; pairs that could not be scored come last; equal ones stay as given."""
    if wanted.order == "random":
        places = shuffled([pair.prompt.id for pair in rows], wanted.seed)
        by_id = {pair.prompt.id: pair for pair in rows}
        return [by_id[id] for id in places]
    sizes: dict[str, Callable[[Pair], float]] = {
        "as given": lambda pair: 0,
        "score gap": lambda pair: -1 if (gap := pair.gap(wanted.score)) is None else abs(gap),
        "length gap": lambda pair: abs(pair.a.tokens - pair.b.tokens),
        "loop": lambda pair: max(pair.a.loop, pair.b.loop),
    }
    return sorted(rows, key=sizes[wanted.order], reverse=True)


@dataclass(frozen=True)
class Slice:
    """Win rate of a over b in a slice by one model's scores; a tie counts half."""

    n: int
    wins: int
    ties: int
    losses: int
    win_rate: float
    low: float
    high: float
    tokens_a: float
    tokens_b: float


def summary(rows: Sequence[Pair], score: str) -> Slice:
    """The slice in numbers, the report's 95 % interval; NaN where there is nothing to count."""
    winners = [pair.winner(score) for pair in rows]
    wins, ties, losses = (winners.count(who) for who in ("a", "tie", "b"))
    scored = wins + ties + losses
    low, high = score_interval(wins, ties, losses) if scored else (math.nan, math.nan)
    return Slice(
        len(rows), wins, ties, losses, (wins + ties / 2) / scored if scored else math.nan,
        float(low), float(high),
        fmean(pair.a.tokens for pair in rows) if rows else math.nan,
        fmean(pair.b.tokens for pair in rows) if rows else math.nan,
    )


@dataclass(frozen=True)
class Bar:
    """One bar of the score-gap histogram: low <= gap < high."""

    low: float
    high: float
    count: int


def histogram(rows: Sequence[Pair], score: str, bars: int = BARS) -> list[Bar]:
    """Score gaps in equal bins, as far to the left as to the right."""
    gaps = [gap for pair in rows if (gap := pair.gap(score)) is not None]
    reach = math.nextafter(max(map(abs, gaps), default=0.0) or 1.0, math.inf)
    width = 2 * reach / bars
    counts = [0] * bars
    for gap in gaps:
        counts[min(bars - 1, int((gap + reach) / width))] += 1
    return [
        Bar(-reach + place * width, -reach + (place + 1) * width, count)
        for place, count in enumerate(counts)
    ]
