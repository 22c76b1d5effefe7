"""Rows as people have them become ours; what cannot be used is counted with its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from lib.data.cells import SchemaError
from lib.data.layouts.reading import Reading
from lib.data.layouts.recognise import layout_of
from lib.data.layouts.unpaired import paired
from lib.data.schema import convert, heldout_row, preference_row, scored_row, sft_row
from lib.data.settings import DataSettings
from lib.data.sources import check_sources, load_heldout, load_sft

ROLES = ("system", "user", "assistant")
TALK = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
HH = "\n\nHuman: q\n\nAssistant: "


def turns(*texts: str, system: str = "") -> list[dict[str, str]]:
    """Messages of user and assistant in turn."""
    first = [{"role": "system", "content": system}] if system else []
    return first + [{"role": ROLES[1 + number % 2], "content": text}
                    for number, text in enumerate(texts)]


def share(*texts: str, names: tuple[str, str] = ("human", "gpt")) -> list[dict[str, str]]:
    return [{"from": names[number % 2], "value": text} for number, text in enumerate(texts)]


@pytest.mark.parametrize(("row", "layout", "messages"), [
    ({"conversations": share("q", "a")}, "sharegpt", TALK),
    ({"conversations": share("q", "a", names=("user", "assistant"))}, "sharegpt", TALK),
    ({"conversations": share("q", "a", names=("Human", "ChatGPT"))}, "sharegpt", TALK),
    ({"conversation": TALK}, "sharegpt", TALK),
    ({"messages": share("q", "a")}, "sharegpt", TALK),
    ({"conversations": share("q", "a"), "system": "s"}, "sharegpt", turns("q", "a", system="s")),
    ({"conversations": [{"from": "system", "value": "s"}, *share("q", "a")]}, "sharegpt",
     turns("q", "a", system="s")),
    ({"instruction": "q", "input": "", "output": "a"}, "alpaca", TALK),
    ({"instruction": "q", "input": "more", "output": "a"}, "alpaca", turns("q\n\nmore", "a")),
    ({"instruction": "q", "context": "more", "response": "a", "category": "x"}, "alpaca",
     turns("q\n\nmore", "a")),
    ({"instruction": "q", "input": None, "output": "a", "system": "s"}, "alpaca",
     turns("q", "a", system="s")),
    ({"instruction": "q2", "output": "a2", "history": [["q", "a"]]}, "alpaca",
     turns("q", "a", "q2", "a2")),
    ({"instruction": "q2", "output": "a2", "history": TALK}, "alpaca", turns("q", "a", "q2", "a2")),
    ({"text": HH + "a"}, "hh", TALK), ({"text": "### Human: q\n### Assistant: a"}, "hh", TALK),
    ({"chosen": HH + "a", "rejected": HH + "b"}, "hh", TALK),
    ({"prompt": "q", "completion": "a"}, "prompt_completion", TALK),
    ({"prompt": TALK[:1], "completion": TALK[1:]}, "prompt_completion", TALK),
    ({"question": "q", "answer": "a"}, "prompt_completion", TALK),
    ({"prompt": "q", "response": "a", "id": "0", "model": "m"}, "prompt_completion", TALK),
    ({"prompt": "q", "completion": "a", "label": True}, "kto", TALK),
    ({"prompt": "q", "chosen": "a", "rejected": "b"}, "pairs", TALK),
    ({"messages": [{"role": "Human", "content": "q"}, {"role": "model", "content": "a"}]},
     "messages", TALK),
    ({"conversations": share("q", "a", names=("prompter", "AI"))}, "sharegpt", TALK),
    ({"system_prompt": "s", "question": "q", "response": "a", "id": "t0.1"}, "prompt_completion",
     turns("q", "a", system="s")),
    ({"instruction": "q", "input": "<noinput>", "output": "a"}, "alpaca", TALK),
    ({"question": "q", "context": "more", "answer": "a"}, "prompt_completion",
     turns("q\n\nmore", "a")),
    ({"text": "### Human: q### Assistant: a"}, "hh", TALK),
    ({"text": "Human: q\nAssistant: a"}, "hh", TALK),
    ({"text": "\n\nHuman: q\nHuman: b\n\nAssistant: a"}, "hh", turns("q\nHuman: b", "a")),
    ({"prompt": "Write a dialogue.", "completion": "\n\nHuman: x\n\nAssistant: y"},
     "prompt_completion", turns("Write a dialogue.", "\n\nHuman: x\n\nAssistant: y")),
    ({"prompt": "Human: x\nAssistant: y\nGo on.", "completion": "a"}, "prompt_completion",
     turns("Human: x\nAssistant: y\nGo on.", "a")),
    ({"prompt": "Write a dialogue.", "chosen": "Human: x\n\nAssistant: y", "rejected": "No."},
     "pairs", turns("Write a dialogue.", "Human: x\n\nAssistant: y")),
    ({"chosen": "Human: q\n\nAssistant: a", "rejected": "Human: q\n\nAssistant: b"}, "hh", TALK),
    ({"messages": TALK, "text": "### Human: x\n### Assistant: y"}, "messages", TALK),
    ({"messages": None, "prompt": "q", "completion": "a"}, "prompt_completion", TALK),
    ({"conversations": share("q", "a"), "kto_tag": True}, "kto", TALK),
    ({"messages": TALK, "label": "desirable"}, "kto", TALK),
    ({"instruction": "q", "output": "a", "label": 1.0}, "kto", TALK),
    ({"prompt": "q", "completion": "a", "label": None, "chosen": None, "rejected": None,
      "kto_tag": 1}, "kto", TALK),
    ({"system": "s", "question": "q", "chosen": "a", "rejected": "b"}, "pairs",
     turns("q", "a", system="s")),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, TALK[1]]},
     "messages", TALK),
    ({"instruction": "q", "input": "more", "output": "a", "prompt": "### q ### more ### a"},
     "alpaca", turns("q\n\nmore", "a")),
    ({"prompt": "q of this text", "context": "this text", "response": "a"}, "prompt_completion",
     turns("q of this text", "a")),
    ({"instruction": "", "input": "q", "output": "a"}, "alpaca", TALK),
    ({"messages": [{**TALK[0], "weight": 0}, {**TALK[1], "weight": 1, "tool_calls": None}],
      "source": 3, "images": [], "audio": None}, "messages", TALK),
])
def test_a_conversation_is_read_from_every_layout(row: dict[str, Any], layout: str,
                                                  messages: list) -> None:
    reading = Reading()
    assert convert([row], sft_row, "f", reading=reading)[0]["messages"] == messages
    assert (layout_of(row), reading.dropped) == (layout, {})


@pytest.mark.parametrize("row", [
    {"prompt": "q", "chosen": "good", "rejected": "bad"},
    {"prompt": TALK[:1], "chosen": turns("", "good")[1:], "rejected": turns("", "bad")[1:]},
    {"chosen": HH + "good", "rejected": HH + "bad"},
    {"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": HH + "good", "rejected": HH + "bad"},
    {"chosen": turns("q", "good"), "rejected": turns("q", "bad")},
    {"chosen": share("q", "good"), "rejected": share("q", "bad")},
    {"conversations": share("q"), "chosen": share("", "good")[1],
     "rejected": share("", "bad")[1]},
    {"instruction": "q", "chosen": "good", "rejected": "bad"},
    {"prompt": HH, "chosen": "good", "rejected": "bad", "response": "good"},
    {"instruction": "q", "chosen_response": "good", "rejected_response": "bad"},
    {"question": "q", "response_j": "good", "response_k": "bad"},
    {"messages": TALK[:1], "chosen": turns("", "good")[1:], "rejected": turns("", "bad")[1:]},
    {"input": "q", "chosen": "good", "rejected": "bad", "generations": ["good", "bad"],
     "rating": [9.0, 8.0]},
    {"question": "q", "chosen": "good", "rejected": "bad"},
    {"prompt": share("q"), "chosen": "good", "rejected": "bad"},
    {"prompt": "q", "chosen": TALK[:1] + turns("", "good")[1:],
     "rejected": TALK[:1] + turns("", "bad")[1:]},
    {"input": {"messages": TALK[:1], "tools": []}, "preferred_output": turns("", "good")[1:],
     "non_preferred_output": turns("", "bad")[1:]},
])
def test_a_pair_is_read_from_every_layout(row: dict[str, Any]) -> None:
    pair = convert([row], preference_row, "f")[0]
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == (TALK[:1], "good", "bad")
    assert pair["score_chosen"] is None


@pytest.mark.parametrize(("prompt", "before", "whole"), [
    (TALK[:1], turns("q", "a", "q2")[1:], turns("q", "a", "q2")),
    ("q", turns("q", "a", "q2")[1:], turns("q", "a", "q2")),
    (turns("q", system="s"), turns("q"), turns("q", system="s")),
    ("q", turns("q", "a", "q2"), turns("q", "a", "q2")),
    ("q", turns("q", system="s"), turns("q", system="s"))])
def test_the_prompt_of_a_pair_is_all_that_stands_before_its_answer(
        prompt: Any, before: list, whole: list) -> None:
    row = {"prompt": prompt, "chosen": [*before, {"role": "assistant", "content": "good"}],
           "rejected": [*before, {"role": "assistant", "content": "bad"}]}
    pair = convert([row], preference_row, "f")[0]
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == (whole, "good", "bad")
    if len(whole) == len(turns("q", system="s")):
        assert convert([row], heldout_row, "f")[0]["prompt"] == "s\n\nq"
    else:  # its reference answers the last question, so the first alone is no prompt for it
        with pytest.raises(SchemaError, match="has turns of user, assistant, user"):
            convert([row], heldout_row, "f")


def test_turns_that_both_answers_share_are_the_prompt() -> None:
    before = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: "
    pair = convert([{"chosen": before + "x", "rejected": before + "y"}], preference_row, "f")[0]
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == (turns("a", "b", "c"), "x", "y")


THOUGHT = {"role": "assistant", "content": "a", "reasoning_content": "Let me see."}


@pytest.mark.parametrize(("row", "names"), [
    ({"messages": [TALK[0], THOUGHT]}, ["reasoning_content"]),
    ({"messages": [TALK[0], {**TALK[1], "thinking": "x", "name": "Bob"}]}, ["name", "thinking"]),
    ({"conversations": [share("q")[0], {"from": "gpt", "value": "a", "reasoning": "x"}]},
     ["reasoning"]),
    ({"messages": TALK, "tools": [{"name": "search"}]}, ["tools"]),
    ({"question": "q", "thinking": "x", "answer": "a"}, ["thinking"]),
    ({"prompt": TALK[:1], "completion": [THOUGHT]}, ["reasoning_content"]),
    ({"messages": [{**TALK[0], "tool_calls": [], "name": ""}, {**TALK[1], "weight": 1}]}, [])])
def test_what_stands_beside_the_texts_is_counted_and_named(
        row: dict, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    reading = Reading()
    learned = convert([{"messages": TALK}, row, row], sft_row, "my.jsonl", reading=reading)
    assert [each["messages"] for each in learned] == [TALK] * 3
    reading.say_dropped()
    assert capsys.readouterr().out == "".join(
        f"{name} beside the texts is not read, in 2 rows; the first: my.jsonl, row 2\n"
        for name in names)
    assert reading.added_to({"rows": 3, "dropped": {}})["not_read"] == dict.fromkeys(names, 2)


def test_thoughts_in_a_pair_and_in_scored_answers_are_counted_too() -> None:
    reading = Reading()
    convert([{"prompt": "q", "chosen": [THOUGHT], "rejected": [TALK[1]]}], preference_row, "f",
            reading=reading)
    convert([{"prompt": "q", "answers": [{"text": "a", "score": 1, "thinking": "x"}]}], scored_row,
            "f", reading=reading)
    assert dict(reading.unread) == {"reasoning_content": 1, "thinking": 1}


def test_a_thought_inside_the_text_is_text() -> None:
    talk = [TALK[0], {"role": "assistant", "content": "<think>\nx\n</think>\n\nyes"}]
    assert convert([{"messages": talk}], sft_row, "f")[0]["messages"] == talk


@pytest.mark.parametrize(("row", "prompt", "reference"), [
    ({"prompt": TALK[:1]}, "q", None), ({"prompt": share("q")}, "q", None),
    ({"prompt": turns("q", system="s")}, "s\n\nq", None),
    ({"turns": [{"content": "q"}], "question_id": "7"}, "q", None), ({"turns": ["q"]}, "q", None),
    ({"prompt": HH}, "q", None), ({"prompt": "q", "completion": "a", "label": False}, "q", None),
    ({"messages": TALK[:1]}, "q", None), ({"instruction": "q", "output": "a"}, "q", "a"),
    ({"conversations": share("q", "a")}, "q", "a"), ({"question": "q", "answer": "a"}, "q", "a"),
    ({"chosen": HH + "a", "rejected": HH + "b"}, "q", "a"),
    ({"prompt": "q", "response": "a"}, "q", "a"), ({"prompt": "q", "reference": "r"}, "q", "r"),
    ({"prompt": "q", "response": "a", "reference": "r"}, "q", "r"),
    ({"question": "q", "output": "a", "reference": None}, "q", "a")])
def test_a_held_out_prompt_is_read_from_every_layout(row: dict, prompt: str,
                                                     reference: str | None) -> None:
    found = convert([{"id": "7", **row}], heldout_row, "f")[0]
    assert (found["id"], found["prompt"], found["reference"]) == ("7", prompt, reference)


@pytest.mark.parametrize("row", [
    {"messages": TALK[:1] + [{"role": "tool", "content": "x"}]}, {"conversations": "none"},
    {"conversations": share("q", "a", names=("observation", "gpt"))}, {"instruction": None},
    {"text": "no turns"}, {}, {"messages": []} | {"messages": None}, {"messages": [1]},
    {"prompt": "q", "completion": {"a": 1}}, {"instruction": "q", "output": "a", "history": [1]},
    {"instruction": "q", "output": "a", "history": [{"question": "b", "answer": "c"}]},
    {"instruction": "q", "output": "a", "history": ["ab", "cd"]}])
def test_one_bad_row_is_counted_with_file_and_row_and_ends_no_run(row: dict[str, Any]) -> None:
    reading = Reading()
    rows = convert([{"messages": TALK}, row], sft_row, "my.jsonl", reading=reading)
    assert len(rows) == 1
    assert list(reading.dropped) == ["unusable"]
    assert reading.examples["unusable"].startswith("my.jsonl, row 2")


@pytest.mark.parametrize(("row", "column"), [
    ({"messages": [TALK[0], {**TALK[1], "tool_calls": [{"id": "1"}]}]},
     r"messages\[1\].tool_calls: is list"),
    ({"messages": [TALK[0], {**TALK[1], "function_call": {"name": "f"}}]},
     r"messages\[1\].function_call: is dict"),
    ({"messages": [TALK[0], {**TALK[1], "weight": 0}, *TALK]}, r"messages\[1\].weight: is 0"),
    ({"messages": [TALK[0], {**TALK[1], "train": False}, *TALK]}, r"\[1\].train: is False"),
    ({"conversations": [share("q")[0], {"from": "gpt", "value": "a", "loss": False}]},
     r"\[1\].loss: is False"),
    ({"conversations": share("<image>\nq", "a"), "image": "x.jpg"}, "column image: "),
    ({"prompt": "q", "completion": "a", "images": [{"path": "x.jpg"}]}, "column images: ")])
def test_a_row_that_is_more_than_text_to_learn_is_left_out(row: dict, column: str) -> None:
    with pytest.raises(SchemaError, match=column):
        convert([row], sft_row, "f")


@pytest.mark.parametrize("more", [{"image": "x.jpg"}, {"completion": [
    {"role": "assistant", "content": "a", "tool_calls": [{"id": "1"}]}]}])
def test_a_pair_of_labelled_completions_hides_nothing_but_text(more: dict) -> None:
    rows = [{"prompt": "q", "completion": "b", "label": False},
            {"prompt": "q", "completion": "a", "label": True, **more}]
    taken = [row for _, row in paired(list(enumerate(rows)), "f", Reading())]
    with pytest.raises(SchemaError, match="column image|tool_calls"):
        convert(taken, preference_row, "f")


def test_only_bad_rows_are_one_sentence_that_names_the_first() -> None:
    with pytest.raises(SchemaError, match=r"none of the 2 rows can be used; the first: f, row 1"):
        convert([{"x": 1}, {"y": 2}], sft_row, "f", reading=Reading())


def test_a_missing_column_is_named_beside_those_of_the_file() -> None:
    with pytest.raises(SchemaError, match=r"chosen: is missing \(columns: instruction, output\)"):
        convert([{"instruction": "q", "output": "a"}], preference_row, "f")


def local(tmp_path: Path, part: str, rows: list, **values: object) -> DataSettings:
    path = tmp_path / f"{part}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return DataSettings(source="local", **{f"{part}_path": str(path)}, **values)


@pytest.mark.parametrize(("row", "kind", "hint"), [
    ({"prompt": "q", "chosen": "a", "rejected": "b"}, "on_policy", "data.pairs=written"),
    ({"prompt": "q", "answers": [{"text": "a", "score": 1}]}, "written", "data.pairs=on_policy")])
def test_pairs_of_the_other_kind_are_answered_with_the_setting(tmp_path: Path, row: dict,
                                                               kind: str, hint: str) -> None:
    with pytest.raises(SchemaError, match=hint):
        check_sources(local(tmp_path, "preferences", [row], pairs=kind))


def test_a_format_that_is_told_is_kept_to(tmp_path: Path) -> None:
    rows = [{"instruction": "q", "output": "a", "messages": turns("other", "thing")}]
    assert load_sft(local(tmp_path, "sft", rows, format="alpaca"), 0)[0]["messages"] == TALK
    assert load_sft(local(tmp_path, "sft", rows), 0)[0]["messages"] == turns("other", "thing")
    with pytest.raises(SchemaError, match="cannot be read as Alpaca"):
        load_sft(local(tmp_path, "sft", [{"messages": TALK}], format="alpaca"), 0)


def test_another_models_answers_are_the_references(tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps([
        {"id": "c", "instruction": "One?", "output": "first", "reference": "gold"},
        {"id": "b", "response": "second"}, {"id": "a"}]), "utf-8")
    rows = [{"id": "a", "prompt": "one?", "reference": "old"}, {"id": "b", "prompt": "two"},
            {"id": "c", "prompt": "three", "reference": "old"}]
    found = load_heldout(local(tmp_path, "heldout", rows, references_path=str(answers)))
    assert [(row["id"], row["reference"]) for row in found] == [
        ("a", "first"), ("b", "second"), ("c", None)]
    assert found[2]["prompt"] == "three", "an id alone is no match where the prompts differ"
    with pytest.raises(SchemaError, match="answers none of the 1 held-out prompts"):
        load_heldout(local(tmp_path, "heldout", [{"prompt": "z"}], references_path=str(answers)))


@pytest.mark.parametrize("name", ["id", "prompt_id", "question_id", "key", "uid"])
def test_a_rows_own_id_is_kept_under_its_usual_names(name: str) -> None:
    found = convert([{name: value, "prompt": f"{value}?"} for value in (7, "a", "a", "a~2")],
                    heldout_row, "f")
    assert [row["id"] for row in found] == ["7", "a", "a~2", "a~2~2"]


@pytest.mark.parametrize(("given", "kept"), [
    ({"id": 7.0}, "7"), ({"id": None, "key": 3}, "3"), ({"id": "", "uid": "u"}, "u"),
    ({"id": float("nan"), "prompt_id": "p"}, "p"), ({"id": 0}, "0"),
    ({"id": ["x"], "key": 1}, "1")])
def test_an_id_without_a_value_gives_way_to_the_next_name(given: dict, kept: str) -> None:
    assert convert([{"prompt": "q", **given}], heldout_row, "f")[0]["id"] == kept
