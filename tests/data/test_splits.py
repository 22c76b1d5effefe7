"""Splits go by prompt, repeat with their seed, and keep the mix of sources."""

from collections import Counter
from typing import Any

import pytest

from lib.data.splits import held_out_subset, split_by_prompt


def rows(per_source: dict[str, int], pairs: int = 1) -> list[dict[str, Any]]:
    return [{"id": f"{source}{n}/{p}", "source": source, "prompt": f"{source} question {n}"}
            for source, count in per_source.items() for n in range(count) for p in range(pairs)]


def sources(some: list[dict[str, Any]]) -> dict[str, int]:
    return dict(Counter(row["source"] for row in some))


@pytest.mark.parametrize("seed", range(8))
def test_no_prompt_is_on_both_sides_and_no_row_is_lost(seed: int) -> None:
    data = rows({"a": 10, "b": 10}, pairs=3)
    data.append({"id": "x", "source": "b", "prompt": "A QUESTION  0?"})  # reads as the first prompt
    train, validation = split_by_prompt(data, 0.3, seed)
    assert not {row["prompt"] for row in train} & {row["prompt"] for row in validation}
    assert sorted(row["id"] for row in train + validation) == sorted(row["id"] for row in data)
    assert len({"x", "a0/0"} & {row["id"] for row in train}) in (0, 2)


def test_each_source_gives_its_share() -> None:
    validation = split_by_prompt(rows({"a": 40, "b": 20, "c": 10}), 0.2, seed=5)[1]
    assert sources(validation) == {"a": 8, "b": 4, "c": 2}


def test_sources_of_one_prompt_each_still_give_their_share_together() -> None:
    train, validation = split_by_prompt(rows({str(n): 1 for n in range(50)}), 0.2, seed=1)
    assert (len(train), len(validation)) == (40, 10)


def test_a_split_repeats_with_its_seed_only() -> None:
    data = rows({"a": 30})
    assert split_by_prompt(data, 0.2, 1) == split_by_prompt(data, 0.2, 1)
    assert split_by_prompt(data, 0.2, 1) != split_by_prompt(data, 0.2, 2)


def test_small_sets_keep_one_prompt_for_validation_unless_none_is_wanted() -> None:
    assert len(split_by_prompt(rows({"a": 2}), 0.01, 0)[1]) == 1
    assert len(split_by_prompt(rows({"a": 1}), 0.5, 0)[1]) == 0
    assert split_by_prompt(rows({"a": 5}), 0.0, 0)[1] == []
    with pytest.raises(ValueError, match="validation_share is 1"):
        split_by_prompt(rows({"a": 2}), 1, 0)


def test_conversations_split_by_what_comes_before_the_first_answer() -> None:
    data = [{"id": str(n), "source": "s", "messages": [
        {"role": "user", "content": f"question {n // 2}"},
        {"role": "assistant", "content": f"answer {n}"}]} for n in range(8)]
    validation = split_by_prompt(data, 0.5, 0)[1]
    assert len(validation) == 4
    assert len({row["messages"][0]["content"] for row in validation}) == 2


def test_held_out_subsets_are_balanced_nested_and_in_order() -> None:
    data = rows({"a": 25, "b": 25, "c": 25, "d": 3})
    small, large = held_out_subset(data, 20, 0), held_out_subset(data, 43, 0)
    assert sources(large)["d"] == sources(small)["d"] == 3
    assert sorted(sources(large).values()) == [3, 13, 13, 14]
    assert sorted(sources(small).values()) == [3, 5, 6, 6]
    assert {row["id"] for row in small} < {row["id"] for row in large}
    assert small == [row for row in data if row in small]
    assert small == held_out_subset(data, 20, 0) != held_out_subset(data, 20, 1)


@pytest.mark.parametrize("n", [0, 79])
def test_a_subset_larger_than_the_set_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"{n} held-out prompts are set; use 1 to 78"):
        held_out_subset(rows({"a": 78}), n, 0)
