"""What a reader says of the arms: its readings of what was asked, or a forecast without them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lib.inference.rewards import OWN_READER
from lib.runtime.files import Row, read_jsonl, write_json
from lib.study.beyond import reader
from lib.study.reader.batches import export_batches
from lib.study.reader.questions import key_of, prompts_read
from lib.study.reader.readings import import_scores, with_readings
from lib.study.reader.ship import ship_readings
from tests.study.reader.reader_runs import batch, filled, keys, reader_run, score_of, with_arms


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run with two arms; nothing is trained."""
    run = with_arms(reader_run(tmp_path / "run"), {"raft": "Loft", "odpo": "Odd"})
    monkeypatch.setattr(reader, "load_systems", lambda study: {"sft": with_readings(
        run, read_jsonl(run / "responses" / "sft.jsonl"))})
    return SimpleNamespace(folder=run, path=run.joinpath)


def answers(study: Any) -> dict[str, list[Row]]:
    return {arm: read_jsonl(study.folder / "arms" / arm / "answers.jsonl")
            for arm in ("raft", "odpo")}


def read(study: Any, tmp_path: Path, prompts: int, arms: list[str]) -> None:
    """A reader scores all that is asked, by the key alone."""
    export_batches(study.folder, prompts, twice=0, arms=arms)
    file = filled(study.folder, "batch_01", "Ada", tmp_path / "scores.jsonl")
    import_scores(study.folder, [file], "model")


def test_an_arm_that_was_read_has_the_readers_rate_over_sft(study: Any, tmp_path: Path) -> None:
    read(study, tmp_path, 12, ["raft"])
    rows = {row["judge"]: row for row in reader.read_arms(study, answers(study))}
    assert {row["a"] for row in rows.values()} == {"raft"}
    sft = {row["id"]: row["candidates"][1]["text"].strip()
           for row in read_jsonl(study.path("responses", "sft.jsonl"))}
    won = [(score_of(key_of(prompt, f"Loft {prompt}")) > score_of(key_of(prompt, text)))
           + 0.5 * (score_of(key_of(prompt, f"Loft {prompt}")) == score_of(key_of(prompt, text)))
           for prompt, text in sft.items()]
    assert rows[OWN_READER]["n"] == 12
    assert rows[OWN_READER]["win_rate"] == pytest.approx(sum(won) / 12)
    assert set(rows) == {OWN_READER, "judge"}


def test_only_prompts_that_were_asked_count(study: Any, tmp_path: Path) -> None:
    """Elsewhere an arm has a score only where its answer happens to be one that was read."""
    read(study, tmp_path, 4, ["raft"])
    assert {row["n"] for row in reader.read_arms(study, answers(study))} == {4}
    asked = {row["id"] for row in prompts_read(study.folder, 4)}
    chance = answers(study)
    for row in chance["raft"]:  # SFT's own answers, of which all are read now
        if row["id"] not in asked:
            row["candidates"][0]["text"] = "Both say this."
    read(study, tmp_path, 12, [])
    assert {row["n"] for row in reader.read_arms(study, chance)} == {4}


@pytest.mark.parametrize("asked", [[], ["raft"]])
def test_without_readings_no_arm_is_read(study: Any, asked: list[str]) -> None:
    export_batches(study.folder, 12, twice=0, arms=asked)
    assert reader.read_arms(study, answers(study)) == []


def same(a: str, judged: float, said: float, who: str = OWN_READER) -> list[Row]:
    row = {"a": a, "b": "sft", "n": 64, "ties": 9, "ci_low": 0.4, "ci_high": 0.7}
    return [row | {"judge": "judge", "win_rate": judged}, row | {"judge": who, "win_rate": said}]


KNOWN = [*same("dpo", 0.5, 0.52), *same("x", 0.6, 0.58), *same("y", 0.7, 0.66)]
VERDICTS = [{"a": "raft", "b": "sft", "judge": "judge", "win_rate": 0.6},
            {"a": "odpo", "b": "sft", "judge": "judge", "win_rate": 0.6}]


def test_the_forecast_is_of_this_runs_answers_or_else_of_earlier_ones(study: Any) -> None:
    earlier = [*same("dpo", 0.5, 0.5, "blind reader"), *same("x", 0.6, 0.5, "blind reader"),
               *same("y", 0.7, 0.5, "blind reader")]
    results = {"audit": {"same_answers": earlier}, "reader": {}}
    write_json(study.path("results", "results.json"), results)
    found = reader.reader_of_arms(study, VERDICTS, [])
    assert found["answers"] == "earlier answers"
    assert [row["forecast"] for row in found["rows"]] == [0.5, 0.5]
    write_json(study.path("results", "results.json"), results | {"reader": {"same_answers": KNOWN}})
    found = reader.reader_of_arms(study, VERDICTS, [])
    assert found["answers"] == "this run's answers"
    assert 0.57 < found["rows"][0]["forecast"] < 0.6
    assert found["rows"][0]["read"] is None


def test_a_run_without_results_has_no_forecast(study: Any) -> None:
    found = reader.reader_of_arms(study, VERDICTS, [])
    assert found["line"] == {}
    assert [row["forecast"] for row in found["rows"]] == [None, None]


def test_a_read_arm_helps_to_forecast_the_others_and_never_itself(study: Any) -> None:
    write_json(study.path("results", "results.json"), {"reader": {"same_answers": KNOWN}})
    alone = reader.reader_of_arms(study, VERDICTS, [])["rows"]
    found = reader.reader_of_arms(study, VERDICTS, same("raft", 0.6, 0.4))
    raft, odpo = found["rows"]
    assert (raft["read"], raft["n"], raft["read_low"]) == (0.4, 64, 0.4)
    assert raft["forecast"] == alone[0]["forecast"]
    assert odpo["forecast"] < alone[1]["forecast"]
    assert found["line"]["comparisons"] == 4


def test_shipped_readings_name_the_arms_that_gave_an_answer(study: Any, tmp_path: Path) -> None:
    read(study, tmp_path, 12, ["raft"])
    write_json(study.path("responses", "manifest.json"), {"git": {}})
    rows = read_jsonl(ship_readings(study.folder, tmp_path / "shipped"))
    systems = {name for row in rows for answer in row["answers"] for name in answer["systems"]}
    assert "raft" in systems
    assert "odpo" not in systems
    assert sum(len(row["answers"]) for row in rows) == len(keys(study.folder, "batch_01"))


def test_an_arm_is_compared_with_sft_by_a_reader_who_read_both(
        study: Any, tmp_path: Path) -> None:
    """SFT has two readers: the first knows no arm, the second scores both lower."""
    read(study, tmp_path, 12, [])
    low = {"Loft": 2.0, "Odd": 1.0}
    export_batches(study.folder, 12, twice=0, arms=["raft", "odpo"])
    texts = {each["key"]: each["text"] for prompt in batch(study.folder, "batch_01")["prompts"]
             for each in prompt["answers"]}
    file = tmp_path / "low.jsonl"
    file.write_text("".join(json.dumps({
        "key": key, "score": low.get(text.split()[0], 1.5), "reader": "Bob"}) + "\n"
        for key, text in texts.items()), encoding="utf-8")
    import_scores(study.folder, [file], "model")
    rates = {row["a"]: (row["win_rate"], row["n"])
             for row in reader.read_arms(study, answers(study)) if row["judge"] == OWN_READER}
    assert rates == {"raft": (1.0, 12), "odpo": (0.0, 12)}


def test_a_prompt_without_a_reader_of_both_answers_is_missing(study: Any, tmp_path: Path) -> None:
    read(study, tmp_path, 12, [])
    export_batches(study.folder, 12, twice=0, arms=["raft"])
    file = filled(study.folder, "batch_01", "Bob", tmp_path / "arm.jsonl")
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    arm = {key_of(f"p{number}", f"Loft p{number}") for number in range(12)}
    sft = [line for line in lines if json.loads(line)["key"] not in arm]
    file.write_text("".join(line for line in lines if line not in sft[:5]), encoding="utf-8")
    import_scores(study.folder, [file], "model", partial=True)
    assert {row["n"] for row in reader.read_arms(study, answers(study))} == {7}
