"""Two runs side by side: the same systems, the same prompts, one judge, and nothing written."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from lib.inference.rewards.cache import ScoreCache, score_key
from lib.inference.rewards.score_results import ScoreResult
from lib.runtime.files import Row, read_json, read_jsonl, write_json, write_jsonl
from lib.runtime.manifest import hash_outputs
from lib.study.compare import sides as sides_module
from lib.study.compare.__main__ import main
from lib.study.compare.comparison import compare_runs
from lib.study.compare.recorded import recorded_study
from lib.study.notebook_views.two_runs import compared_with
from lib.study.run import StudyError
from lib.study.stages.rewards import conversations_of
from tests.study.compare.recorded_runs import (
    PROMPTS,
    change_manifest,
    change_pools,
    recorded_run,
)

BEST = "dpo+bon4@0.6"


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return recorded_run(tmp_path / "first")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def better(tmp_path: Path, **differences: object) -> Path:
    return recorded_run(tmp_path / "second", shift=1.0, words="again", **differences)


def by_name(found: Row) -> dict[str, Row]:
    return {row["a"]: row for row in found["win_rates"]}


def pool(run: Path, name: str) -> list[Row]:
    return read_jsonl(run / "responses" / "pools" / f"{name}.jsonl")


def files_of(run: Path) -> dict[str, tuple[int, str]]:
    return {str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in sorted(run.rglob("*")) if path.is_file()}


def test_a_systems_rate_is_that_of_all_pairs_of_its_answers_in_the_two_runs(
        a: Path, tmp_path: Path, out: Path) -> None:
    b = better(tmp_path)
    row = by_name(compare_runs(a, b, out))["b: dpo"]
    values = [np.mean([(np.sign(one["rewards"]["judge"] - other["rewards"]["judge"]) + 1) / 2
                       for one in second["candidates"] for other in first["candidates"]])
              for first, second in zip(pool(a, "dpo@0.6"), pool(b, "dpo@0.6"), strict=True)]
    assert row["b"] == "a: dpo"
    assert row["n"] == len(PROMPTS)
    assert row["win_rate"] == pytest.approx(np.mean(values))
    assert row["ci_low"] > 0.5


def test_systems_that_answer_alike_are_named_and_not_tested(
        a: Path, tmp_path: Path, out: Path) -> None:
    found = compare_runs(a, better(tmp_path), out)
    assert found["same_answers"] == ["b: base"]
    assert "b: base" not in by_name(found)
    alone = compare_runs(a, a, out, margin=0.0)
    assert alone["win_rates"] == alone["gate"] == alone["settings"] == []


def test_best_of_n_by_another_selector_is_another_system_on_the_same_answers(
        a: Path, tmp_path: Path, out: Path) -> None:
    b = recorded_run(tmp_path / "second")
    change_pools(b, lambda row: row | {"candidates": [
        each | {"rewards": each["rewards"] | {"selector": -each["rewards"]["selector"]}}
        for each in row["candidates"]]})
    found = compare_runs(a, b, out)
    assert {"b: base", "b: sft", "b: dpo"} == set(found["same_answers"])
    assert f"b: {BEST}" in by_name(found)


def test_another_fit_of_the_judge_is_refused_and_the_way_out_is_named(
        a: Path, tmp_path: Path, out: Path) -> None:
    with pytest.raises(StudyError, match="different judges.*--rescore a"):
        compare_runs(a, better(tmp_path, fit=1), out)
    assert not out.exists()


def test_heads_that_were_fitted_after_the_answers_were_scored_are_not_their_judge(
        a: Path, tmp_path: Path, out: Path) -> None:
    b = better(tmp_path)
    change_manifest(b, "rewards", outputs={"judge.safetensors": "another"})
    with pytest.raises(StudyError, match="does not tell any more which judge"):
        compare_runs(a, b, out)


def test_a_judge_that_read_other_written_answers_is_not_the_same(
        a: Path, tmp_path: Path, out: Path) -> None:
    with pytest.raises(StudyError, match="12 of 12 prompts have another written answer"):
        compare_runs(a, better(tmp_path, reference="Better."), out)


def test_one_judge_can_score_both_runs_again(a: Path, tmp_path: Path, out: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    class ByLength:
        name = "long"

        def score(self, conversations: list) -> list[float]:
            return [float(len(turns[-1]["content"])) for turns in conversations]

    asked = []
    monkeypatch.setattr(sides_module, "judge_model",
                        lambda study, role, _: asked.append((study.folder, role)) or ByLength())
    found = compare_runs(a, better(tmp_path, fit=1), out, rescore="a")
    assert asked == [(a, "judge")]
    assert by_name(found)["b: dpo"]["win_rate"] == 1  # its texts have a word more
    assert by_name(found)[f"b: {BEST}"]["win_rate"] == pytest.approx(1)
    assert found["scorers"]["selector"] is None
    page = (out / "compare.html").read_text(encoding="utf-8")
    assert '"models":["judge","a: selector","b: selector"]' in page


def test_prompts_are_the_same_by_their_text_and_the_others_are_counted(
        a: Path, tmp_path: Path, out: Path) -> None:
    b = better(tmp_path, prompts=(*PROMPTS[4:], "New?", "Newer?"), first_id=2)
    found = compare_runs(a, b, out)
    assert found["prompts"] == {"shared": 8, "only_a": 4, "only_b": 2}
    assert by_name(found)["b: dpo"]["n"] == 8
    assert {(row["id"], row["prompt"]) for row in found["moved"]["b: dpo"]} == {
        (f"p{number}", f"Question {number}?") for number in range(4, 12)}
    alike = recorded_run(tmp_path / "alike", first_id=30)
    assert compare_runs(a, alike, out)["win_rates"] == []


def test_runs_without_a_common_prompt_are_refused(a: Path, tmp_path: Path, out: Path) -> None:
    b = better(tmp_path, prompts=tuple(prompt.replace("Question", "Task") for prompt in PROMPTS))
    with pytest.raises(StudyError, match="no prompt in common"):
        compare_runs(a, b, out)


def test_a_missing_score_is_missing_and_not_a_loss(a: Path, tmp_path: Path, out: Path) -> None:
    b = better(tmp_path)
    change_pools(b, lambda row: row if row["id"] != "p3" else row | {"candidates": [
        each | {"rewards": each["rewards"] | {"judge": None}} for each in row["candidates"]]})
    found = compare_runs(a, b, out)
    assert (by_name(found)["b: dpo"]["n"], by_name(found)["b: dpo"]["missing"]) == (11, 1)
    assert "p3" not in {row["id"] for row in found["moved"]["b: dpo"]}


def test_policies_are_compared_at_each_runs_own_main_temperature_and_n(
        a: Path, tmp_path: Path, out: Path) -> None:
    b = better(tmp_path, settings={"sampling.temperature": 0.25, "sampling.samples": 3})
    found = compare_runs(a, b, out, margin=0.05)
    pairs = {row["a"]: row["b"] for row in found["win_rates"]}
    assert pairs["b: dpo"] == "a: dpo"
    assert pairs["b: dpo+bon3@0.25"] == f"a: {BEST}"
    hot, cold = pool(b, "dpo@0.25"), pool(a, "dpo@0.6")
    assert by_name(found)["b: dpo"]["n"] == min(len(hot), len(cold))
    assert {row["setting"] for row in found["settings"]} >= {
        "sampling.temperature", "sampling.samples"}


def test_the_folders_of_the_runs_stay_as_they_are(a: Path, tmp_path: Path, out: Path) -> None:
    b = better(tmp_path)
    before = files_of(a) | files_of(b)
    compare_runs(a, b, out)
    assert files_of(a) | files_of(b) == before
    assert sorted(path.name for path in out.iterdir()) == ["compare.html", "comparison.json"]


def test_the_page_has_the_answers_of_both_runs(a: Path, tmp_path: Path, out: Path) -> None:
    compare_runs(a, better(tmp_path), out)
    page = (out / "compare.html").read_text(encoding="utf-8")
    assert '["a: dpo","a: dpo",null,1,null]' in page
    assert f'["b: {BEST}","b: dpo","bon",4,0.6]' in page
    assert '"models":["judge","selector"]' in page


def read(run: Path, reader: str, score: float, rubric: str = "r") -> None:
    """Every single answer of the run read by one reader, who gives DPO one point more."""
    lines = [{"id": row["id"], "text": row["candidates"][-1]["text"].strip(), "key": "k",
              "score": score + (name == "dpo@0.6"), "reader": reader, "flaws": []}
             for name in ("base@0.6", "sft@0.6", "dpo@0.6") for row in pool(run, name)]
    write_jsonl(run / "reader" / "scores.jsonl", lines)
    write_json(run / "reader" / "provenance.json", {"readers": [
        {"reader": reader, "rubric_sha256": rubric, "kind": "person", "blind": True,
         "n": len(lines)}]})


def test_one_reader_of_both_runs_is_shown_beside_the_judge(
        a: Path, tmp_path: Path, out: Path) -> None:
    b = better(tmp_path)
    read(a, "Ada", 3.0)
    read(b, "Ada", 4.0)
    found = compare_runs(a, b, out)
    rows = {row["a"]: row for row in found["reader"]}
    assert set(rows) == {"b: sft", "b: dpo"}  # nobody read a Best-of-N, and base answers alike
    assert (rows["b: dpo"]["n"], rows["b: dpo"]["wins"]) == (12, 12)
    with pytest.raises(StudyError, match=r"scored no answers of b: dpo\+bon4@0\.6, b: sft\+bon4"):
        compare_runs(a, b, out, judge="reader", margin=0.05)
    by_reader = compare_runs(a, b, out, judge="reader", margin=0.05, systems=["base", "sft", "dpo"])
    assert [row["verdict"] for row in by_reader["gate"]] == ["passes", "passes"]


def test_a_text_that_both_runs_have_is_read_once(a: Path, tmp_path: Path, out: Path) -> None:
    b = recorded_run(tmp_path / "second")
    read(a, "Ada", 3.0)
    read(b, "Ada", 4.0)  # the very same texts, on a better day
    assert compare_runs(a, b, out)["reader"] == []


@pytest.mark.parametrize(("reader", "rubric"), [("Bob", "r"), ("Ada", "another")])
def test_two_readers_or_rubrics_are_not_compared(a: Path, tmp_path: Path, out: Path, reader: str,
                                                 rubric: str) -> None:
    b = better(tmp_path)
    read(a, "Ada", 3.0)
    read(b, reader, 4.0, rubric=rubric)
    found = compare_runs(a, b, out)
    assert found["reader"] == []
    assert "scales differ" in found["why_no_reader"]
    with pytest.raises(StudyError, match="cannot be compared by the reader"):
        compare_runs(a, b, out, judge="reader")


def remote_scores(run: Path, identity: str) -> None:
    """The run's scores as a remote judge's cache has them."""
    manifest = read_json(run / "responses" / "manifest.json")
    manifest["parameters"]["rewards"] |= {"judge": "org/judge"}
    write_json(run / "responses" / "manifest.json", manifest)
    cache = ScoreCache(run / "rewards" / "scores.sqlite")
    for row in [*pool(run, "base@0.6"), *pool(run, "dpo@0.6")]:
        for turns, each in zip(conversations_of([row]), row["candidates"], strict=True):
            cache.put(score_key(identity, turns), identity, ScoreResult(each["rewards"]["judge"]))
            cache.put(score_key("other", turns), "other", ScoreResult(-100.0))
    cache.connection.close()


@pytest.mark.parametrize(("identity", "same"), [("judge 1", True), ("judge 2", False)])
def test_a_remote_judge_is_known_by_the_cache_that_holds_its_scores(
        a: Path, tmp_path: Path, out: Path, identity: str, same: bool) -> None:
    b = better(tmp_path)
    remote_scores(a, "judge 1")
    remote_scores(b, identity)
    before = files_of(a)
    if same:
        assert compare_runs(a, b, out)["scorers"]["judge"] == "judge 1"
    else:
        with pytest.raises(StudyError, match="different judges"):
            compare_runs(a, b, out)
    assert files_of(a) == before


def test_a_remote_judge_whose_cache_is_lost_is_not_guessed(
        a: Path, tmp_path: Path, out: Path) -> None:
    b = better(tmp_path)
    for run in (a, b):
        remote_scores(run, "judge 1")
    (b / "rewards" / "scores.sqlite").unlink()
    with pytest.raises(StudyError, match="does not tell any more"):
        compare_runs(a, b, out)


def test_a_run_of_another_version_is_read_as_far_as_it_is_known(
        a: Path, tmp_path: Path, out: Path) -> None:
    b = better(tmp_path)
    parameters = read_json(b / "responses" / "manifest.json")["parameters"]
    parameters["sampling"] |= {"of_tomorrow": 1}
    del parameters["model"]["attention"]
    change_manifest(b, "responses", parameters=parameters)
    rows = compare_runs(a, b, out)["settings"]
    assert {(row["setting"], row["a"], row["b"]) for row in rows} >= {
        ("sampling.of_tomorrow", "absent", "1"), ("model.attention", "auto", "absent")}
    del parameters["sampling"]
    change_manifest(b, "responses", parameters=parameters)
    with pytest.raises(StudyError, match="version of this project"):
        compare_runs(a, b, out)


def test_the_command_says_what_it_found_and_passes_or_fails_by_its_status(
        a: Path, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = better(tmp_path)
    line = ["--out", str(out), "--gate", "0.05", "--systems"]
    assert main([str(a), str(b), *line, "dpo, sft"]) == 0
    shown = capsys.readouterr().out
    assert "passes: b: dpo over a: dpo" in shown
    assert "The same answers in both runs: base." in shown
    assert "No reader's verdicts: no one has read the answers of" in shown
    assert main([str(b), str(a), *line, "dpo"]) == 1
    shown = capsys.readouterr().out
    assert "fails: b: dpo over a: dpo" in shown
    assert "Prompts that moved most, b: dpo" in shown
    assert main([str(a), str(b), *line, "dpo+bon9@0.6"]) == 2
    assert main([str(a), str(tmp_path / "nowhere")]) == 2
    (b / "responses" / "manifest.json").unlink()
    assert main([str(a), str(b)]) == 2
    said = capsys.readouterr().err
    assert "the gate's system dpo+bon9@0.6 is not in both runs; these are: base, sft, dpo" in said
    assert f"there is no run folder {tmp_path / 'nowhere'}" in said
    assert "has no finished answers to compare; run notebook 04" in said


@pytest.mark.parametrize("name", ["pools/dpo@0.6.jsonl", "picks.json"])
def test_answers_that_were_cut_edited_or_lost_are_not_compared(
        a: Path, tmp_path: Path, out: Path, name: str) -> None:
    b = better(tmp_path)
    path = b / "responses" / name
    change_manifest(b, "responses", outputs=hash_outputs(b / "responses", [path]))
    compare_runs(a, b, out)
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(True)[:-1]))
    with pytest.raises(StudyError, match="is not the file that the run wrote"):
        compare_runs(a, b, out)
    path.unlink()
    with pytest.raises(StudyError, match="is not the file that the run wrote"):
        compare_runs(a, b, out)


@pytest.mark.parametrize(("words", "sentence"), [
    *((["--gate", gate], f"'{gate}' is no margin; use at least 0 and below 0.5")
      for gate in ("much", "0.5", "-0.1", "nan", "inf", "")),
    (["--systems", "dpo"], "--systems names the systems of the gate; give --gate too"),
    (["--rescore", "c"], "invalid choice: 'c'"),
    (["--rescore", "a", "--judge", "reader"], "and --judge reader asks none")])
def test_a_line_that_cannot_work_is_refused_at_once(
        words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["one", "two", *words])
    assert sentence in capsys.readouterr().err


def test_a_notebooks_other_run_begins_where_its_command_was_typed(
        a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    b = recorded_study(better(tmp_path))
    monkeypatch.chdir(a.parent)
    assert "| b: dpo over a: dpo | judge | 12 |" in compared_with(b, a.name)


def test_a_notebook_shows_the_comparison_with_another_run_or_says_why_not(
        a: Path, tmp_path: Path) -> None:
    b = recorded_study(better(tmp_path))
    assert "`other_run` takes a run folder" in compared_with(b, "")
    shown = compared_with(b, str(a))
    assert "| b: dpo over a: dpo | judge | 12 |" in shown
    assert b.path("compared", "first", "compare.html").exists()
    again = recorded_study(recorded_run(tmp_path / "again", fit=1))
    assert compared_with(again, str(a)).startswith("Not compared: ")
