"""Repetition, variety and constraints against the vectors and hand counts."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import ROOT
from lib.analysis.texts import constraints
from lib.analysis.texts.constraints import (
    check_constraints,
    constraint_accuracy,
    constraint_accuracy_by_system,
    unchecked_constraints,
)
from lib.analysis.texts.metrics import text_metrics, text_metrics_by_system
from lib.analysis.texts.repetition import is_loop, longest_repeated_run, seq_rep
from lib.analysis.texts.variety import (
    dispersion,
    distinct_n,
    effective_number,
    self_bleu,
    word_similarity,
)
from lib.runtime.files import read_jsonl
from tests.analysis.analysis_rows import response

VECTORS = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())
HELDOUT = read_jsonl(ROOT / "data" / "sample" / "heldout.jsonl")
CONSTRAINED = [row for row in HELDOUT if row.get("instruction_id_list")]


def test_variety_and_repetition_agree_with_the_vectors() -> None:
    texts = VECTORS["5_diversity"]["in"]["texts"]
    expected = VECTORS["5_diversity"]["out"]
    assert distinct_n(texts, 1) == pytest.approx(expected["distinct_1"], abs=1e-9)
    assert distinct_n(texts, 2) == pytest.approx(expected["distinct_2"], abs=1e-9)
    for n, value in expected["seq_rep_n_text1"].items():
        assert seq_rep(texts[0], int(n)) == pytest.approx(value, abs=1e-9)
    assert self_bleu(texts) == pytest.approx(expected["self_bleu2"], abs=1e-9)


def test_embedding_dispersion_agrees_with_the_vectors() -> None:
    embeddings = np.array(VECTORS["5_embedding_dispersion"]["in"]["embeddings"])
    expected = VECTORS["5_embedding_dispersion"]["out"]
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    apart = expected["mean_pairwise_cosine_distance"]
    assert dispersion(unit @ unit.T) == pytest.approx(apart, abs=1e-9)
    assert effective_number(unit @ unit.T) == pytest.approx(expected["vendi_score"], abs=1e-9)
    assert dispersion([[1.0]]) is None


@pytest.mark.parametrize(("text", "run"), [
    ("a b a b a b c", 6), ("so so so so", 4), ("one two three", 0), ("", 0), ("a b c a b c", 6),
    ("x y z y z y", 5), ("a b c x a b c", 0)])
def test_the_longest_run_counts_words_of_a_block_said_again_at_once(text: str, run: int) -> None:
    assert longest_repeated_run(text) == run


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_a_run_is_never_longer_than_the_text(words: list[str]) -> None:
    assert 0 <= longest_repeated_run(" ".join(words)) <= len(words)


def test_a_loop_is_one_four_gram_said_five_times() -> None:
    assert is_loop("I am a pineapple. " * 5)
    assert not is_loop("I am a pineapple. " * 4)
    assert not is_loop("pineapple")


def test_texts_too_short_for_an_n_gram_are_left_out_not_zero() -> None:
    assert seq_rep("two words", 3) is None
    metrics = text_metrics([response(0, "Yes.", 1.0), response(1, "so so so so so", 1.0)])
    assert metrics["seq_rep_4"] == pytest.approx(0.5)
    assert metrics["seq_rep_1"] == pytest.approx((0 + 4 / 5) / 2)


def test_metrics_of_a_system_are_plain_json_with_intervals() -> None:
    rows = [response(0, "no comma here", 1.0), response(1, "", 1.0), response(2, "a b", 1.0)]
    rows[2]["candidates"][0]["finish"] = "length"
    metrics = text_metrics(rows)
    json.dumps(metrics, allow_nan=False)
    assert metrics["stopped_at_limit"] == metrics["empty"] == pytest.approx(1 / 3)
    assert metrics["stopped_at_limit_low"] < 1 / 3 < metrics["stopped_at_limit_high"]
    assert metrics["mean_tokens_low"] < metrics["mean_tokens"] < metrics["mean_tokens_high"]
    assert metrics["seq_rep_2_low"] <= metrics["seq_rep_2"] < metrics["seq_rep_2_high"]
    assert metrics["seq_rep_4"] is metrics["seq_rep_4_low"] is None
    assert metrics["identical_candidates"] is None
    with pytest.raises(ValueError, match="at least one answer"):
        text_metrics([])


def test_candidates_that_collide_are_counted() -> None:
    row = response(0, "same answer", 1.0)
    row["candidates"] = [row["candidates"][0] | {"text": text}
                         for text in ("same answer", "same answer ", "other words", "more")]
    metrics = text_metrics([row])
    assert metrics["distinct_candidates"] == 3
    assert metrics["identical_candidates"] == 0.25
    assert 0 < metrics["candidate_self_bleu"] < 1
    assert 1 < metrics["effective_candidates"] < 3
    row["candidates"] = [row["candidates"][0] | {"text": text} for text in ("a b", "c d", "", "e")]
    metrics = text_metrics([row])
    assert (metrics["effective_candidates"], metrics["candidate_dispersion"]) == pytest.approx(
        (4, 1))


def test_systems_are_compared_at_the_word_budget_of_the_tersest() -> None:
    terse = [response(0, "one two three four", 1.0)]
    wordy = [response(0, "one two three four " * 10, 1.0)]
    metrics = text_metrics_by_system({"terse": terse, "wordy": wordy})
    assert metrics["terse"]["distinct_1"] == metrics["wordy"]["distinct_1"] == 1


@pytest.mark.parametrize("row", CONSTRAINED, ids=lambda row: row["id"])
def test_each_reference_meets_its_constraints_strictly(row: dict) -> None:
    assert all(check_constraints(row["reference"], row).strict)


def test_answers_that_break_a_constraint_fail_and_loose_forgives_a_first_line() -> None:
    row = {"id": "x", "prompt": "Say it without commas.", "kwargs": [{}],
           "instruction_id_list": ["punctuation:no_comma"]}
    assert check_constraints("No, never.", row).strict == (False,)
    forgiven = check_constraints("Sure, here it is:\nNo commas at all.", row)
    assert (forgiven.strict, forgiven.loose) == ((False,), (True,))
    assert check_constraints("  ", row).loose == (False,)


def test_constraint_accuracy_counts_prompts_and_instructions() -> None:
    rows = [{**response(0, row["reference"], 1.0), "id": row["id"]} for row in HELDOUT]
    rows[HELDOUT.index(CONSTRAINED[0])]["candidates"][0]["text"] = ""
    table = {(row["level"], row["mode"]): row for row in constraint_accuracy(rows, HELDOUT)}
    assert (table["prompt", "strict"]["n"], table["prompt", "strict"]["passed"]) == (25, 24)
    assert table["instruction", "loose"]["n"] > 25
    assert constraint_accuracy([response(0, "x", 1.0)], HELDOUT) == []
    assert len(constraint_accuracy_by_system({"a": rows, "b": rows}, HELDOUT)) == 8


def test_an_unknown_constraint_is_named() -> None:
    row = {"id": "x", "prompt": "?", "kwargs": [{}], "instruction_id_list": ["style:rhyme"]}
    with pytest.raises(ValueError, match="x: constraint style:rhyme is not one of IFEval's"):
        check_constraints("Roses", row)


@pytest.mark.parametrize("kwargs", [
    {"relation": "about", "num_words": 3}, {"words": 3}, {}, {"relation": None, "num_words": 3}])
def test_a_constraint_with_kwargs_that_it_cannot_take_is_named(kwargs: dict) -> None:
    row = {"id": "x", "prompt": "?", "kwargs": [kwargs],
           "instruction_id_list": ["length_constraints:number_words"]}
    with pytest.raises(ValueError, match="x: constraint length_constraints:number_words cannot be"):
        unchecked_constraints([row])


def lacking(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    """A machine on which one checker's data are missing."""
    def check_following(self: object, answer: str) -> bool:
        raise error
    monkeypatch.setattr(constraints.INSTRUCTION_DICT[name], "check_following", check_following)


@pytest.mark.parametrize("error", [LookupError("Resource punkt not found"), OSError("no network")])
def test_a_constraint_whose_checker_lacks_its_data_is_missing_and_the_others_count(
        error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "length_constraints:number_words"
    lacking(monkeypatch, name, error)
    words = {"relation": "at least", "num_words": 1}
    rows = [{"id": "both", "prompt": "?", "kwargs": [{}, words],
             "instruction_id_list": ["punctuation:no_comma", name]},
            {"id": "one", "prompt": "?", "kwargs": [{}],
             "instruction_id_list": ["punctuation:no_comma"]}]
    assert unchecked_constraints(rows) == [name]
    assert check_constraints("No comma.", rows[0]).strict == (True, None)
    answers = [{**response(0, "No comma.", 1.0), "id": row["id"]} for row in rows]
    found = {(row["level"], row["mode"]): row for row in constraint_accuracy(answers, rows)}
    by_prompt, by_instruction = found["prompt", "strict"], found["instruction", "strict"]
    assert (by_prompt["n"], by_prompt["missing"], by_prompt["accuracy"]) == (1, 1, 1.0)
    assert (by_instruction["n"], by_instruction["missing"]) == (2, 1)


def test_without_any_constraint_that_can_be_checked_the_accuracy_is_missing_and_no_zero(
        monkeypatch: pytest.MonkeyPatch) -> None:
    name = "length_constraints:number_words"
    lacking(monkeypatch, name, LookupError("Resource punkt not found"))
    row = {"id": "x", "prompt": "?", "kwargs": [{"relation": "at least", "num_words": 1}],
           "instruction_id_list": [name]}
    table = constraint_accuracy([{**response(0, "Yes.", 1.0), "id": "x"}], [row])
    assert {(line["n"], line["missing"], line["accuracy"]) for line in table} == {(0, 1, None)}


def test_word_similarity_is_the_cosine_of_word_counts() -> None:
    found = word_similarity(["a b", "B a!", "a a", "c", "", "..."])
    assert np.diag(found) == pytest.approx(1)
    assert (found == found.T).all()
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == pytest.approx(2 / (np.sqrt(2) * 2))
    assert found[0, 3] == 0
    assert found[4].tolist() == [0, 0, 0, 0, 1, 1]
