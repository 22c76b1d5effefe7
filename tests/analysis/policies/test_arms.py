"""What is recommended, and what the numbers of an arm are where scores are missing."""

import warnings

import pytest

from lib.analysis import tables
from lib.analysis.policies.arms import reward_gain, what_to_try
from lib.runtime.files import Row

READER = {"answers": "earlier answers", "line": {}, "rows": []}


def rate(a: str, b: str, value: float | None, p: float | None, judge: str = "judge") -> Row:
    ends = (None, None) if value is None else (value - 0.05, value + 0.05)
    return {"a": a, "b": b, "judge": judge, "n": 64, "win_rate": value, "ci_low": ends[0],
            "ci_high": ends[1], "holm_p": p}


def read(arms: list[str], **fields: float | None) -> Row:
    unread = dict.fromkeys(("forecast", "low", "high", "read", "read_low", "read_high", "n"))
    return READER | {"rows": [{"arm": arm} | unread | fields for arm in arms]}


def found(rates: dict[str, tuple[float | None, float | None]], checks: tuple[str, ...] = (),
          controls: list[Row] | None = None, matrix: list[Row] | None = None) -> list[Row]:
    rows = [{"arm": arm, "check": arm in checks} for arm in rates]
    verdicts = [rate(arm, "sft", *given) for arm, given in rates.items()]
    return what_to_try(rows, [*verdicts, *(row | {"judge": "selector", "win_rate": 1.0,
                                                  "holm_p": 0.0} for row in verdicts)],
                       controls or [], matrix or [])


def said(first: list[Row], **fields: float | None) -> str:
    return tables.arms_findings(first, {}, read([row["arm"] for row in first], **fields))


def test_the_highest_rate_is_not_recommended_while_it_may_be_noise() -> None:
    text = said(found({"raft": (0.58, 0.2), "odpo": (0.56, 0.06), "rloo": (0.4, 0.01)}))
    assert "None of 3 methods beats SFT" in text
    assert "Try" not in text
    assert "Undecided: raft .58 [.53, .63]; odpo .56 [.51, .61]." in text
    assert "Worse than SFT: rloo .40 [.35, .45]." in text


def test_the_best_of_those_that_beat_sft_is_recommended_with_what_a_reader_would_say() -> None:
    first = found({"raft": (0.58, 0.03), "odpo": (0.6, 0.2), "rloo": (0.57, 0.04)})
    text = said(first, forecast=0.55, low=0.46, high=0.64)
    assert "Try raft first: .58 [.53, .63] over SFT by the judge on 64 prompts" in text
    assert "forecast for a blind reader is .55 [.46, .64]" in text
    text = said(first, forecast=0.55, low=0.46, high=0.64, read=0.52, read_low=0.42,
                read_high=0.61, n=60)
    assert "a blind reader gave it .52 [.42, .61], 60 prompts" in text
    assert "forecast" not in text


def test_arms_that_are_not_told_apart_from_the_best_are_named() -> None:
    rates = {"raft": (0.62, 0.001), "odpo": (0.6, 0.01), "rloo": (0.56, 0.04), "ipo": (0.51, 0.9)}
    first = found(rates, matrix=[rate("odpo", "raft", 0.48, None), rate("rloo", "raft", 0.4, None),
                                 rate("ipo", "raft", 0.5, None),
                                 rate("rloo", "raft", 0.5, None, "selector")])
    assert first[0]["like"] == ["odpo"]
    assert "odpo did no worse against it" in said(first)
    assert "rloo" not in said(first).splitlines()[0]


def test_a_control_is_never_recommended_and_said_to_need_no_idea() -> None:
    text = said(found({"raft_random": (0.7, 0.001), "raft": (0.55, 0.3)}, ("raft_random",)))
    assert "None of 1 methods beats SFT" in text
    assert "that beat SFT too: raft_random .70 [.65, .75]; so much needs no idea." in text
    text = said(found({"random_labels": (0.5, 0.9), "raft": (0.6, 0.01)}, ("random_labels",)))
    assert "that beat SFT too: none of 1." in text


def test_an_idea_that_does_not_beat_its_control_is_recommended_with_a_warning() -> None:
    rates = {"margin": (0.6, 0.01), "margin_random": (0.59, 0.02)}
    for value, p, warned in ((0.52, 0.5, True), (0.6, 0.01, False)):
        text = said(found(rates, ("margin_random",), [rate("margin", "margin_random", value, p)]))
        assert ("not shown to beat its control margin_random" in text) == warned


def test_an_arm_of_which_no_answer_was_judged_is_missing_and_not_last() -> None:
    first = found({"raft": (None, None), "odpo": (0.5, 1.0)})
    assert [row["verdict"] for row in first] == ["undecided", "unscored"]
    assert "Not judged, because no answer has a score: raft –." in said(first)


def test_an_arm_that_failed_is_a_sentence_and_the_others_are_told() -> None:
    text = tables.arms_findings(found({"odpo": (0.5, 1.0)}), {"raft": "no row is left"},
                                read(["odpo"]))
    assert text.splitlines()[-1] == "- raft failed: no row is left."
    assert tables.arms_findings([], {"raft": "no row is left"}, READER) == (
        "- raft failed: no row is left.")


def answers(scores: list[list[float | None]]) -> list[Row]:
    return [{"id": str(number), "candidates": [{"rewards": {"judge": score}} for score in line]}
            for number, line in enumerate(scores)]


@pytest.mark.parametrize(("before", "after"), [
    ([[None, None], [None, None]], [[1.0], [2.0]]), ([[1.0, 2.0], [0.0, 1.0]], [[None], [None]]),
    ([[1.0], [2.0]], [[1.0], [2.0]]), ([[1.0, 1.0], [2.0, 2.0]], [[1.0], [2.0]])],
    ids=["start unscored", "arm unscored", "one sample", "all ties"])
def test_a_gain_that_cannot_be_known_is_missing_without_a_warning(
        before: list, after: list) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = reward_gain(answers(after), answers(before), "judge")
    assert [row[key] for key in ("gain", "gain_low", "gain_high")] == [None] * 3


def test_controls_are_told_in_a_sentence_for_each_verdict() -> None:
    rows = [rate("margin", "margin_random", 0.6, 0.01), rate("fdpo", "fdpo_random", 0.52, 0.6),
            rate("raft", "raft_random", 0.4, 0.02), rate("odpo", "offline_dpo", None, None),
            rate("margin", "margin_random", 0.9, 0.0, "selector")]
    lines = tables.controls_finding(rows).splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == [
        "- The idea adds something", "- Not told apart from the control",
        "- Worse than the control", "- Not judged"]
    assert "n = 64 prompts, by the judge, Holm's correction over 4 comparisons." in lines[4]
    assert "No arm" in tables.controls_finding([])
