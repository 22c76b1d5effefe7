"""Curation drops what cannot be learned from, one reason a row, and counts what it cuts."""

import json
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from lib.data.chat import ChatError, encode_conversation, encode_prompt
from lib.data.curation import REASONS, Report, curate
from lib.data.duplicates import overlap
from lib.data.parquet import TOKENS
from lib.data.schema import prompt_text
from lib.data.settings import DataSettings
from lib.data.sources import load_heldout, load_preferences, load_scored, load_sft
from lib.runtime.files import Row
from tests.data.conftest import build_tokenizer

Tokenizer = PreTrainedTokenizerFast


def bare(rows: list[Row]) -> list[Row]:
    """Rows without the token ids that curation gives them."""
    return [{name: value for name, value in row.items() if name not in TOKENS} for row in rows]


def talk(name: str, *contents: str, first: str = "user") -> dict[str, Any]:
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    return {"id": name, "source": "s", "messages": [
        {"role": roles[index % 2], "content": text} for index, text in enumerate(contents)]}


def pair(name: str, chosen: str, rejected: str, prompt: str = "q",
         scores: tuple[float | None, float | None] = (None, None)) -> dict[str, Any]:
    return {"id": name, "prompt": [{"role": "user", "content": prompt}], "chosen": chosen,
            "rejected": rejected, "score_chosen": scores[0], "score_rejected": scores[1],
            "source": "s"}


def dropped(report: Report) -> dict[str, tuple[str, ...]]:
    assert report.rows == report.kept + sum(map(len, report.dropped.values()))
    assert set(report.dropped) <= set(REASONS)
    return report.dropped


def test_conversations_without_text_answer_or_question_are_dropped(smollm: Tokenizer) -> None:
    rows = [talk("good", "hi", "hello"), talk("none"), talk("unanswered", "hi"),
            talk("blank", "hi", " \n"), talk("blank question", "", "hello"),
            talk("backwards", "hello", "hi", "yes", first="assistant")]
    kept, report = curate(rows, smollm, 100)
    assert [row["id"] for row in kept] == ["good"]
    assert dropped(report) == {"empty": ("none", "unanswered", "blank", "blank question"),
                               "starts_with_assistant": ("backwards",)}


STRICT = ("{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
          "{{ raise_exception('roles must alternate') }}{% endif %}"
          "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def test_rows_that_a_strict_template_refuses_are_left_out_and_the_first_is_named(
        capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = build_tokenizer(STRICT, "<|im_end|>")
    twice = {"id": "twice", "source": "s", "messages": [
        {"role": role, "content": text} for role, text in (
            ("user", "hello"), ("user", "anyone?"), ("assistant", "yes"))]}
    told = {**pair("told", "a", "b"), "prompt": [{"role": "system", "content": "Be brief."},
                                                 {"role": "user", "content": "q"}]}
    for bad, good in ((twice, talk("good", "hi", "hello")), (told, pair("good", "a", "b"))):
        kept, report = curate([good, bad, {**bad, "id": "too"}], tokenizer, 100)
        assert [row["id"] for row in kept] == ["good"]
        assert dropped(report) == {"refused_by_template": (bad["id"], "too")}
        said = capsys.readouterr().out
        assert f"left out: 2 rows; the first, of s with the id {bad['id']} (" in said
        assert "roles must alternate" in said
        with pytest.raises(ChatError, match="roles must alternate"):  # it takes none of them
            curate([bad], tokenizer, 100)


def test_a_prompt_that_leaves_no_room_is_told_from_one_that_is_too_long(
    tokenizer: Tokenizer,
) -> None:
    row = talk("a", "a question of some length", "an answer")
    prompt = len(encode_prompt(tokenizer, row["messages"][:1]))
    for limit, reason in ((prompt - 1, "prompt_too_long"), (prompt, "no_response_left")):
        assert dropped(curate([row], tokenizer, limit)[1]) == {reason: ("a",)}
        both = pair("a", "an answer", "another", row["messages"][0]["content"])
        assert dropped(curate([both], tokenizer, limit)[1]) == {reason: ("a",)}
    kept, report = curate([row], tokenizer, prompt + 1)
    assert len(kept) == 1
    assert (report.truncated, report.lost_end) == (1, 1)


def test_truncated_rows_and_lost_ends_are_counted_apart(smollm: Tokenizer) -> None:
    rows = [talk("short", "hi", "hello"), talk("two", "hi", "hello", "and " * 20, "yes")]
    short = len(encode_conversation(smollm, rows[0]["messages"], None).input_ids)
    report = curate(rows, smollm, short + 5)[1]
    assert (report.truncated, report.lost_end) == (1, 0)
    report = curate(rows, smollm, short - 1)[1]
    assert (report.truncated, report.lost_end) == (2, 2)


def test_pairs_that_say_nothing_or_contradict_themselves_are_dropped(smollm: Tokenizer) -> None:
    rows = [pair("good", "a", "b", scores=(8.0, 5.0)), pair("unscored", "c", "d"),
            pair("blank", "a", " "), pair("no prompt", "a", "b", prompt="\t"),
            pair("same", "x ", " x"), pair("tie", "a", "c", scores=(5.0, 5.0)),
            pair("inverted", "a", "d", scores=(4.0, 5.0)),
            pair("half", "e", "f", scores=(4.0, None))]
    kept, report = curate(rows, smollm, 200)
    assert [row["id"] for row in kept] == ["good", "unscored", "half"]
    assert dropped(report) == {"empty": ("blank", "no prompt"), "identical_pair": ("same",),
                               "tie": ("tie",), "rejected_scores_higher": ("inverted",)}


def test_answers_that_differ_only_beyond_the_limit_are_dropped(smollm: Tokenizer) -> None:
    row = pair("a", "same start, other end", "same start, one end")
    prompt = len(encode_prompt(smollm, row["prompt"]))
    report = curate([row], smollm, prompt + 5)[1]
    assert dropped(report) == {"identical_after_truncation": ("a",)}
    kept, report = curate([row], smollm, 500)
    assert bare(kept) == [row]
    assert (report.truncated, report.lost_end) == (0, 0)


def test_a_pair_of_which_one_answer_is_cut_counts_as_truncated(smollm: Tokenizer) -> None:
    row = pair("a", "short", "a much longer answer than that")
    limit = len(encode_prompt(smollm, row["prompt"])) + 12
    kept, report = curate([row], smollm, limit)
    assert bare(kept) == [row]
    assert (report.truncated, report.lost_end) == (1, 1)


def test_an_empty_system_message_is_no_reason_to_drop(smollm: Tokenizer) -> None:
    row = talk("a", "hi", "hello")
    row["messages"].insert(0, {"role": "system", "content": ""})
    assert bare(curate([row], smollm, 100)[0]) == [row]


def test_the_sample_needs_no_dropping_and_shares_no_prompt_with_evaluation(
    smollm: Tokenizer,
) -> None:
    written, own = (load_preferences(DataSettings(pairs=kind), 0)
                    for kind in ("written", "on_policy"))
    sft, heldout = load_sft(DataSettings(), 0), load_heldout(DataSettings())
    assert dropped(curate(sft, smollm, 2000)[1]) == {}
    assert dropped(curate(written, smollm, 2000)[1]) == {}
    assert dropped(curate(heldout, smollm, 2000)[1]) == {}
    assert {reason: len(ids) for reason, ids in dropped(
        curate(own, smollm, 2000)[1]).items()} == {"duplicate": 4}
    prompts = [row["prompt"] for row in heldout]
    for rows in (sft, written, own, load_scored("judged")):
        found = overlap([prompt_text(row) for row in rows], prompts)
        assert (found.exact, found.near) == ((), ())


def test_repetitions_of_kept_rows_are_dropped_but_not_of_dropped_ones(smollm: Tokenizer) -> None:
    rows = [talk("first", "Hi there!", "Hello."), talk("again", "hi  there", "HELLO"),
            talk("other answer", "hi there", "bye")]
    assert dropped(curate(rows, smollm, 200)[1]) == {"duplicate": ("again",)}
    pairs = [pair("tie", "a", "b", scores=(1.0, 1.0)), pair("good", "a", "b", scores=(2.0, 1.0))]
    assert [row["id"] for row in curate(pairs, smollm, 200)[0]] == ["good"]


def test_near_duplicates_are_counted_and_dropped_only_if_asked(smollm: Tokenizer) -> None:
    question = "Explain to a child why the sky is blue during the day"
    rows = [talk("first", question, "one"), talk("near", question + " please", "two"),
            talk("far", "Write a poem about a lighthouse keeper", "three")]
    kept, report = curate(rows, smollm, 500)
    assert len(kept) == 3
    assert report.near_duplicates == 1
    kept, report = curate(rows, smollm, 500, drop_near_duplicates=True)
    assert dropped(report) == {"near_duplicate": ("near",)}
    assert report.near_duplicates == 0


def test_several_pairs_of_one_prompt_are_no_near_duplicates(smollm: Tokenizer) -> None:
    question = "the same long question"
    rows = [pair("1", "a", "b", question), pair("2", "a", "c", question)]
    kept, report = curate(rows, smollm, 200, drop_near_duplicates=True)
    assert bare(kept) == rows
    assert (report.prompts, report.near_duplicates) == (1, 0)


def test_heldout_prompts_that_cannot_be_answered_are_dropped(smollm: Tokenizer) -> None:
    rows = [{"id": name, "prompt": text, "reference": None, "source": "s",
             "instruction_id_list": [], "kwargs": []}
            for name, text in (("good", "hi"), ("blank", " "), ("long", "hello " * 200))]
    kept, report = curate(rows, smollm, 100)
    assert kept == rows[:1]
    assert dropped(report) == {"empty": ("blank",), "prompt_too_long": ("long",)}


def test_the_report_is_json_with_lengths_of_the_kept_rows(smollm: Tokenizer) -> None:
    rows = [talk("a", "hi", "hello"), talk("b", "hi", ""), talk("c", "hi", "hello world")]
    report = curate(rows, smollm, 100)[1]
    assert report.lengths["conversation"] == tuple(
        len(encode_conversation(smollm, row["messages"], None).input_ids)
        for row in (rows[0], rows[2]))
    summary = json.loads(json.dumps(report.to_dict()))
    assert (summary["rows"], summary["kept"], summary["dropped"]) == (3, 2, {"empty": 1})
    assert summary["sources"] == {"s": 2}
    assert summary["tokens"]["response"]["100%"] == max(report.lengths["response"])


def test_no_rows_give_an_empty_report(smollm: Tokenizer) -> None:
    kept, report = curate([], smollm, 100)
    assert kept == []
    assert (report.rows, report.kept, report.lengths) == (0, 0, {})
