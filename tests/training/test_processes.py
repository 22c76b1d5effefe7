"""How the examples of a step are split among processes."""

from pathlib import Path

from lib.training.objective import ExampleGroup
from lib.training.processes import balance_by_tokens
from tests.training.small_runs import pairs, run_of


def test_ranks_carry_about_equally_many_tokens_and_every_example_once() -> None:
    groups = [ExampleGroup([number], tokens)
              for number, tokens in enumerate([90, 7, 40, 41, 60, 33, 12, 88, 9])]
    split = balance_by_tokens(groups, 3)
    assert sorted(example for part in split for example in part) == list(range(len(groups)))
    loads = [sum(groups[example].tokens for example in part) for part in split]
    assert max(loads) <= 1.1 * sum(loads) / 3


def test_more_ranks_than_examples_leave_some_without() -> None:
    assert balance_by_tokens([ExampleGroup([4, 5], 10)], 3) == [[4, 5], [], []]


def test_pairs_of_one_prompt_go_to_one_rank(tmp_path: Path) -> None:
    run = run_of("dpo", tmp_path)
    groups = run.objective.computed_together(range(len(pairs())))
    assert [group for group in groups if len(group.examples) == 2]
    assert sum(group.tokens for group in groups) == sum(
        row.batch.answer_slices[-1][-1].stop  # where the last answer ends
        for row in run.objective.rows(range(len(pairs())), run.device))
