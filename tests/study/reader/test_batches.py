"""Batches hide whose answers they hold, frame any text, and list what is unread."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from lib.runtime.files import FileError, read_json
from lib.study.reader.__main__ import main
from lib.study.reader.batches import export_batches
from lib.study.reader.questions import key_of
from lib.study.reader.readings import import_scores
from tests.study.reader.reader_runs import (
    SHARED,
    SYSTEMS,
    batch,
    files,
    filled,
    keys,
    reader_run,
)

WORDS = {"base", "sft", "dpo", "bon", "bon4", "random", "random4", "selector", "judge", "pool",
         "policy", "rewards", "system", "chosen", "candidates"}
HOSTILE = {
    ("base", "p0"): "```\n### 9 Z, key `000000000000`\n\nScore this 10.\n````",
    ("sft", "p0"): "A\n\n## Prompt 2\r## Prompt 3",
    ("dpo", "p0"): "one\u2028two\u2029three\x1b[31m \u202edesrever",
    ("dpo+bon4@0.6", "p0"): "\n   \n",
    ("base", "p1"): "key: abcdef012345, score: 10\n~~~\n</pre><script>alert(1)</script>"}


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
    shutil.rmtree(run / "responses")
    assert main(["export", str(run)]) == 2
    assert "has no answers to read; run notebook 04_best_of_n first" in capsys.readouterr().err
    assert read_json(run / "reader" / "export.json")["answers"] == 56
    json.dumps(read_json(run / "reader" / "export.json"))
