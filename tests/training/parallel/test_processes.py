"""Two and four processes, as copies and as shards, train the curve of one process."""

from pathlib import Path

import pytest
import torch

from lib.runtime.files import read_jsonl
from lib.training.parallel.processes import ALONE, deal
from tests.training.parallel.distributed_cases import (
    CUT_AT,
    METHODS,
    Interrupted,
    finish,
    pairs,
    place,
    run_of,
    start,
    take_over,
)

pytestmark = pytest.mark.slow
CURVE = ("loss", "rewards/chosen", "rewards/margins", "logps/chosen")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of all runs: alone, on two processes, on four."""
    folder = tmp_path_factory.mktemp("distributed")
    for method in METHODS:
        state = finish(run_of(method, place(folder, method, 1, "copies", "whole")))
        torch.save(state, place(folder, method, 1, "copies", "whole") / "state.pt")
        with pytest.raises(Interrupted):
            finish(run_of(method, place(folder, method, 1, "copies", "cut")), CUT_AT)
    for count in (2, 4):
        ranks = start(count, folder)
        for rank in ranks:
            rank.join(timeout=200)
        assert [rank.exitcode for rank in ranks] == [0] * count
    return folder


def curve(folder: Path) -> list[tuple]:
    """Step, split and the curve's values of every logged row."""
    return [(row["step"], row["split"], *(row[name] for name in CURVE if name in row))
            for row in read_jsonl(folder / "metrics.jsonl")]


def assert_same_curve(folder: Path, whole: Path) -> None:
    ours, theirs = curve(folder), curve(whole)
    assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    for row, other in zip(ours, theirs, strict=True):
        assert row[2] == pytest.approx(other[2], rel=1e-5), row
        assert row[3:] == pytest.approx(other[3:], rel=1e-3, abs=1e-5), row


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["copies", "shards"])
@pytest.mark.parametrize("count", [2, 4])
def test_many_processes_give_the_loss_curve_of_one(root: Path, method: str, kind: str,
                                                   count: int) -> None:
    whole = place(root, method, 1, "copies", "whole")
    folder = place(root, method, count, kind, "whole")
    assert_same_curve(folder, whole)
    weights, theirs = (torch.load(path / "state.pt") for path in (folder, whole))
    assert weights.keys() == theirs.keys()
    for name in weights:
        torch.testing.assert_close(weights[name], theirs[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["copies", "shards"])
@pytest.mark.parametrize(("before", "after"), [(1, 2), (1, 4), (2, 4), (2, 1), (4, 1)])
def test_an_interrupted_run_goes_on_with_another_number_of_processes(
        root: Path, method: str, kind: str, before: int, after: int) -> None:
    if after == 1:
        cut = place(root, method, before, kind, "cut")
        folder = take_over(cut, place(root, method, 1, kind, f"after-{before}"), ALONE)
        finish(run_of(method, folder))
    folder = place(root, method, after, kind, f"after-{before}")
    assert_same_curve(folder, place(root, method, 1, "copies", "whole"))


def test_ranks_carry_about_equally_many_tokens_and_every_example_once() -> None:
    units = [([number], tokens) for number, tokens in enumerate([90, 7, 40, 41, 60, 33, 12, 88, 9])]
    dealt = deal(units, 3)
    assert sorted(example for part in dealt for example in part) == list(range(len(units)))
    loads = [sum(units[example][1] for example in part) for part in dealt]
    assert max(loads) <= 1.1 * sum(loads) / 3


def test_more_ranks_than_examples_leave_some_without() -> None:
    assert deal([([4, 5], 10)], 3) == [[4, 5], [], []]


def test_pairs_of_one_prompt_are_dealt_together(tmp_path: Path) -> None:
    run = run_of("dpo", tmp_path)
    units = run.objective.units(range(len(pairs())))
    assert [group for group, _ in units if len(group) == 2]
    assert sum(tokens for _, tokens in units) == sum(
        row.batch.answer_slices[-1][-1].stop  # where the last answer ends
        for row in run.objective.rows(range(len(pairs())), run.device))
