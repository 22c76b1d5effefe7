"""The dry run: a setting or a row that would stop a later notebook stops before any training."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import Qwen2ForCausalLM

from lib.modeling.saving import save_model
from lib.modeling.smoke import smoke_config, smoke_tokenizer
from lib.runtime.files import write_json, write_jsonl
from lib.study import __main__ as runner
from lib.study.planning import dry_run as module
from lib.study.planning.dry_run import ROWS, dry_run, few_rows, smaller
from lib.study.planning.plan import Plan
from lib.study.profiles import load_profile
from lib.study.run import Study, StudyError, open_study


def notebook(folder: Path, *sources: str) -> Path:
    path = folder / "03_dpo.ipynb"
    cells = [{"cell_type": "code", "metadata": {}, "source": source} for source in sources]
    cells[0]["metadata"] = {"tags": ["parameters"]}
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return path


def test_the_profile_is_the_runs_own_but_for_its_size() -> None:
    profile = load_profile("laptop", {"sampling.samples": 3, "data.validation_share": 0,
                                      "evaluation.temperatures": [0.5], "sft.lora_rank": 4})
    small = smaller(profile, prompts=5)
    assert (small.sampling.samples, small.data.validation_share) == (3, 0)
    assert small.evaluation.temperatures == (0.5,)
    assert small.sft.lora_rank == 4
    assert (small.model.name, small.evaluation.prompts, small.sft.batch_size) == ("smoke", 5, 4)


def test_lora_of_a_large_model_is_no_reason_to_refuse_the_small_stand_in() -> None:
    profile = load_profile("laptop", {"dpo.lora_rank": 256, "dpo.lora_targets": ["c_attn"]})
    small = smaller(profile, prompts=5)
    assert (small.dpo.lora_rank, small.dpo.lora_targets) == (8, None)


def test_pairs_that_a_run_makes_itself_are_written_ones_here() -> None:
    made = load_profile("laptop", {"data.pairs": "self_generated"})
    assert smaller(made, prompts=8).data.pairs == "written"  # random answers never end


def test_nothing_is_asked_of_a_server_or_paid_for() -> None:
    profile = load_profile("paper", {"sampling.server": "http://localhost:1/v1"})
    small = smaller(profile, prompts=8)
    assert small.sampling.server is None
    assert (small.rewards.selector, small.rewards.judge) == ("embedded", "embedded")


def pair(prompt: str) -> dict:
    return {"prompt": [{"role": "user", "content": prompt}], "chosen": "a", "rejected": "b"}


def test_pairs_of_both_kinds_are_of_the_same_prompts() -> None:
    own = [pair(f"p{number}") for number in range(30)]
    other = [pair(f"p{number}") for number in range(20, 40)]
    parts = few_rows({"sft": own, "preferences": own, "other_pairs": other,
                      "preferences_validation": own[:3], "other_validation": []})
    assert parts["sft"] == own[:ROWS]
    assert parts["preferences"] == own[20:20 + ROWS] == parts["other_pairs"]
    assert parts["preferences_validation"] == own[:3]


def test_a_cell_that_fails_is_named_with_its_error(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path / "run"))
    good = notebook(tmp_path, 'run = ""', "assert run", "x = 1 / len(run)")
    module._run_cells(good, study)
    bad = notebook(tmp_path, 'run = ""', "from lib.analysis.judges.quality import pair_accuracy",
                   "pair_accuracy([])")
    with pytest.raises(StudyError, match=r"notebook 03_dpo would stop at cell 2: ValueError: no "
                                         r"pair has both scores.*\(quality\.py, line \d+\)"):
        module._run_cells(bad, study)


def test_a_dry_run_that_went_well_is_not_repeated_until_something_changes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    monkeypatch.setattr(module, "_run_apart", lambda options: runs.append(options))
    study = open_study("smoke", str(tmp_path / "run"))
    for _ in range(2):
        dry_run(study, keep_data=True)
    assert len(runs) == 1
    dry_run(replace(study, profile=replace(study.profile, seed=1)), keep_data=True)
    dry_run(study, keep_data=False)
    assert len(runs) == 3


@pytest.mark.parametrize(("arguments", "checks"), [
    ([], [True]), (["--check"], [False]), (["--only", "02"], []), (["--profile", "smoke"], []),
    (["--profile", "smoke", "--check"], [False]), (["--force"], [False])])
def test_the_runner_checks_a_whole_study_first(
        arguments: list[str], checks: list[bool], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    found, run = [], []
    monkeypatch.setattr(module, "dry_run", lambda study, keep_data: found.append(keep_data))
    monkeypatch.setattr("lib.study.planning.plan.plan_of", lambda *_: Plan([], {}, None, {}))
    monkeypatch.setattr("lib.study.planning.plan.plan_text", lambda *_: "")
    monkeypatch.setattr("lib.study.planning.preflight.blockers", lambda *_: [])
    monkeypatch.setattr("lib.study.planning.access.check_access", lambda study: None)
    monkeypatch.setattr(runner, "stages_needed", lambda number: [])
    monkeypatch.setattr(runner, "run_notebook", lambda *_: run.append(1))
    assert runner.main([*arguments, "--run", str(tmp_path / "run")]) == 0
    assert found == checks
    assert bool(run) == ("--check" not in arguments)


def test_a_finished_study_is_not_checked_again(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(load_profile("laptop"), tmp_path)
    options = runner._parser().parse_args([])
    assert runner._is_first_try(study, options)
    write_json(tmp_path / "results.json", {})
    assert not runner._is_first_try(study, options)


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with twice the stand-in's vocabulary, by which the run's rows are encoded."""
    folder, tokenizer = tmp_path_factory.mktemp("other"), smoke_tokenizer(2048)
    save_model(Qwen2ForCausalLM(smoke_config(tokenizer)), tokenizer, folder)
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [
    {}, {"data.validation_share": 0, "evaluation.temperatures": [0.6]},
    {"data.sft_rows": 1, "data.preference_rows": 1, "evaluation.prompts": 1,
     "evaluation.temperature_prompts": 1}])
def test_all_notebooks_work_on_a_few_rows_and_leave_nothing(
        settings: dict, other_model: str, tmp_path: Path) -> None:
    study = open_study("laptop", str(tmp_path / "run"), {"model.name": other_model} | settings)
    dry_run(study, keep_data=False)
    assert not study.folder.exists()


@pytest.mark.slow
def test_a_row_that_would_stop_the_analysis_is_named(tmp_path: Path) -> None:
    held = [{"id": f"h{number}", "prompt": f"Say the number {number}.",
             "instruction_id_list": ["length_constraints:no_such"] * (number == 7),
             "kwargs": [{}] * (number == 7)} for number in range(9)]
    write_jsonl(tmp_path / "held.jsonl", held)
    study = open_study("laptop", str(tmp_path / "run"), {
        "model.name": "smoke", "data.source": "local", "evaluation.prompts": 9,
        "evaluation.temperature_prompts": 9, "data.heldout_path": str(tmp_path / "held.jsonl")})
    with pytest.raises(StudyError, match="h7: constraint length_constraints:no_such is not one"):
        dry_run(study, keep_data=True)
