"""Single answers that are labelled good or bad (KTO): what trains SFT, and which make a pair."""

from pathlib import Path

import pytest

from lib.data.cells import SchemaError
from lib.data.layouts.reading import Reading
from lib.data.settings import DataSettings
from lib.data.sources import check_sources, load_preferences, load_sft
from tests.data.test_layouts import TALK, local, share, turns


def kto(prompt: str, completion: str, label: object) -> dict[str, object]:
    return {"prompt": prompt, "completion": completion, "label": label}


def test_ktos_desirable_completions_train_sft_and_two_labels_of_a_prompt_make_a_pair(
        tmp_path: Path) -> None:
    rows = [kto("p", "good", True), kto("p", "bad", False), kto("p", "bad 2", False),
            kto("q", "fine", 1), kto("r", "poor", "false")]
    reading = Reading()
    sft = load_sft(local(tmp_path, "sft", rows), 0, reading=reading)
    assert [row["messages"][-1]["content"] for row in sft] == ["good", "fine"]
    assert (reading.dropped, reading.layouts) == ({"undesirable": 3}, {"KTO (unpaired)": 2})
    reading = Reading()
    pairs = load_preferences(local(tmp_path, "preferences", rows, pairs="written"), 0,
                             reading=reading)
    assert [(pair["chosen"], pair["rejected"]) for pair in pairs] == [("good", "bad")]
    assert (reading.dropped, reading.layouts) == ({"unpaired": 3}, {"KTO (unpaired)": 1})


UNLIKE = [kto("a", "no", False), kto("b", "no", None), kto("c", "no", "unsure"),
          {"messages": turns("d", "no"), "label": False}, {"messages": turns("e", "yes")},
          {"conversations": share("f", "no"), "kto_tag": False},
          {"instruction": "g", "output": "no", "kto_tag": "0"}, kto("h", "no", -1),
          kto("i", "yes", "1.0"), {"question": "j", "response": "no", "label": 0.0}]


def test_an_undesirable_completion_trains_nothing_whatever_stands_around_it(
        tmp_path: Path) -> None:
    reading = Reading()
    sft = load_sft(local(tmp_path, "sft", UNLIKE), 0, reading=reading)
    assert [row["messages"][-1]["content"] for row in sft] == ["yes", "yes"]
    assert reading.dropped == {"undesirable": 6, "unusable": 2}
    assert "expected true or false" in reading.examples["unusable"]


def test_labelled_conversations_make_pairs_too(tmp_path: Path) -> None:
    rows = [{"id": "7", "messages": turns("p", "good"), "label": True},
            {"messages": turns("p", "bad"), "label": False}, {"messages": 3, "label": True},
            {"prompt": "q", "chosen": "a", "rejected": "b"}]
    reading = Reading()
    pairs = load_preferences(local(tmp_path, "preferences", rows, pairs="written"), 0,
                             reading=reading)
    assert [(pair["id"], pair["chosen"], pair["rejected"]) for pair in pairs][0] == (
        "7", "good", "bad")
    assert (len(pairs), reading.dropped) == (2, {"unusable": 1})


def test_what_a_labelled_turn_holds_beside_its_text_makes_no_other_prompt(tmp_path: Path) -> None:
    rows = [{"prompt": [{**TALK[0], "id": number}], "completion": [{**TALK[1], "content": text}],
             "label": label} for number, (text, label) in enumerate((("a", True), ("b", False)))]
    found = load_preferences(local(tmp_path, "preferences", rows, pairs="written"), 0)
    assert [(row["chosen"], row["rejected"]) for row in found] == [("a", "b")]


def test_half_an_emoji_in_a_labelled_prompt_makes_a_pair(tmp_path: Path) -> None:
    rows = [kto("\ud83d", "good", True), kto("\ud83d", "bad", False)]
    pairs = load_preferences(local(tmp_path, "preferences", rows, pairs="written"), 0)
    assert [pair["prompt"][0]["content"] for pair in pairs] == ["\ufffd"]


def test_a_stream_of_ktos_rows_trains_sft_on_desirable_ones_and_makes_no_pairs() -> None:
    rows = [kto("p", "bad", False), kto("p", "good", True), kto("q", "bad", False)]
    hub = DataSettings(source="hub", sft_path="o/kto", preferences_path="o/kto", sft_rows=3,
                       preference_rows=3, streaming=True, pairs="written")

    def read(*_: object) -> list[tuple[str, dict]]:
        return [(str(number), row) for number, row in enumerate(rows)]
    reading = Reading()
    assert [row["messages"][-1]["content"] for row in load_sft(hub, 0, read, reading)] == ["good"]
    assert reading.dropped == {"undesirable": 2}
    with pytest.raises(SchemaError, match=r"data\.streaming=false"):
        load_preferences(hub, 0, read, Reading())


def test_kto_without_two_labels_of_a_prompt_says_what_can_be_done_with_it(tmp_path: Path) -> None:
    data = local(tmp_path, "preferences", [kto("p", "a", True), kto("q", "b", False)],
                 pairs="written")
    with pytest.raises(SchemaError, match=r"no pairs; the desirable ones can train SFT"):
        check_sources(data)
