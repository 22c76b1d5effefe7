import math

import pytest

from lib.analysis.statistics.intervals import score_interval
from lib.viewers.filters import PRESETS, Filter, histogram, preset, select, summary
from lib.viewers.rows import Collection, Pair, join, pairs
from tests.viewers.viewer_rows import small_systems


@pytest.fixture
def collection() -> Collection:
    return join(small_systems(), judges=["judge"])


@pytest.fixture
def rows(collection: Collection) -> list[Pair]:
    return pairs(collection, "sft", "dpo")


def ids(rows: list[Pair]) -> list[str]:
    return [pair.prompt.id for pair in rows]


@pytest.mark.parametrize(("name", "expected"), [
    ("everything", ["p0", "p1", "p2", "p3", "p4"]),
    ("largest gap", ["p3", "p1", "p0", "p2", "p4"]),
    ("judge and selector disagree", ["p0"]),
    ("won but shorter", ["p3", "p1"]),
    ("identical", ["p2"]),
    ("hit the limit", ["p3"]),
    ("longest loop", ["p3"]),
])
def test_each_preset_finds_its_pairs(
    name: str, expected: list[str], rows: list[Pair], collection: Collection
) -> None:
    assert ids(select(rows, preset(name, "judge"), collection)) == expected


def test_the_random_preset_keeps_every_pair_and_depends_on_the_seed(
    rows: list[Pair], collection: Collection
) -> None:
    orders = [ids(select(rows, preset("random", "judge", seed), collection)) for seed in range(5)]
    assert all(sorted(order) == ids(rows) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert orders[0] == ids(select(rows, preset("random", "judge", 0), collection))


@pytest.mark.parametrize(("wanted", "expected"), [
    (Filter("judge", search="GREEN"), ["p0"]),
    (Filter("judge", search="p3"), ["p3"]),
    (Filter("judge", sources=frozenset({"coding"})), ["p1", "p3"]),
    (Filter("judge", winner="a"), ["p0", "p1", "p3"]),
    (Filter("judge", winner="tie"), ["p2"]),
    (Filter("judge", gap=(0.5, 2.0)), ["p0", "p1"]),
    (Filter("judge", tokens=(9, 64)), ["p1", "p3"]),
    (Filter("selector", winner="b"), ["p0"]),
])
def test_each_filter_narrows(
    wanted: Filter, expected: list[str], rows: list[Pair], collection: Collection
) -> None:
    assert ids(select(rows, wanted, collection)) == expected


def test_filters_narrow_together(rows: list[Pair], collection: Collection) -> None:
    wanted = Filter("judge", sources=frozenset({"coding"}), tokens=(0, 10))
    assert ids(select(rows, wanted, collection)) == ["p1"]


def test_the_slice_counts_ties_half_and_leaves_out_what_was_not_scored(rows: list[Pair]) -> None:
    found = summary(rows, "judge")
    assert (found.n, found.wins, found.ties, found.losses) == (5, 3, 1, 0)
    assert found.win_rate == 3.5 / 4
    assert (found.low, found.high) == tuple(map(float, score_interval(3, 1, 0)))


def test_an_empty_slice_has_no_win_rate() -> None:
    assert math.isnan(summary([], "judge").win_rate)


def test_every_gap_falls_into_exactly_one_bar(rows: list[Pair], collection: Collection) -> None:
    bars = histogram(rows, "judge")
    assert sum(bar.count for bar in bars) == 4
    for bar in bars:
        found = select(rows, Filter("judge", gap=(bar.low, bar.high)), collection)
        assert len(found) == bar.count


def test_ties_stand_in_the_middle_bar(rows: list[Pair]) -> None:
    bars = histogram([rows[2]], "judge")
    assert [bar.count for bar in bars] == [0] * 5 + [1] + [0] * 5


def test_presets_use_known_flags_and_orders(rows: list[Pair], collection: Collection) -> None:
    for name in PRESETS:
        select(rows, preset(name, "judge"), collection)
