"""A sweep computes the reference once: another run's log-probabilities are taken if they hold."""

from pathlib import Path
from typing import Any

import pytest

from lib.runtime.files import Row, write_json, write_text
from lib.study.pools.taken import made_on
from lib.study.run import Study, open_study
from lib.study.stages.dpo import take_reference

FILES = ("reference_training.jsonl", "reference_validation.jsonl", "reference_training-1.jsonl")


def made_from(**changes: Any) -> Row:
    settings = {"beta": 0.1, "learning_rate": 1e-5, "loss": "dpo", "batch_size": 32, "epochs": 1.0,
                "token_budget": 768}
    parameters = {"seed": 0, "model": {"name": "smoke"}, "pairs": "preferences",
                  "max_length": 1024, "probe": {"prompts": 32},
                  "dpo": settings | changes.pop("dpo", {})}
    inputs = {"data": "d", "sft": "s", "rewards": "r"} | changes.pop("inputs", {})
    return {"parameters": parameters | changes, "inputs": inputs}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    study = open_study("smoke", str(tmp_path / "source"))
    write_json(study.path("dpo", "manifest.json"), made_from() | made_on(study))
    for name in FILES:
        write_text(study.path("dpo", name), name)
    return study.folder


def taken(tmp_path: Path, source: Path, **changes: Any) -> list[str]:
    """The reference files of a run after it has asked for those of `source`."""
    study = open_study("smoke", str(tmp_path / "next"), from_run=str(source))
    write_json(study.path("dpo", "begun.json"), made_from(**changes))
    take_reference(study, study.path("dpo"))
    return sorted(path.name for path in study.path("dpo").glob("reference*"))


@pytest.mark.parametrize("changes", [
    {"dpo": {"beta": 0.2}}, {"dpo": {"learning_rate": 1e-4}}, {"dpo": {"loss": "ipo"}},
    {"probe": {"prompts": 0}}, {"inputs": {"rewards": "another"}}])
def test_the_reference_is_taken_where_only_what_it_does_not_read_differs(
        tmp_path: Path, source: Path, changes: Row, capsys: pytest.CaptureFixture[str]) -> None:
    assert taken(tmp_path, source, **changes) == sorted(FILES)
    assert "reference log-probabilities taken from" in capsys.readouterr().out


@pytest.mark.parametrize(("changes", "named"), [
    ({"inputs": {"sft": "another"}}, "sft"), ({"inputs": {"data": "another"}}, "data"),
    ({"inputs": {"pairs": "made"}}, "pairs"), ({"max_length": 512}, "max_length"),
    ({"seed": 1}, "seed"), ({"dpo": {"token_budget": 512}}, "dpo.token_budget"),
    ({"dpo": {"batch_size": 8}}, "dpo.batch_size")])
def test_another_model_other_pairs_or_other_rows_are_computed_and_it_is_said_why(
        tmp_path: Path, source: Path, changes: Row, named: str,
        capsys: pytest.CaptureFixture[str]) -> None:
    assert taken(tmp_path, source, **changes) == []
    assert f"are not used, because {named} differ there" in capsys.readouterr().out


def test_a_reference_that_this_run_has_begun_stays(tmp_path: Path, source: Path) -> None:
    own = tmp_path / "next" / "dpo" / FILES[0]
    write_text(own, "begun here")
    assert taken(tmp_path, source) == sorted(FILES)
    assert own.read_text(encoding="utf-8") == "begun here"


def test_nothing_is_taken_without_a_run_or_by_force(tmp_path: Path, source: Path) -> None:
    study = open_study("smoke", str(tmp_path / "next"))
    write_json(study.path("dpo", "begun.json"), made_from())
    for one in (study, Study(study.profile, study.folder, True, source)):
        take_reference(one, study.path("dpo"))
    assert list(study.path("dpo").glob("reference*")) == []
