"""Source rows become ours, or an error names the file, the row, the column and what was found."""

from typing import Any

import pytest

from lib.data.cells import SchemaError
from lib.data.schema import (
    convert,
    heldout_row,
    preference_row,
    prompt_of,
    prompt_text,
    scored_row,
    sft_row,
)


def user(text: object) -> dict[str, Any]:
    return {"content": text, "role": "user"}


def assistant(text: object) -> dict[str, Any]:
    return {"content": text, "role": "assistant"}


PAIR = {"prompt": "q", "prompt_id": "p1", "chosen": [user("q"), assistant("good")],
        "rejected": [user("q"), assistant("bad")], "messages": [user("q"), assistant("good")],
        "score_chosen": 8.0, "score_rejected": 5}


def test_a_smoltalk_row_gets_an_id_from_its_content() -> None:
    rows = convert([{"messages": [user("a"), assistant("b")], "source": "s"},
                    {"messages": [user("c"), assistant("d")], "source": "s"}], sft_row, "f.jsonl")
    assert rows[0]["messages"] == [{"role": "user", "content": "a"},
                                   {"role": "assistant", "content": "b"}]
    assert rows[0]["source"] == "s"
    assert rows[0]["id"] != rows[1]["id"]
    again = convert([{"messages": [user("a"), assistant("b")], "source": "s"}], sft_row, "other")
    assert again[0]["id"] == rows[0]["id"]


def test_an_ultrafeedback_row_becomes_prompt_and_two_answers() -> None:
    assert convert([PAIR], preference_row, "data/uf.jsonl") == [
        {"id": "p1", "prompt": [user("q")], "chosen": "good", "rejected": "bad",
         "score_chosen": 8.0, "score_rejected": 5.0, "cut_off_chosen": False,
         "cut_off_rejected": False, "source": "uf.jsonl"}]


def test_all_messages_before_the_answer_are_the_prompt() -> None:
    before = [{"role": "system", "content": "s"}, user("a"), assistant("b"), user("c")]
    row = PAIR | {"chosen": [*before, assistant("x")], "rejected": [*before, assistant("y")]}
    converted = convert([row], preference_row, "f")[0]
    assert (converted["prompt"], converted["chosen"]) == (before, "x")


@pytest.mark.parametrize(("change", "message"), [
    ({"chosen": None}, "row 1, column chosen: is NoneType None; expected a list of"),
    ({"chosen": [user("q")]}, "column chosen: ends with user; expected an assistant"),
    ({"chosen": []}, "column chosen: ends with nothing"),
    ({"rejected": [user("other"), assistant("b")]}, "column rejected: answers another prompt"),
    ({"score_chosen": "9"}, "column score_chosen: is str '9'; expected a number or null"),
    ({"score_chosen": True}, "column score_chosen: is bool True"),
    ({"chosen": [user("q"), assistant(None)]}, r"column chosen\[1\].content: is NoneType"),
    ({"chosen": [user("q"), assistant(["x"])]}, r"column chosen\[1\].content: is list"),
    ({"chosen": [user("q"), {"role": "bot", "content": ""}]}, r"column chosen\[1\]: is dict"),
    ({"chosen": ["q"]}, r"column chosen\[0\]: is str 'q'"),
])
def test_a_wrong_type_is_named_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        convert([PAIR | change], preference_row, "f.jsonl")


def test_a_missing_column_is_named_with_those_that_are_there() -> None:
    good = {"messages": [user("a")], "source": "s"}
    with pytest.raises(SchemaError, match=(
            r"^f.jsonl, row 2, column messages: is missing \(columns: text, label\); expected")):
        convert([good, {"text": "a", "label": 1}], sft_row, "f.jsonl")


def test_rows_chosen_from_a_file_keep_their_numbers_in_errors() -> None:
    with pytest.raises(SchemaError, match="row 42"):
        convert([{}], sft_row, "f", places=[41])


def test_no_rows_at_all_are_an_error() -> None:
    with pytest.raises(SchemaError, match=r"f.jsonl has no rows"):
        convert([], sft_row, "f.jsonl")


def test_missing_and_nan_scores_are_unknown_not_zero() -> None:
    row = PAIR | {"score_chosen": float("nan"), "score_rejected": None}
    converted = convert([row], preference_row, "f")[0]
    assert converted["score_chosen"] is None
    assert converted["score_rejected"] is None


def test_nul_and_half_surrogates_become_the_replacement_character() -> None:
    row = {"messages": [user("a\0b"), assistant("c\ud83dd 🙂")], "source": "s"}
    messages = convert([row], sft_row, "f")[0]["messages"]
    assert [message["content"] for message in messages] == ["a\ufffdb", "c\ufffdd 🙂"]


def test_repeated_ids_are_made_different() -> None:
    rows = convert([PAIR, PAIR, PAIR], preference_row, "f")
    assert [row["id"] for row in rows] == ["p1", "p1~2", "p1~3"]


def test_a_heldout_row_without_instructions_has_empty_lists() -> None:
    row = convert([{"id": 7, "prompt": "q", "reference": None, "source": "s"}], heldout_row, "f")[0]
    assert row == {"id": "7", "prompt": "q", "reference": None, "source": "s",
                   "instruction_id_list": [], "kwargs": []}


def test_nulls_that_columnar_files_add_to_instruction_arguments_are_dropped() -> None:
    row = {"id": "1", "prompt": "q", "source": "s", "instruction_id_list": ["a", "b"],
           "kwargs": [{"n": None, "m": None}, {"n": 3, "m": None}]}
    assert convert([row], heldout_row, "f")[0]["kwargs"] == [{}, {"n": 3}]


def test_each_instruction_needs_its_arguments() -> None:
    row = {"id": "1", "prompt": "q", "source": "s", "instruction_id_list": ["a"], "kwargs": []}
    with pytest.raises(SchemaError, match="column kwargs: has 0 entries; expected one for each"):
        convert([row], heldout_row, "f")


def test_the_reference_of_a_preference_row_is_its_chosen_answer() -> None:
    assert convert([PAIR], heldout_row, "f")[0]["reference"] == "good"


@pytest.mark.parametrize(("answer", "message"), [
    ({"text": "a", "score": None}, r"column answers\[0\].score: is missing; expected a number"),
    ({"score": 1}, r"column answers\[0\].text: is missing"),
    ({"text": "a", "score": 1, "flaws": "x"}, r"column answers\[0\].flaws: is str 'x'"),
    ("a", r"column answers\[0\]: is str 'a'"),
])
def test_a_damaged_answer_is_named_with_its_place(answer: object, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        convert([{"id": "1", "prompt": "q", "source": "s", "answers": [answer]}], scored_row, "f")


def test_the_prompt_of_a_conversation_ends_before_its_first_answer() -> None:
    row = {"messages": [{"role": "system", "content": "s"}, user("a"), assistant("b"), user("c")]}
    assert prompt_of(row) == row["messages"][:2]
    assert prompt_text(row) == "a"
    assert prompt_text({"prompt": "q"}) == "q"
