"""What is recommended, and what the numbers of an arm are where scores are missing."""

import warnings

import pytest

from lib.analysis import tables
from lib.analysis.policies.arms import PASSES, reward_gain, what_to_try
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
          controls: list[Row] | None = None, matrix: list[Row] | None = None,
          control: str = "") -> list[Row]:
    held = {row["a"]: row["b"] for row in controls or []}
    rows = [{"arm": arm, "check": arm in checks, "control": held.get(arm, control)}
            for arm in rates]
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
    assert "A blind reader leaves it undecided: .52 [.42, .61], 60 prompts." in text
    assert "forecast" not in text


@pytest.mark.parametrize(("low", "value", "high", "words"), [
    (0.51, 0.6, 0.7, "bears it out"), (0.3, 0.4, 0.49, "speaks against it"),
    (0.4, 0.5, 0.6, "leaves it undecided")])
def test_a_reading_of_the_recommended_arm_is_weighed(low: float, value: float, high: float,
                                                     words: str) -> None:
    text = said(found({"raft": (0.6, 0.01)}), read=value, read_low=low, read_high=high, n=60)
    assert f"A blind reader {words}: " in text


def test_a_single_method_is_not_called_the_highest_of_one() -> None:
    text = said(found({"offline_dpo": (0.6, 0.01)}))
    assert "Try offline_dpo first" in text
    assert "highest" not in text
    assert "The one method does not beat SFT by this judge" in said(
        found({"offline_dpo": (0.5, 1.0)}))


def test_rates_in_a_sentence_have_their_number_of_prompts() -> None:
    assert "on n = 64 held-out prompts" in said(found({"raft": (0.58, 0.2), "odpo": (0.5, 1.0)}))
    assert "prompts" not in tables.arms_findings([], {"raft": "no row is left"}, READER)


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
    assert "The one method does not beat SFT" in text
    assert "that beat SFT too: raft_random .70 [.65, .75]; so much needs no idea." in text
    text = said(found({"random_labels": (0.5, 0.9), "raft": (0.6, 0.01)}, ("random_labels",)))
    assert "that beat SFT too: none of 1." in text


def test_an_idea_that_does_not_beat_its_control_is_recommended_with_a_warning() -> None:
    rates = {"margin": (0.6, 0.01), "margin_random": (0.59, 0.02)}
    for value, p, warned in ((0.52, 0.5, True), (0.6, 0.01, False)):
        text = said(found(rates, ("margin_random",), [rate("margin", "margin_random", value, p)]))
        assert ("not shown to beat its control margin_random" in text) == warned


def test_an_idea_whose_control_has_no_result_is_recommended_with_a_warning() -> None:
    text = said(found({"raft": (0.6, 0.01)}, control="raft_random"))
    assert "not shown to beat its control raft_random, which has no result here" in text
    assert "control" not in said(found({"bonbon": (0.6, 0.01)}))


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
    assert lines[4] == ("- These rates are the judge's, on n = 64 prompts, and the verdicts stand "
                        "after Holm's correction over 4 comparisons.")
    assert tables.controls_finding([]) == "No arm of this run has a control."


def test_an_arm_whose_control_has_no_result_is_named_beside_those_that_were_compared() -> None:
    arms = [{"arm": arm, "control": control} for arm, control in (
        ("odpo", "offline_dpo"), ("raft", "raft_random"), ("bonbon", ""))]
    text = tables.controls_finding([rate("odpo", "offline_dpo", 0.5, 1.0)], arms)
    assert text.endswith("because the control has no result here: raft (raft_random).")
    assert "over 1 comparison." in text
    assert "odpo (" not in text
    assert "bonbon" not in text
    assert tables.controls_finding([], arms[1:]).startswith("- Not compared")


ARMS = [{"arm": arm, "check": arm == "raft_random", "generated_tokens": generated,
         "trained_tokens": 60_000} for arm, generated in (
             ("raft", 30_000), ("odpo", 0), ("raft_random", 30_000))]
BEST_OF = [rate("sft+bon4@0.6", "sft", 0.66, 0.001), rate("dpo", "sft", 0.5, 0.9),
           rate("dpo+bon4@0.6", "sft", 0.52, 0.6), rate("sft+mbr4@0.6", "sft", 0.9, 0.0)]


def paid(payments: list[Row] = BEST_OF, samples: int = 4, **rates: tuple) -> list[str]:
    verdicts = [rate(arm, "sft", *given) for arm, given in rates.items()]
    return tables.payments_finding(
        [row for row in ARMS if row["arm"] in rates], verdicts, payments, samples,
        {"mean_tokens": 70.0}).splitlines()


def test_what_is_paid_at_inference_and_at_training_stands_side_by_side() -> None:
    sampled, both, own, trained, apart, work = paid(raft=(0.6, 0.01), odpo=(0.5, 1.0))
    assert "at inference: `sft+bon4@0.6` wins .66 [.61, .71], n = 64; of every 4" in sampled
    assert "training and inference: `dpo+bon4@0.6` wins .52 [.47, .57], n = 64, which is" in both
    assert "on all pairs: dpo wins .50 [.45, .55], n = 64, which is undecided; every" in own
    assert "on this budget: raft wins .60 [.55, .65], n = 64; every answer" in trained
    assert trained.endswith("1 of 2 methods beats SFT.")
    assert paid(raft=(0.6, 0.01), odpo=(0.59, 0.01))[3].endswith("beat SFT, it most often.")
    assert apart == "- raft and `sft+bon4@0.6` are not told apart here: their intervals overlap."
    assert f"{(30_000 + PASSES * 60_000) / (3 * 70):,.0f} prompts" in work


def test_what_a_system_costs_is_told_by_its_policy_and_its_rule() -> None:
    rows = [rate(name, "sft", 0.6, 0.01) for name in ("sft+softbon4@0.6", "dpo", "dpo+bon4@0.6")]
    verdicts = [rate("raft", "sft", 0.6, 0.01), rate("odpo", "sft", 0.7, 0.5, "selector")]
    table = tables.payments_table(ARMS, verdicts, rows, samples=4)
    assert [[cell.strip() for cell in line.split("|")[1:5]] for line in table.splitlines()[2:]] == [
        ["`sft+softbon4@0.6`", "nothing", "nothing", "4"],
        ["dpo", "nothing", "all pairs", "1"],
        ["`dpo+bon4@0.6`", "nothing", "all pairs", "4"],
        ["raft", "30,000", "60,000", "1"]]


@pytest.mark.parametrize(("value", "says"), [
    (0.77, "raft beats SFT more often than `sft+bon4@0.6`"),
    (0.55, "`sft+bon4@0.6` beats SFT more often than raft"),
    (0.62, "not told apart")])
def test_training_and_inference_are_told_apart_by_their_intervals(value: float, says: str) -> None:
    assert says in paid(raft=(value, 0.01))[4]


def test_nothing_paid_at_training_is_worth_its_cost_where_no_method_beats_sft() -> None:
    assert paid(raft=(0.52, 0.5), odpo=(0.51, 0.9))[-1].startswith(
        "- None of 2 methods beats SFT by the judge after Holm's correction, so on this")
    assert "no method has a rate" in paid()[-1]
    assert "no method has a rate" in paid(raft_random=(0.7, 0.01))[-1]
    assert "cheaper" not in paid(raft=(0.6, 0.01), samples=1)[-1]


def test_best_of_n_that_was_not_judged_is_said_to_be_unjudged() -> None:
    unscored = [rate("sft+bon4@0.6", "sft", None, None)]
    first, trained, *rest = paid(unscored, raft=(0.6, 0.01))
    assert "is not judged, because no answer has a score" in first
    assert "told apart" not in "".join(rest)
    assert paid([], raft=(0.6, 0.01))[0].startswith("- Paid at training, on this budget: raft")
