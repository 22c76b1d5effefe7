"""Arms are read where they are asked for, each answer beside that of SFT to the same prompt."""

import json
from pathlib import Path

import pytest

from lib.runtime.files import FileError, read_json
from lib.study.reader.__main__ import main
from lib.study.reader.batches import export_batches
from lib.study.reader.questions import key_of
from lib.study.reader.readings import import_scores, is_complete
from tests.study.reader.reader_runs import (
    PROMPTS,
    SYSTEMS,
    answer_of,
    batch,
    files,
    filled,
    keys,
    reader_run,
    with_arms,
)


def test_arms_are_read_where_they_are_asked_for_each_by_its_first_answer(run: Path) -> None:
    with_arms(run, {"raft": "Loft", "odpo": "Odd"})
    before = set(export_batches(run, prompts=12, twice=0)["wanted"])
    plan = export_batches(run, prompts=12, twice=0, arms=["raft"])
    new = set(plan["wanted"]) - before
    assert new == {key_of(f"p{number}", f"Loft p{number}") for number in range(12)}
    assert plan["arms"] == {"raft": 12}
    text = "".join(content.decode() for content in files(run).values())
    assert "Odd" not in text
    assert "second of" not in text
    assert "raft" not in text


def test_an_arm_stays_asked_for_in_a_later_export_without_it(run: Path) -> None:
    with_arms(run, {"raft": "Loft", "odpo": "Odd"})
    export_batches(run, prompts=4, twice=0, arms=["raft"])
    export_batches(run, prompts=12, twice=0)
    plan = export_batches(run, prompts=6, twice=0, arms=["odpo"])
    assert plan["arms"] == {"raft": 4, "odpo": 6}


def test_an_arm_that_has_not_run_is_refused_by_name(run: Path) -> None:
    with pytest.raises(FileError, match=r"no answers of raft; .* none; run notebook 06"):
        export_batches(run, arms=["raft"])
    with_arms(run, {"odpo": "Odd", "bond": "Bound"})
    (run / "arms" / "bond" / "manifest.json").unlink()  # it is being made
    with pytest.raises(FileError, match="no answers of raft, bond; it has those of odpo"):
        export_batches(run, arms=["raft", "bond"])


def test_all_finished_arms_are_read_if_none_is_named(run: Path) -> None:
    with_arms(run, {"raft": "Loft", "odpo": "Odd"})
    assert main(["export", str(run), "--arms"]) == 0
    assert set(read_json(run / "reader" / "export.json")["arms"]) == {"raft", "odpo"}
    assert main(["export", str(run), "--arms", "raft"]) == 0
    assert main(["export", str(run)]) == 0


def keys_by(system: str) -> set[str]:
    """The keys of a system's answers, or of those of an arm that begin with this word."""
    return {key_of(prompt, answer_of(system, prompt) if system in SYSTEMS
                   else f"{system} {prompt}") for prompt in PROMPTS}


def read_by(reader: str, run: Path, tmp_path: Path, *names: str) -> None:
    import_scores(run, [filled(run, name, reader, tmp_path / f"{reader}_{name}.jsonl")
                        for name in names or ("batch_01",)], "person", partial=True)


def keep_only(path: Path, wanted: set[str]) -> Path:
    """A score file without the lines of other answers."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if json.loads(line)["key"] in wanted))
    return path


@pytest.fixture
def read_run(run: Path, tmp_path: Path) -> Path:
    """A run with three arms, whose systems Ada has read."""
    with_arms(run, {"raft": "Loft", "odpo": "Odd", "bond": "Bound"})
    export_batches(run, twice=0)
    read_by("Ada", run, tmp_path)
    return run


def test_arms_are_asked_for_with_sfts_answers_where_another_reader_read_those(
        read_run: Path) -> None:
    plan = export_batches(read_run, twice=0, arms=["raft", "odpo"])
    assert set(keys(read_run, "batch_01")) == keys_by("Loft") | keys_by("Odd") | keys_by("sft")
    assert list(plan["batches"]) == ["batch_01"]
    for prompt in batch(read_run, "batch_01")["prompts"]:
        assert len(prompt["answers"]) == 3, "one reader sees a prompt's answers together"
    assert not is_complete(read_run)


def test_a_new_system_and_an_arm_are_read_together_with_sft(read_run: Path) -> None:
    reader_run(read_run, answers={("dpo", "p4"): "Something else."})
    export_batches(read_run, twice=0, arms=["raft"])
    [asked] = [prompt for prompt in batch(read_run, "batch_01")["prompts"]
               if prompt["prompt"] == "Ask 4?"]
    assert {answer["key"] for answer in asked["answers"]} == {
        key_of("p4", text) for text in ("Something else.", "Loft p4", answer_of("sft", "p4"))}


@pytest.mark.parametrize("size", [2, 3, 150])
def test_an_arms_answer_and_sfts_are_never_in_two_batches(read_run: Path, size: int) -> None:
    plan = export_batches(read_run, size=size, twice=0, arms=["raft"])
    where = {key: name for name, batched in plan["batches"].items() for key in batched}
    assert all(where[one] == where[other] for one, other in plan["pairs"])


def test_an_arm_whose_text_is_sfts_needs_no_reader(read_run: Path) -> None:
    reader_run(read_run, answers={("sft", "p4"): "Loft p4", ("dpo", "p4"): answer_of("sft", "p4")})
    export_batches(read_run, twice=0)
    read_by("Ada", read_run, read_run)
    export_batches(read_run, twice=0, arms=["raft"])
    assert "Ask 4?" not in [prompt["prompt"] for prompt in batch(read_run, "batch_01")["prompts"]]
    assert len(batch(read_run, "batch_01")["prompts"]) == 11


def test_the_reader_of_sft_may_read_an_arm_without_it(read_run: Path, tmp_path: Path) -> None:
    export_batches(read_run, twice=0, arms=["raft"])
    file = filled(read_run, "batch_01", "Ada", tmp_path / "arm.jsonl")
    import_scores(read_run, [keep_only(file, keys_by("Loft"))], "person")
    assert is_complete(read_run)
    assert export_batches(read_run, twice=0, arms=["raft"])["batches"] == {}


def test_another_reader_who_leaves_sft_out_has_not_read_to_the_end(
        read_run: Path, tmp_path: Path) -> None:
    export_batches(read_run, twice=0, arms=["raft"])
    file = keep_only(filled(read_run, "batch_01", "Bob", tmp_path / "arm.jsonl"), keys_by("Loft"))
    with pytest.raises(FileError, match="batch_01 lacks 24 .* those of one prompt by one reader"):
        import_scores(read_run, [file], "person")
    import_scores(read_run, [file], "person", partial=True)
    assert not is_complete(read_run)
    again = export_batches(read_run, twice=0, arms=["raft"])["batches"]["batch_01"]
    assert set(again) == keys_by("Loft") | keys_by("sft")
    read_by("Bob", read_run, tmp_path)
    assert is_complete(read_run)


def test_after_a_part_was_read_the_rest_comes_with_sft(read_run: Path, tmp_path: Path) -> None:
    export_batches(read_run, size=9, twice=0, arms=["raft", "odpo"])
    done = set(keys(read_run, "batch_02"))
    read_by("Bob", read_run, tmp_path, "batch_02")
    plan = export_batches(read_run, size=9, twice=0, arms=["raft", "odpo"])
    left = {key for batched in plan["batches"].values() for key in batched}
    assert left == (keys_by("Loft") | keys_by("Odd") | keys_by("sft")) - done


def test_an_arm_that_is_added_later_comes_with_sft_and_without_the_read_arms(
        read_run: Path, tmp_path: Path) -> None:
    export_batches(read_run, twice=0, arms=["raft"])
    read_by("Bob", read_run, tmp_path)
    plan = export_batches(read_run, twice=0, arms=["raft", "bond"])
    assert set(plan["batches"]["batch_01"]) == keys_by("Bound") | keys_by("sft")


def test_a_second_reader_reads_an_arms_answer_beside_sfts(read_run: Path, tmp_path: Path) -> None:
    export_batches(read_run, twice=10, arms=["raft"])
    read_by("Bob", read_run, tmp_path)
    plan = export_batches(read_run, twice=10, arms=["raft"])
    assert list(plan["batches"]) == ["second_01"]
    asked = set(keys(read_run, "second_01"))
    pairs = [set(pair) for pair in plan["pairs"] if pair[0] in asked]
    assert len(pairs) == 5, "ten answers of these two, beside those of the systems"
    assert all(pair <= asked for pair in pairs)
    read_by("Cleo", read_run, tmp_path, "second_01")
    assert is_complete(read_run)
    assert export_batches(read_run, twice=10, arms=["raft"])["batches"] == {}
