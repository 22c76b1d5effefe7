"""Two and four processes, as copies and as shards, train the curve of one process."""

from pathlib import Path

import pytest
import torch

from lib.runtime.files import read_jsonl
from lib.training.processes import ALONE
from tests.training.parallel.distributed_cases import CUT_AT, place, start, take_over
from tests.training.small_runs import METHODS, Interrupted, finish, run_of

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
