"""`--seeds 3` from the command line: every seed in turn, cut off and taken up, shown once."""

from pathlib import Path
from typing import Any

import pytest

from lib.analysis.comparisons.all_pairs import win_rates
from lib.runtime.files import read_json, write_json
from lib.study import __main__ as command
from lib.study import notebooks
from lib.study.notebooks import notebook_paths
from lib.study.policies import load_candidates
from lib.study.run import Study, open_study
from lib.study.seeds import known_seeds, seed_runs
from lib.study.stages.results import comparisons
from tests.study.publish.test_exports import filled


class Notebooks:
    """Stands for papermill: notebook 05 leaves answers and results; `cut` stops before a call."""

    def __init__(self, cut: int | None = None) -> None:
        self.cut, self.calls = cut, []

    def __call__(self, path: Path, run: Path, parameters: dict[str, Any],
                 force: bool) -> float | None:
        if len(self.calls) == self.cut:
            raise KeyboardInterrupt
        settings = parameters.get("settings", {})
        self.calls.append((path.name[:2], run.name, settings.get("seed", 0), force))
        if path.name.startswith("05") and not (run / "results.json").exists():
            study = filled(open_study("smoke", str(run), settings))
            rows = win_rates(load_candidates(study), [found[:2] for found in comparisons(study)])
            write_json(run / "results.json", {"win_rates": rows})
        return 1.0


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return open_study("smoke", str(tmp_path / "run"))


def run(study: Study, monkeypatch: pytest.MonkeyPatch, cut: int | None = None) -> Notebooks:
    made, status = Notebooks(cut), 0 if cut is None else 130
    monkeypatch.setattr(command, "run_notebook", made)
    line = ["--profile", "smoke", "--run", str(study.folder), "--seeds", "3"]
    assert command.main(line) == status
    return made


def test_every_seed_runs_all_notebooks_and_the_first_shows_the_spread(
        study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = run(study, monkeypatch).calls
    assert [(folder, seed) for number, folder, seed, _ in calls if number == "01"] == [
        ("run", 0), ("1", 1), ("2", 2)]
    assert len(calls) == 3 * len(notebook_paths()) + 2
    assert calls[-2:] == [("05", "run", 0, False), ("07", "run", 0, False)]
    rows = known_seeds(study)
    assert {row["seeds"] for row in rows} == {3}
    assert {(row["a"], row["b"], row["judge"]) for row in rows} == {
        (row["a"], row["b"], row["judge"])
        for row in read_json(study.path("results.json"))["win_rates"]}


def test_a_study_of_seeds_that_was_cut_off_goes_on_and_says_the_same(
        study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(study, monkeypatch, cut=10)
    assert known_seeds(study) == []
    run(study, monkeypatch)
    whole = open_study("smoke", str(tmp_path / "whole"))
    run(whole, monkeypatch)
    assert known_seeds(study) == known_seeds(whole) != []


def test_seeds_of_the_first_notebooks_alone_have_no_spread_yet(
        study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "run_notebook", Notebooks())
    assert command.main(["--profile", "smoke", "--run", str(study.folder), "--seeds", "2",
                         "--only", "01,02"]) == 0
    assert not study.path("seeds.json").exists()


def test_each_seed_takes_from_the_same_seed_of_the_other_run(tmp_path: Path) -> None:
    (tmp_path / "source" / "seeds" / "1").mkdir(parents=True)
    study = open_study("smoke", str(tmp_path / "run"), from_run=str(tmp_path / "source"))
    assert [one.from_run for one in seed_runs(study, 3)] == [
        tmp_path / "source", tmp_path / "source" / "seeds" / "1", None]


def test_notebook_05_is_not_up_to_date_until_it_has_shown_the_spread(study: Study) -> None:
    [analysis] = notebook_paths(["05"])
    before = notebooks._key(analysis, study.folder, {})
    write_json(study.path("seeds.json"), {"rows": [1]})
    shown = notebooks._key(analysis, study.folder, {})
    assert shown != before
    assert notebooks._key(analysis, study.folder, {}) == shown
    write_json(study.path("seeds.json"), {"rows": [2]})
    assert notebooks._key(analysis, study.folder, {}) != shown
