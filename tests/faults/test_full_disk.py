"""A small part of what `full_disk` does with every stage."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.full_disk import fill_and_compare, small_disk
from tests.faults.whole_study import trial


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_costs_nothing_that_was_finished(tmp_path: Path) -> None:
    with trial(tmp_path) as tried, ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(tmp_path / "disk"))
        except (subprocess.CalledProcessError, FileNotFoundError):
            pytest.skip("no small file system can be mounted here; Linux lets root do it")
        assert fill_and_compare(tried, disk, ["data", "sft"]) == []
