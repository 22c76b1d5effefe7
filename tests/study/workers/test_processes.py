"""How many processes train, sample and score: asked for once, and known to every notebook."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lib import ROOT
from lib.study.workers.processes import (
    CONFIG,
    COUNT,
    SHARDED,
    config_file,
    process_count,
    sharded,
    share_count,
    use_processes,
)

ASK = """
import json
from lib.study.workers.processes import config_file, process_count, share_count, sharded
print(json.dumps([process_count(), share_count(), sharded(), config_file()]))
"""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test asks for ends with it."""
    for name in (COUNT, SHARDED, CONFIG):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_one_process_does_all_where_none_was_asked_for() -> None:
    assert (process_count(), share_count(), sharded(), config_file()) == (1, 1, False, "")


@pytest.mark.parametrize(("count", "shards"), [(1, False), (2, False), (4, True)])
def test_what_was_asked_for_is_known_in_a_process_that_is_started_later(
        count: int, shards: bool) -> None:
    use_processes(count, shards, "")
    told = subprocess.run([sys.executable, "-c", ASK], cwd=ROOT, capture_output=True, text=True,
                          check=True).stdout
    assert json.loads(told) == [count, count, shards, ""]


def test_an_accelerate_file_counts_the_training_processes_and_one_samples(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cluster.yaml").write_text("num_processes: 8", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    use_processes(2, False, "cluster.yaml")
    assert config_file() == str(tmp_path / "cluster.yaml")  # wherever a notebook runs
    assert share_count() == 1


@pytest.mark.parametrize(("count", "file", "sentence"), [
    (0, "", "--processes is 0; use at least 1"), (-2, "", "--processes is -2; use at least 1"),
    (1, "none.yaml", "--accelerate none.yaml: there is no such file; `accelerate config ")])
def test_processes_that_cannot_be_started_are_refused_and_nothing_is_set(
        count: int, file: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        use_processes(count, True, file)
    assert (process_count(), sharded(), config_file()) == (1, False, "")
