"""What a run's own reader says of systems and judges, from rows with the reader's scores."""

import numpy as np
import pytest

from lib.analysis.best_of_n.reader_forecast import read_answers
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.judges.own_reader import own_corrected, own_judge_quality, read_counts
from lib.analysis.judges.same_answers import same_answers
from lib.analysis.statistics.prediction_powered import (
    nested_win_rate,
    prediction_powered_win_rate,
)
from lib.analysis.tables.reader import reader_findings, reader_table, reliability_table, who_read
from lib.inference.rewards import OWN_READER
from lib.inference.rewards import ROLES as JUDGES
from lib.runtime.files import Row
from tests.analysis.analysis_rows import read_systems as systems

PAIR = ("dpo", "sft")


def rates(made: dict[str, list[Row]], judge: str) -> dict[str, float]:
    """The judge's outcome of the pair on every prompt, by hand."""
    return {a["id"]: 0.5 if a["candidates"][0]["text"] == b["candidates"][0]["text"] else float(
        a["candidates"][0]["rewards"][judge] > b["candidates"][0]["rewards"][judge])
        for a, b in zip(made["dpo"], made["sft"], strict=True)}


def test_what_was_read_is_counted_by_texts_and_means_by_systems() -> None:
    found = read_counts(systems())
    assert (found["prompts"], found["answers"]) == (24, 24 * 2 - 5)
    assert [(row["system"], row["n"]) for row in found["mean_scores"]] == [("sft", 24), ("dpo", 24)]
    assert read_counts(systems(read=0))["answers"] == 0


def test_all_judges_are_shown_on_the_prompts_that_the_reader_read_alone() -> None:
    made = systems()
    rows = {row["judge"]: row for row in same_answers(made, JUDGES, OWN_READER, [PAIR])}
    assert {row["n"] for row in rows.values()} == {24}
    by_hand = list(rates(made, "judge").values())[:24]
    assert rows["judge"]["win_rate"] == pytest.approx(np.mean(by_hand))
    outcomes = [np.sign(a["candidates"][0]["rewards"]["reader"] - b["candidates"][0]["rewards"][
        "reader"]) for a, b in zip(made["dpo"][:24], made["sft"][:24], strict=True)]
    assert rows["reader"]["win_rate"] == pytest.approx((np.mean(outcomes) + 1) / 2)
    assert rows["reader"]["ties"] == outcomes.count(0) == 24 - rows["reader"]["decided"]
    decided = [value for value, said in zip(by_hand, outcomes, strict=True) if said]
    assert rows["judge"]["decided_rate"] == pytest.approx(np.mean(decided))


def test_holms_correction_is_over_the_pairs_of_one_judge() -> None:
    made = systems(200, 200) | {"base": systems(200, 200, seed=5)["sft"]}
    alone = same_answers(made, JUDGES, OWN_READER, [PAIR])
    family = same_answers(made, JUDGES, OWN_READER, [PAIR, ("sft", "base")])
    assert all(row["holm_p"] == row["p_value"] for row in alone)
    first = next(row for row in family if row["judge"] == "reader")
    assert first["holm_p"] == pytest.approx(2 * first["p_value"])


def test_accuracy_counts_pairs_that_the_reader_separates() -> None:
    made = systems()
    quality = {(row["judge"], row["gap"]): row for row in own_judge_quality(made, JUDGES)}
    pairs = [(a["candidates"][0]["rewards"], b["candidates"][0]["rewards"])
             for a, b in zip(made["dpo"][:24], made["sft"][:24], strict=True)]
    wide = [(a, b) for a, b in pairs if abs(a["reader"] - b["reader"]) >= 1]
    right = np.mean([(a["reader"] > b["reader"]) == (a["judge"] > b["judge"]) for a, b in wide])
    assert quality["judge", 1.0]["n"] == len(wide)
    assert quality["judge", 1.0]["accuracy"] == pytest.approx(right)
    assert own_judge_quality(systems(read=0), JUDGES) == []


def test_with_full_weight_the_judges_mean_error_is_taken_off_its_rate_over_all_prompts() -> None:
    made = systems()
    judged = rates(made, "judge")
    [row] = own_corrected(made, [PAIR], "judge", {PAIR: judged})
    by_reader = {one["judge"]: one for one in same_answers(made, JUDGES, OWN_READER, [PAIR])}
    error = by_reader["judge"]["win_rate"] - by_reader["reader"]["win_rate"]
    assert row["win_rate"] == pytest.approx(np.mean(list(judged.values())) - error)
    assert (row["labelled"], row["judged"]) == (24, 40)
    assert row["reader_rate"] == pytest.approx(by_reader["reader"]["win_rate"])
    assert row["pooled_high"] - row["pooled_low"] <= row["high"] - row["low"]


def test_nothing_read_gives_no_correction_and_a_sentence_instead_of_a_table() -> None:
    made = systems(read=0)
    assert own_corrected(made, [PAIR], "judge", {PAIR: rates(made, "judge")}) == []
    assert same_answers(made, JUDGES, OWN_READER, [PAIR]) == []
    assert "No one has read" in reader_table([])
    assert "No one has read" in reader_findings({})


def readers(number: int, seeing: int = 0, people: int = 0) -> dict:
    rows = [{"reader": f"reader-{place}", "kind": "person" if place < people else "model",
             "blind": place >= seeing, "n": 10 * place + 1} for place in range(number)]
    return {"answers": 120, "prompts": 1, "readers": rows}


@pytest.mark.parametrize(("reading", "who"), [
    (readers(1), "reader-0 (a model), 1 answer."),
    (readers(2, seeing=1, people=1), "reader-0 (a person, not blind), 1 answer; reader-1 (a "
                                     "model), 11 answers."),
    (readers(9), "9 models, 1 to 81 answers each."),
    (readers(4, seeing=2, people=1), "1 person and 3 models, 1 to 31 answers each; 2 of them not "
                                     "blind.")])
def test_a_few_readers_are_named_and_many_are_counted(reading: dict, who: str) -> None:
    assert who_read(reading) == f"120 different answers to 1 prompt were read, by {who}"


def test_many_readers_of_the_same_answers_are_counted_in_their_table() -> None:
    ends = {f"{key}{end}": 0.5 for key in ("pearson", "within", "kappa", "difference", "same_order")
            for end in ("", "_low", "_high")}
    row = {"first": ["Ada"], "second": list("abcd"), "n": 9, "prompts": 3, "pairs": 2} | ends
    assert "| Ada | 4 readers | 9 |" in reliability_table([row])


def test_a_reader_of_all_prompts_needs_no_judge() -> None:
    reader, judge = np.array([1, 0.5, 0, 1, 1, 0.5]), np.array([1, 1, 0, 0, 1, 1.0])
    found = nested_win_rate(judge, judge, reader)
    assert (found["win_rate"], found["weight"]) == (pytest.approx(reader.mean()), 0)
    assert nested_win_rate(judge, judge, reader, weight=1)["win_rate"] == pytest.approx(
        reader.mean())
    with pytest.raises(ValueError, match="1 prompts were read; a correction needs at least two"):
        nested_win_rate(judge, judge, [1, *[np.nan] * 5])


def test_two_read_prompts_are_enough_and_a_judge_that_says_the_opposite_is_not_trusted() -> None:
    judge, nan = np.array([1, 0, 1, 0, 1, 0.0]), np.nan
    read = np.array([1, 0, *[nan] * 4])
    found = nested_win_rate(judge, judge + 0 * read, 1 - read)
    assert (found["weight"], found["labelled"], found["judged"]) == (0, 2, 6)
    assert found["win_rate"] == found["reader_rate"] == 0.5
    assert prediction_powered_win_rate(judge, judge[:2], 1 - judge[:2])["weight"] == 0


def test_a_judge_that_moves_half_as_far_as_the_reader_is_trusted_in_full_and_no_more() -> None:
    judge, read = np.array([0.5, 0] * 10), np.where(np.arange(20) < 6, 0, np.nan)
    assert nested_win_rate(judge, judge + read, 2 * judge + read)["weight"] == 1
    assert prediction_powered_win_rate(judge, judge[:6], 2 * judge[:6])["weight"] == 1


@pytest.mark.parametrize("weight", [1.0, None])
def test_the_corrected_interval_covers_the_readers_rate_over_all_candidates(
        weight: float | None) -> None:
    """400 repetitions: a coverage of .95 has a Monte-Carlo error of .011."""
    random, prompts, read = np.random.default_rng(4), 80, 30

    def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        quality = random.normal(size=(2, prompts, 6)) + np.array([0.4, 0])[:, None, None]
        judge = 0.5 * quality + random.normal(0, 0.85, quality.shape)
        floor = np.maximum(1, np.round(2 * (1 + quality)) / 2)
        wins = [(np.sign(each[0][:, :, None] - each[1][:, None]) + 1) / 2
                for each in (judge, floor)]
        kept = np.where(np.arange(prompts) < read, 0, np.nan)
        return (wins[0].mean((1, 2)), wins[0][:, 0, 0] + kept, wins[1][:, 0, 0] + kept,
                wins[1].mean())

    truth = np.mean([drawn()[3] for _ in range(300)])
    found = [nested_win_rate(*drawn()[:3], weight=weight) for _ in range(400)]
    covered = np.mean([row["low"] <= truth <= row["high"] for row in found])
    assert 0.92 < covered < 0.98
    assert np.mean([row["win_rate"] for row in found]) == pytest.approx(truth, abs=0.015)


def test_the_table_and_the_sentences_say_the_reader_first() -> None:
    rows = same_answers(systems(120, 120), JUDGES, OWN_READER, [PAIR])
    table = reader_table(rows)
    assert table.splitlines()[0].startswith("| comparison | n | ties | reader [95 %]")
    assert "judge, same answers" in table
    assert len(table.splitlines()) == 3
    said = reader_findings({"answers": 43, "prompts": 24, "same_answers": rows, "readers": [
        {"reader": "Ada", "kind": "person", "blind": True, "n": 43},
        {"reader": "Bob", "kind": "model", "blind": False, "n": 9}]})
    assert "by Ada (a person), 43 answers; Bob (a model, not blind), 9 answers" in said
    assert "By the reader, decided: dpo over sft ." in said


def by_readers(system: str, *readings: dict[str, float]) -> list[Row]:
    """A system's answers, each with the scores of its readers; the first one's is its reward."""
    return [{"id": f"p{place}", "prompt": f"Ask {place}?", "chosen": 0, "candidates": [
        {"text": f"{system} {place}", "readings": each,
         "rewards": {"selector": 0.1 * place, "judge": 0.5,
                     "reader": next(iter(each.values()), None)}}]}
        for place, each in enumerate(readings)]


MIXED = {"sft": by_readers("sft", {"Ada": 5, "Bob": 2}, {"Ada": 4}, {"Ada": 1}, {}, {"Bob": 3}),
         "dpo": by_readers("dpo", {"Bob": 3}, {"Bob": 9}, {"Ada": 2, "Bob": 1}, {"Ada": 4},
                           {"Cleo": 1, "Bob": 3})}


@pytest.mark.parametrize("pair", [("dpo", "sft"), ("sft", "dpo")])
def test_two_answers_are_compared_by_one_reader_who_read_both(pair: tuple[str, str]) -> None:
    board = scoreboard(MIXED, [OWN_READER])
    won = {"dpo": [1, np.nan, 1, np.nan, 0.5], "sft": [0, np.nan, 0, np.nan, 0.5]}[pair[0]]
    assert np.array_equal(board.outcomes(OWN_READER, *pair), won, equal_nan=True)
    assert {row["n"] for row in same_answers(MIXED, JUDGES, OWN_READER, [pair])} == {3}
    [corrected] = own_corrected(MIXED, [pair], "judge", {pair: {f"p{each}": 0.5
                                                                for each in range(5)}})
    assert corrected["labelled"] == 3


def test_two_readers_who_read_both_answers_agree_on_who_is_first_from_both_sides() -> None:
    both = {name: by_readers(name, {"Ada": ada, "Bob": bob})
            for name, ada, bob in (("sft", 4, 3), ("dpo", 2, 5))}
    board = scoreboard(both, [OWN_READER])
    assert board.outcomes(OWN_READER, "sft", "dpo").tolist() == [1]
    assert board.outcomes(OWN_READER, "dpo", "sft").tolist() == [0]


def test_all_answers_to_a_prompt_are_ordered_by_the_reader_who_read_most() -> None:
    base = by_readers("base", {"Bob": 4}, {"Ada": 4}, {}, {}, {})
    read = read_answers(MIXED | {"base": base}, OWN_READER)
    scores = {row["id"]: [each["rewards"]["reader"] for each in row["candidates"]] for row in read}
    assert scores == {"p0": [2, 3, 4], "p1": [4, 4], "p2": [1, 2], "p4": [3, 3]}
