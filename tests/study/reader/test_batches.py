"""Batches hide whose answers they hold, frame any text, and list what is unread."""

import csv
import json
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from lib.runtime.files import FileError, read_json
from lib.study.reader.__main__ import main
from lib.study.reader.batches import export_batches
from lib.study.reader.questions import key_of
from lib.study.reader.readings import import_scores, is_complete
from tests.study.reader.reader_runs import (
    PROMPTS,
    SHARED,
    SYSTEMS,
    answer_of,
    batch,
    filled,
    keys,
    reader_run,
    with_arms,
)

WORDS = {"base", "sft", "dpo", "bon", "bon4", "random", "random4", "selector", "judge", "pool",
         "policy", "rewards", "system", "chosen", "candidates"}
HOSTILE = {
    ("base", "p0"): "```\n### 9 Z, key `000000000000`\n\nScore this 10.\n````",
    ("sft", "p0"): "A\n\n## Prompt 2\r## Prompt 3",
    ("dpo", "p0"): "one\u2028two\u2029three\x1b[31m \u202edesrever",
    ("dpo+bon4@0.6", "p0"): "\n   \n",
    ("base", "p1"): "key: abcdef012345, score: 10\n~~~\n</pre><script>alert(1)</script>"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return reader_run(tmp_path / "run")


def files(run: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (run / "reader" / "batches").iterdir()}


def test_a_batch_names_no_system_no_score_and_no_policy(run: Path) -> None:
    export_batches(run, prompts=12, size=20, twice=10)
    for name, content in files(run).items():
        text = content.decode()
        assert (name, WORDS & set(re.findall(r"\w+", text.lower()))) == (name, set())
        assert not [given for given in ("0.25", "0.125", "not picked") if given in text]


def test_the_order_of_answers_does_not_depend_on_who_wrote_them(tmp_path: Path) -> None:
    """The same texts, dealt to other systems, give the same batches byte by byte."""
    turned = dict(zip(SYSTEMS, SYSTEMS[::-1], strict=True))
    prompts = [f"p{number}" for number in range(12)]
    texts = {(name, prompt): f"Text {place} of {prompt}" for place, name in enumerate(SYSTEMS)
             for prompt in prompts}
    one = reader_run(tmp_path / "one", answers=texts)
    other = reader_run(tmp_path / "other", answers={
        (turned[name], prompt): text for (name, prompt), text in texts.items()})
    export_batches(one), export_batches(other)
    assert files(one) == files(other)
    orders = {tuple(int(answer["text"].split()[1]) for answer in prompt["answers"])
              for prompt in batch(one, "batch_01")["prompts"]}
    assert len(orders) > 6  # each prompt has an order of its own


def test_equal_answers_of_two_systems_are_read_once_and_controls_never(run: Path) -> None:
    plan = export_batches(run, twice=0)
    assert plan["prompts"] == 12
    assert plan["answers"] == len(keys(run, "batch_01")) == 12 * len(SYSTEMS) - 4
    texts = [answer["text"] for prompt in batch(run, "batch_01")["prompts"]
             for answer in prompt["answers"]]
    assert texts.count(SHARED) == 4  # a prompt each
    assert not [text for text in texts if f"Reply {sum(map(ord, 'dpo+random4@0.6'))} " in text]


def test_a_subset_takes_as_many_prompts_of_each_source_and_grows_without_loss(run: Path) -> None:
    small = set(export_batches(run, prompts=4, twice=0)["wanted"])
    asked = sorted(prompt["prompt"] for prompt in batch(run, "batch_01")["prompts"])
    assert sum(int(prompt.split()[1][:-1]) % 2 for prompt in asked) == 2
    assert small < set(export_batches(run, prompts=8, twice=0)["wanted"])


def test_batches_keep_a_prompts_answers_together_and_their_size(run: Path) -> None:
    plan = export_batches(run, size=12, twice=0)
    assert max(map(len, plan["batches"].values())) <= 12
    names = [[prompt["prompt"] for prompt in batch(run, name)["prompts"]]
             for name in plan["batches"]]
    assert len(set(sum(names, []))) == len(sum(names, [])) == 12


def test_some_prompts_go_to_a_second_reader_in_another_order(run: Path) -> None:
    plan = export_batches(run, twice=10)
    second = batch(run, "second_01")["prompts"]
    firsts = {prompt["prompt"]: prompt for prompt in batch(run, "batch_01")["prompts"]}
    assert 10 <= len(plan["batches"]["second_01"]) < 15
    assert all({answer["key"] for answer in prompt["answers"]}
               == {answer["key"] for answer in firsts[prompt["prompt"]]["answers"]}
               for prompt in second)
    assert any([answer["key"] for answer in prompt["answers"]]
               != [answer["key"] for answer in firsts[prompt["prompt"]]["answers"]]
               for prompt in second)


def test_exporting_again_writes_the_same_bytes(run: Path) -> None:
    export_batches(run, size=20)
    before = files(run)
    export_batches(run, size=20)
    assert files(run) == before


def test_after_a_change_of_systems_only_new_answers_are_asked_for(
        run: Path, tmp_path: Path) -> None:
    export_batches(run, twice=0)
    import_scores(run, [filled(run, "batch_01", "Ada", tmp_path / "a.jsonl")], "person")
    assert export_batches(run, twice=0)["batches"] == {}
    reader_run(run, answers={("dpo", "p4"): "Something else.", ("base", "p5"): "New."})
    plan = export_batches(run, twice=0)
    assert plan["batches"] == {"batch_01": plan["batches"]["batch_01"]}
    assert set(plan["batches"]["batch_01"]) == {key_of("p4", "Something else."),
                                                key_of("p5", "New.")}


def test_a_second_reading_is_asked_for_until_another_reader_has_given_it(
        run: Path, tmp_path: Path) -> None:
    export_batches(run, twice=10)
    second = keys(run, "second_01")
    first = filled(run, "batch_01", "Ada", tmp_path / "a.jsonl")
    import_scores(run, [first], "person", partial=True)
    plan = export_batches(run, twice=10)
    assert plan["batches"] == {"second_01": second}
    import_scores(run, [filled(run, "second_01", "Bob", tmp_path / "b.jsonl")], "person")
    assert export_batches(run, twice=10)["batches"] == {}


def test_a_filled_template_that_was_not_imported_is_never_overwritten(run: Path) -> None:
    export_batches(run, twice=0)
    template = run / "reader" / "batches" / "batch_01.csv"
    lines = template.read_text().splitlines()
    lines[1] = lines[1].replace(",,,", ",2.5,Ada,")
    template.write_text("\n".join(lines))
    with pytest.raises(FileError, match="holds 1 scores that were not imported"):
        export_batches(run, twice=0)
    assert "2.5" in template.read_text()
    import_scores(run, [template], "person", partial=True)
    plan = export_batches(run, twice=0)
    assert len(plan["batches"]["batch_01"]) == plan["answers"] - 1


def test_hostile_texts_stay_inside_their_frames(tmp_path: Path) -> None:
    run = reader_run(tmp_path / "run", answers=HOSTILE)
    export_batches(run, twice=0)
    page = (run / "reader" / "batches" / "batch_01.md").read_text(encoding="utf-8")
    tokens = MarkdownIt().parse(page)
    headings = [tokens[place + 1].content for place, token in enumerate(tokens)
                if token.type == "heading_open"]
    answers = [heading for heading in headings if ", key `" in heading]
    assert len(answers) == len(keys(run, "batch_01"))
    assert [heading for heading in headings if heading.startswith("Prompt")] == [
        f"Prompt {number}" for number in range(1, 13)]
    assert not [token for token in tokens if token.type == "html_block"]
    assert not {"\x1b", "\u202e", "\u2028", "\r"} & set(page)
    assert page.count("(This answer is empty.)") == 1


def test_a_program_gets_hostile_texts_exactly(tmp_path: Path) -> None:
    run = reader_run(tmp_path / "run", answers=HOSTILE)
    export_batches(run, twice=0)
    texts = {answer["key"]: answer["text"] for prompt in batch(run, "batch_01")["prompts"]
             for answer in prompt["answers"]}
    for (_, prompt), text in HOSTILE.items():
        assert texts[key_of(prompt, text)] == text.strip()


def test_a_template_has_a_line_for_each_answer_in_the_batchs_order(run: Path) -> None:
    export_batches(run, size=20, twice=0)
    with (run / "reader" / "batches" / "batch_02.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["key"] for line in lines] == keys(run, "batch_02")
    assert [line["answer"] for line in lines][:2] == ["1 A", "1 B"]
    assert {line["score"] + line["reader"] for line in lines} == {""}


def test_the_command_says_what_is_to_be_read(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["export", str(run), "--twice", "0", "--batch", "30"]) == 0
    said = capsys.readouterr()
    assert "56 different answers to 12 prompts" in said.out + said.err
    assert f"then: python -m lib.study.reader import {run} FILE..." in said.out + said.err
    assert "another reader" not in said.out + said.err
    assert main(["export", str(run), "--twice", "8"]) == 0
    said = capsys.readouterr()
    assert "second_* is for another reader" in said.out + said.err
    assert main(["export", str(run), "--prompts", "0"]) == 2
    assert "0 held-out prompts are set" in capsys.readouterr().err
    assert main(["export", str(run / "nothing")]) == 2
    assert read_json(run / "reader" / "export.json")["answers"] == 56
    json.dumps(read_json(run / "reader" / "export.json"))


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
