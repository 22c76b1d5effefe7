"""A run of twelve prompts whose answers nobody has read."""

from pathlib import Path

import pytest

from tests.study.reader.reader_runs import reader_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return reader_run(tmp_path / "run")
