"""Processes that tests start begin with everything imported."""

import sys
from pathlib import Path

import pytest

from tests.forked import IMPORTED, process


def tell(path: Path) -> None:
    path.write_text(" ".join(name for name in IMPORTED if name in sys.modules))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_a_process_begins_with_everything_imported(tmp_path: Path) -> None:
    started = process(tell, tmp_path / "told")
    started.join(timeout=200)
    assert (tmp_path / "told").read_text().split() == IMPORTED
