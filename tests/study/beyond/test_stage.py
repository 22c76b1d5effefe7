"""Arms of notebook 06 on the smoke study: equal budgets, resumption, failures that stay alone."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest

from lib import ROOT
from lib.analysis import figures, tables
from lib.analysis.policies.arms import movement
from lib.data.schema import prompt_text
from lib.runtime.files import FileError, Row, read_json, read_jsonl, write_jsonl
from lib.study.beyond import arm, catalogue, stage
from lib.study.beyond.arm import ArmError, ArmRun
from lib.study.beyond.matched import equal_movement
from lib.study.beyond.names import NAMES
from lib.study.notebook_views import arms
from lib.study.pools.pool import Pool
from lib.study.profiles import load_profile
from lib.study.run import Study, StudyError
from lib.study.stages.data import load_part
from lib.training.settings import LOSS_SETTINGS

pytestmark = pytest.mark.slow
SETTINGS = {"beyond.arms": ["offline_dpo"], "evaluation.resamples": 200}


@pytest.fixture(scope="module")
def study(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = shutil.copytree(smoke_run, tmp_path_factory.mktemp("beyond") / "run")
    shutil.rmtree(folder / "arms", ignore_errors=True)
    shutil.rmtree(folder / "beyond", ignore_errors=True)
    return Study(load_profile("smoke", SETTINGS), folder)


def with_beyond(study: Study, **values: object) -> Study:
    return replace(study, profile=replace(
        study.profile, beyond=replace(study.profile.beyond, **values)))


@pytest.fixture(scope="module")
def beyond(study: Study) -> Row:
    return stage.run_arms(study)


def test_the_names_of_the_settings_are_those_of_the_catalogue() -> None:
    assert tuple(catalogue.ARMS) == NAMES
    for each in catalogue.ARMS.values():
        assert callable(each.call())
        assert not each.control or each.control in catalogue.ARMS


def test_an_arm_answers_every_held_out_prompt_and_is_compared_with_sft(
        study: Study, beyond: Row) -> None:
    answers = read_jsonl(study.path("arms", "offline_dpo", "answers.jsonl"))
    assert len(answers) == study.profile.evaluation.prompts
    assert {len(row["candidates"]) for row in answers} == {study.profile.beyond.candidates}
    assert {tuple(one["rewards"]) for row in answers for one in row["candidates"]} == {
        ("selector", "judge")}
    [row] = [row for row in beyond["verdicts"] if row["judge"] == "judge"]
    assert (row["a"], row["b"], row["n"]) == ("offline_dpo", "sft", len(answers))
    assert beyond["failed"] == {}


def test_an_arm_trains_on_its_budget_and_no_model_is_left(study: Study, beyond: Row) -> None:
    [row] = beyond["arms"]
    budget = study.profile.beyond.trained_tokens
    assert budget / 2 < row["trained_tokens"] < 1.5 * budget
    assert row["generated_tokens"] == 0
    assert not list(study.path("arms").glob("**/*.safetensors"))


def test_kl_is_measured_on_validation_prompts_only(study: Study, beyond: Row) -> None:
    asked = {row["id"] for row in read_jsonl(
        study.path("arms", "offline_dpo", "kl_answers.jsonl"))}
    held = {row["id"] for row in stage.held_out_prompts(study)}
    assert len(asked) == study.profile.beyond.kl_prompts == beyond["arms"][0]["kl_n"]
    assert not asked & held


def test_a_finished_arm_is_skipped_and_another_one_goes_beside_it(
        study: Study, beyond: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_training(*_: object, **__: object) -> None:
        raise AssertionError("a finished arm trains again")
    monkeypatch.setattr(arm, "train_job", no_training)
    assert stage.run_arms(study) == beyond


def test_an_arm_that_fails_says_why_and_the_others_go_on(
        study: Study, beyond: Row, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    broken = replace(catalogue.ARMS["offline_dpo"], name="broken",
                     function=f"{__name__}:diverges", options=())
    monkeypatch.setitem(catalogue.ARMS, "broken", broken)
    both = replace(study, profile=replace(study.profile, beyond=_named(study, "broken")))
    found = stage.run_arms(both)
    assert found["failed"] == {"broken": "the reward model returned nothing"}
    assert [row["arm"] for row in found["arms"]] == ["offline_dpo"]
    assert "the other arms go on" in capsys.readouterr().out
    assert "broken failed: the reward model returned nothing." in tables.arms_findings(
        found["first"], found["failed"], found["reader"])
    stage.run_arms(study)  # for the tests beside this one


def test_a_full_disk_is_no_failure_of_an_arm(study: Study, beyond: Row,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    broken = replace(catalogue.ARMS["offline_dpo"], name="broken", function=f"{__name__}:fills",
                     options=())
    monkeypatch.setitem(catalogue.ARMS, "broken", broken)
    both = replace(study, profile=replace(study.profile, beyond=_named(study, "broken")))
    with pytest.raises(FileError, match="no space is left to write .*broken"):
        stage.run_arms(both)
    assert stage.run_arms(study) == beyond


def _named(study: Study, name: str) -> object:
    """The arms with one more, past the check of names."""
    settings = replace(study.profile.beyond)
    object.__setattr__(settings, "arms", (name, "offline_dpo"))
    return settings


def fills(run: ArmRun) -> Path:
    raise OSError(28, "No space left on device")


def diverges(run: ArmRun) -> Path:
    raise ArmError("the reward model returned nothing")


def test_all_arms_share_the_sft_answers_and_each_is_charged_with_them(study: Study) -> None:
    first, second = ArmRun(study, "one"), ArmRun(study, "two")
    assert first.first_answers() == second.first_answers()
    answers = study.profile.beyond.samples * len(first.prompts)
    assert first.costs()["answers"] == second.costs()["answers"] == answers
    assert first.costs()["generated_tokens"] > answers


def test_a_part_of_the_prompts_is_charged_as_a_part(study: Study) -> None:
    run = ArmRun(study, "half")
    halves = run.rounds(2)
    assert sorted(row["id"] for half in halves for row in half) == sorted(
        row["id"] for row in run.prompts)
    run.first_answers(halves[0])
    assert run.costs()["answers"] == study.profile.beyond.samples * len(halves[0])


def test_an_arm_without_rows_says_so(study: Study) -> None:
    with pytest.raises(ArmError, match="nothing to train on"):
        ArmRun(study, "empty").train("dpo", [], ArmRun(study, "empty").settings())


def test_more_rounds_than_prompts_are_refused(study: Study) -> None:
    with pytest.raises(ArmError, match=r"raise beyond\.prompts"):
        ArmRun(with_beyond(study, prompts=2), "rounds").rounds(3)


def test_another_loss_has_its_own_defaults_and_the_profiles_learning_rate(study: Study) -> None:
    settings = ArmRun(study, "loss").settings("simpo")
    assert settings.beta == LOSS_SETTINGS["simpo"]["beta"]
    assert settings.learning_rate == study.profile.dpo.learning_rate
    assert ArmRun(study, "loss").settings("dpo", beta=0.5).beta == 0.5


def test_no_arm_gives_an_empty_comparison_with_a_sentence(study: Study, beyond: Row) -> None:
    found = stage.compared(study, [])
    assert found["arms"] == found["verdicts"] == []
    assert {row["a"] for row in found["payments"]} == {"dpo"} | {
        f"{policy}+{rule}4@0.6" for policy in ("sft", "dpo")
        for rule in ("bon", "softbon", "mbr", "klbon")}
    assert tables.arms_table([], 0, found["sft"]) == tables.arms_findings(
        [], {}, found["reader"]) == tables.arms.NO_ARMS


def test_an_interrupted_arm_resumes_after_its_training(
        study: Study, beyond: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(study.folder, tmp_path / "run")
    shutil.rmtree(folder / "arms")
    again = replace(study, folder=folder)
    calls = []
    trained = arm.train_job
    monkeypatch.setattr(arm, "train_job", lambda *given: calls.append(1) or trained(*given))

    def stops(*_: object, **__: object) -> None:
        raise KeyboardInterrupt
    with monkeypatch.context() as patched:
        patched.setattr(stage, "kl_from_sft", stops)
        with pytest.raises(KeyboardInterrupt):
            stage.run_arm(again, "offline_dpo")
    stage.run_arm(again, "offline_dpo")
    assert len(calls) == 1
    for name in ("answers.jsonl", "kl.jsonl", "costs.json"):
        assert (folder / "arms" / "offline_dpo" / name).read_bytes() == study.path(
            "arms", "offline_dpo", name).read_bytes()


def test_every_number_by_hand_of_the_notebook_is_the_librarys(
        study: Study, beyond: Row, capsys: pytest.CaptureFixture[str]) -> None:
    """The cells assert it; here they run on the smoke study's own pairs and answers."""
    names: dict[str, object] = {"study": study}
    cells = nbformat.read(ROOT / "notebooks" / "06_beyond_the_paper.ipynb", 4).cells
    for cell in cells:
        if "by-hand" in cell.metadata.get("tags", ()):
            assert "assert " in cell.source
            exec(cell.source, names)
    told = capsys.readouterr().out
    assert set(names["by_hand"]) == set(LOSS_SETTINGS) - {"beta_dpo"}  # which reads a whole batch
    assert "made up" not in told
    assert names["advantages"].sum() == pytest.approx(0)


@pytest.mark.parametrize("view", [arms.one_pair, arms.four_answers, arms.six_pairs])
def test_a_view_by_hand_names_the_notebook_that_has_to_run_first(
        view: Callable[[Study], object], study: Study, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is not finished; run notebook 0"):
        view(replace(study, folder=tmp_path))


def test_the_pair_by_hand_is_the_one_whose_scores_lie_furthest_apart(
        study: Study, beyond: Row) -> None:
    gaps = [pair["score_gap"] for pair in arms.seen_pairs(study)]
    assert len(gaps) > 1
    assert arms.one_pair(study)["score_gap"] == max(gaps)


@pytest.mark.parametrize("loss", LOSS_SETTINGS)
def test_the_pulls_of_a_loss_are_its_slopes(loss: str) -> None:
    pair, small = arms.MADE_UP_PAIR, 1e-5
    _, *pulls = arms.trained(pair, loss)
    for side, pull in zip(("chosen", "rejected"), pulls, strict=True):
        moved = [arms.trained(pair | {f"logp_{side}": pair[f"logp_{side}"] + step,
                                      f"h_{side}": pair[f"h_{side}"] + step}, loss)[0]
                 for step in (small, -small)]
        assert pull == pytest.approx((moved[1] - moved[0]) / (2 * small), abs=1e-6)


def test_pairs_without_scores_still_show_what_dpo_gained(
        study: Study, beyond: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row | {"score_chosen": None} for row in load_part(study, "preferences_validation")]
    monkeypatch.setattr(arms, "load_part", lambda *_: rows)
    seen = {pair["id"] for pair in arms.seen_pairs(study)}
    assert seen
    assert seen <= {row["id"] for row in rows}
    assert "made up" in arms.one_pair(study)["id"]


def test_an_arm_is_found_by_its_name_and_an_unknown_one_has_a_hint() -> None:
    assert catalogue.arm_named("dpo").name == "offline_dpo"
    assert catalogue.arm_named("raft").name == "raft"
    for wrong, hint in (("raff", "raft"), ("online", "online_dpo"), ("", "offline_dpo")):
        with pytest.raises(StudyError, match=f"there is no arm '{wrong}'; (did|use) .*{hint}"):
            catalogue.arm_named(wrong)


def test_without_validation_pairs_and_scores_the_notebook_says_that_its_numbers_are_made_up(
        study: Study, beyond: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "load_part", lambda *_: [])
    silent = [{"id": "p", "prompt": "Why?", "candidates": [
        {"text": "x", "finish": "length", "rewards": {"selector": None}}] * 4}]
    monkeypatch.setattr(arms, "load_pools", lambda study: {Pool("sft", 0.6, 4): silent})
    assert "made up" in arms.one_pair(study)["id"]
    assert np.isfinite([arms.trained(arms.one_pair(study), loss) for loss in LOSS_SETTINGS]).all()
    assert {pair["id"] for pair in arms.seen_pairs(study)} == {arms.MADE_UP}
    assert "made up" in prompt_text(arms.six_pairs(study)[0])
    assert "made up" in arms.four_answers(study)["prompt"]


def test_a_matched_loss_reaches_dpos_kl_better_than_its_first_rate(
        study: Study, beyond: Row) -> None:
    run = ArmRun(study, "simpo_matched")
    equal_movement(run, "simpo")
    trials = read_json(run.folder / "matched.json")
    target = trials[0]["target"]
    assert target == pytest.approx(beyond["arms"][0]["kl"])
    off = [abs(trial["kl"] - target) for trial in trials]
    assert off[0] <= 0.1 * target or min(off[1:]) < off[0]


def test_a_matched_loss_needs_the_arm_that_it_is_matched_to(study: Study, tmp_path: Path) -> None:
    with pytest.raises(ArmError, match="put offline_dpo before it"):
        equal_movement(ArmRun(replace(study, folder=tmp_path), "ipo_matched"), "ipo")


def test_without_validation_prompts_nothing_is_measured_and_what_needs_it_says_so(
        study: Study, beyond: Row, tmp_path: Path) -> None:
    assert movement([]) == {"kl": None, "kl_low": None, "kl_high": None, "kl_n": 0}
    row = {**beyond["arms"][0], **movement([])}
    assert "| –, 0 |" in tables.arms_table([row], 0, beyond["sft"])
    assert not figures.reward_kl_figure([row]).data
    (tmp_path / "arms" / "offline_dpo").mkdir(parents=True)
    (tmp_path / "arms" / "offline_dpo" / "kl.jsonl").write_text("")
    with pytest.raises(ArmError, match=r"raise data\.validation_share"):
        equal_movement(ArmRun(replace(study, folder=tmp_path), "ipo_matched"), "ipo")


SELF_TAUGHT = ("online_dpo", "raft", "raft_random", "bonbon", "bond", "rloo", "dpo_then_rloo",
               "dpo_plus_rloo")  # they learn from the selector's scores of answers of their own


def spoilt(monkeypatch: pytest.MonkeyPatch, score: Callable[[int], float | None]) -> None:
    """The selector scores what arms learn from by the answer's place alone."""
    sample = arm.sample_scored

    def scored(*given: object) -> list[Row]:
        rows = sample(*given)
        if given[-1] == ["selector"]:
            rows = [{**row, "candidates": [{**one, "rewards": {"selector": score(place)}}
                                           for place, one in enumerate(row["candidates"])]}
                    for row in rows]
            write_jsonl(given[4], rows)
        return rows
    monkeypatch.setattr(arm, "sample_scored", scored)


@pytest.mark.parametrize(("score", "failed"), [
    (lambda place: None, {*SELF_TAUGHT, "fdpo"}),
    (lambda place: 1.0, {"online_dpo", "bonbon"}),
    (lambda place: 1.0 if place == 0 else None, {*SELF_TAUGHT} - {"raft", "raft_random"})],
    ids=["nothing", "all ties", "one sample"])
def test_scores_that_teach_nothing_stop_an_arm_in_a_sentence_and_the_others_go_on(
        study: Study, beyond: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        score: Callable[[int], float | None], failed: set[str]) -> None:
    folder = shutil.copytree(study.folder, tmp_path / "run",
                             ignore=lambda path, names: ["sft_answers"] if path.endswith(
                                 "arms") else [])
    spoilt(monkeypatch, score)
    named = ("offline_dpo", *sorted(failed))
    found = stage.run_arms(replace(with_beyond(study, arms=named), folder=folder))
    assert set(found["failed"]) == failed
    assert [row["arm"] for row in found["arms"]] == ["offline_dpo"]
    for sentence in found["failed"].values():
        assert "\n" not in sentence
        assert len(sentence.split()) > 5
    said = tables.arms_findings(found["first"], found["failed"], found["reader"])
    assert all(f"{name} failed: " in said for name in failed)


def test_an_arm_that_diverges_says_so_and_the_others_go_on(
        study: Study, beyond: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    wild = replace(catalogue.ARMS["offline_dpo"], name="wild",
                   function=f"{__name__}:runs_away", options=())
    monkeypatch.setitem(catalogue.ARMS, "wild", wild)
    found = stage.run_arms(replace(study, profile=replace(
        study.profile, beyond=_named(study, "wild"))))
    assert "lower the learning rate" in found["failed"]["wild"]
    assert [row["arm"] for row in found["arms"]] == ["offline_dpo"]
    stage.run_arms(study)


def runs_away(run: ArmRun) -> Path:
    return run.train("dpo", run.pairs(), run.settings(learning_rate=1e30, max_grad_norm=1e30))


def test_a_missing_score_column_stops_the_arms_that_read_it_and_no_other(
        study: Study, beyond: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [row | {"score_chosen": None, "score_rejected": None}
             for row in ArmRun(study, "x").pairs()]
    monkeypatch.setattr(ArmRun, "pairs", lambda run: pairs)
    found = stage.run_arms(with_beyond(study, arms=("margin", "odpo", "curriculum", "offline_dpo")))
    assert set(found["failed"]) == {"margin", "odpo", "curriculum"}
    assert all("score" in sentence for sentence in found["failed"].values())
    assert [row["arm"] for row in found["arms"]] == ["offline_dpo"]
    stage.run_arms(study)


def test_a_judge_that_answers_nothing_leaves_the_arms_unjudged(
        study: Study, beyond: Row, tmp_path: Path) -> None:
    folder = shutil.copytree(study.folder, tmp_path / "run")
    for file in [*(folder / "arms").glob("offline_dpo/answers.jsonl"),
                 *(folder / "responses" / "pools").glob("*.jsonl")]:
        write_jsonl(file, [{**row, "candidates": [
            {**one, "rewards": one["rewards"] | {"judge": None}} for one in row["candidates"]]}
            for row in read_jsonl(file)])
    found = stage.compared(replace(study, folder=folder), ["offline_dpo"])
    assert [row["verdict"] for row in found["first"]] == ["unscored"]
    assert "Not judged" in tables.arms_findings(found["first"], {}, found["reader"])
    assert "| offline_dpo | 0 | – |" in tables.arm_verdicts_table(found["verdicts"],
                                                                 found["reader"])
    assert not figures.reward_kl_figure(found["arms"]).data
    assert not figures.arm_rates_figure(found["verdicts"], found["reader"], found["first"]).data


def test_every_arm_has_the_forecast_of_a_reader(study: Study, beyond: Row) -> None:
    [row] = beyond["reader"]["rows"]
    assert row["arm"] == "offline_dpo"
    assert row["low"] <= row["forecast"] <= row["high"]
    assert beyond["reader"]["answers"] == "earlier answers"
    assert beyond["reader"]["line"]["comparisons"] >= 3
    assert "comparisons of earlier answers" in tables.reader_forecast_sentence(beyond["reader"])
