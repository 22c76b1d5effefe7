"""Curves, gains, rules and costs from pools of candidates, by hand and by brute force."""

import itertools
import math

import numpy as np
import pytest

from lib.analysis.best_of_n.curves import (
    best_over_random,
    cost_rows,
    curves_by_judge,
    gain_rows,
    win_curves,
    win_rate_rows,
)
from lib.analysis.best_of_n.selection_effects import best_over_random_rows
from lib.analysis.best_of_n.selection_rules import pool_rule_rows
from lib.analysis.figures.selection import (
    best_over_random_figure,
    gains_figure,
    surface_figure,
)
from lib.analysis.tables.findings import best_of_n_findings
from lib.analysis.tables.selection import best_over_random_table
from lib.inference.best_of_n import kl_bound
from lib.runtime.files import Row

PROMPTS = 40
ROLES = ("selector", "judge")


def pool(seed: int, size: int = 4, shift: float = 0.0, agreement: float = 0.7) -> list[Row]:
    """Candidates with a selector's and a judge's score, rounded so that ties occur."""
    random, rows = np.random.default_rng(seed), []
    for prompt in range(PROMPTS):
        scores = random.normal(shift, 1, (size, 2))
        scores[:, 1] = agreement * scores[:, 0] + (1 - agreement) * scores[:, 1]
        rows.append({"id": f"p{prompt}", "prompt": "?", "source": "test", "chosen": 0,
                     "candidates": [
                         {"text": f"answer {seed} {number}", "tokens": 10 + number,
                          "finish": "stop",
                          "rewards": {"selector": round(a, 1), "judge": round(b, 1)}}
                         for number, (a, b) in enumerate(scores)]})
    return rows


def shuffled(rows: list[Row]) -> list[Row]:
    return [{**row, "candidates": row["candidates"][::-1]} for row in rows]


def test_equal_policies_by_the_selectors_own_eye_win_n_of_n_plus_one() -> None:
    random = np.random.default_rng(0)
    rows = [{**row, "candidates": [
        {**c, "rewards": dict.fromkeys(("selector", "judge"), random.normal())}
        for c in row["candidates"]]} for row in pool(1)]
    assert win_curves(rows, rows, "selector").mean(0) == pytest.approx([1 / 2, 2 / 3, 3 / 4])


def distinct(rows: list[Row]) -> list[Row]:
    """The same pool with scores that are all different, judge and selector unrelated."""
    random = np.random.default_rng(0)
    return [{**row, "candidates": [
        {**c, "rewards": dict(zip(ROLES, random.normal(size=2), strict=True))}
        for c in row["candidates"]]} for row in rows]


def test_what_counting_alone_gives_has_no_interval() -> None:
    rows = distinct(pool(1))
    curves = curves_by_judge(win_rate_rows({("sft", 0.6): rows}, rows, ROLES), "sft")
    assert [(row["value"], row["ci_low"]) for row in curves["selector"]] == [
        (pytest.approx(n / (n + 1)), None) for n in (1, 2, 3)]
    assert curves["judge"][0]["ci_low"] is None
    assert curves["judge"][2]["ci_high"] - curves["judge"][2]["ci_low"] > 0.01
    assert gain_rows({("sft", 0.6): rows}, ROLES)[0]["ci_low"] is None
    assert "in .75 of prompts by the selector" in best_of_n_findings(
        [row for judge in ROLES for row in curves[judge]])
    found = {row["rule"]: row for row in pool_rule_rows(rows, rows, "selector")}
    for name, rate in (("one at random", 0.5), ("best of n", 0.75)):
        assert found[name]["value"] == pytest.approx(rate)
        assert (found[name]["ci_low"], found[name]["lead_high"]) == (None, None)
    assert found["soft best of n, lam = 2"]["ci_low"] is not None


def test_a_sample_that_happens_to_agree_keeps_its_doubt() -> None:
    rows = [{**row, "candidates": [{**c, "rewards": c["rewards"] | {
        "judge": c["rewards"]["selector"]}} for c in row["candidates"]]}
        for row in distinct(pool(1))]
    judged = win_rate_rows({("sft", 0.6): rows}, rows, ["judge"])[2]
    assert judged["value"] == pytest.approx(0.75)  # each prompt, but not by construction
    assert judged["ci_low"] < 0.65


def test_the_best_over_a_random_one_of_the_same_counts_duplicates_and_draws_nothing() -> None:
    def row(*candidates: tuple[str, float]) -> Row:
        return {"id": str(candidates), "candidates": [
            {"text": text, "rewards": {"selector": score, "judge": -score}}
            for text, score in candidates]}
    rows = [row(("a", 4), ("b", 3), ("c", 2), ("d", 1)),
            row(("a", 4), ("a", 4), ("a", 4), ("b", 1))]
    assert best_over_random(rows, "selector", 4).tolist() == [1 - 1 / 8, 1 - 3 / 8]
    assert best_over_random(rows, "judge", 4).tolist() == [1 / 8, 3 / 8]
    chosen, judged = best_over_random_rows({("sft", 0.6): rows}, [*ROLES, "reader"], 4)
    assert (chosen["system"], chosen["value"], chosen["ci_low"]) == ("sft+bon4@0.6", 0.75, None)
    assert best_over_random(rows, "judge", 2).tolist() == pytest.approx([1 / 4, 3 / 8])
    assert len(best_over_random(rows, "judge", 5)) == 0
    assert judged["correlation"] == pytest.approx(-1)
    assert judged["ci_low"] <= judged["value"] == 0.25 <= judged["ci_high"]
    assert "by its own selector" in best_over_random_figure([chosen, judged]).layout.title.text
    assert "| `sft+bon4@0.6` | selector | 2 | .75 |" in best_over_random_table([chosen])


def test_the_best_over_a_random_one_is_the_mean_over_all_random_picks() -> None:
    rows = pool(13)
    values = best_over_random(rows, "judge", 4)
    for row, value in zip(rows, values, strict=True):
        scores = [(c["rewards"]["selector"], c["rewards"]["judge"]) for c in row["candidates"]]
        best = [judge for selector, judge in scores if selector == max(scores)[0]]
        wins = [(np.sign(one - other) + 1) / 2 for one in best for _, other in scores]
        assert value == pytest.approx(np.mean(wins))


def test_a_curve_is_the_mean_over_all_subsets_whatever_the_order_of_tied_candidates() -> None:
    dpo, sft = pool(2, shift=0.5), pool(3)
    curve = win_curves(dpo, sft, "judge")
    assert win_curves(shuffled(dpo), shuffled(sft), "judge") == pytest.approx(curve)
    row, opponents = dpo[0]["candidates"], sft[0]["candidates"]
    for n in range(1, 5):
        wins = []
        for subset in itertools.combinations(row, n):
            top = max(c["rewards"]["selector"] for c in subset)
            best = [c["rewards"]["judge"] for c in subset if c["rewards"]["selector"] == top]
            wins += [np.mean([(np.sign(score - other["rewards"]["judge"]) + 1) / 2
                              for score in best]) for other in opponents]
        assert curve[0, n - 1] == pytest.approx(np.mean(wins))


def test_rows_hold_the_bound_on_kl_and_count_prompts_that_were_left_out() -> None:
    dpo, sft = pool(2), pool(3)
    dpo[5]["candidates"][1]["rewards"]["judge"] = None
    rows = win_rate_rows({("sft", 0.6): sft, ("dpo", 0.6): dpo}, sft, ROLES)
    assert {row["n"]: row["kl_bound"] for row in rows} == {n: kl_bound(n) for n in range(1, 5)}
    left_out = {(row["policy"], row["judge"]): (row["left_out"], row["prompts"]) for row in rows}
    assert left_out["dpo", "judge"] == (1, PROMPTS - 1)
    assert left_out["dpo", "selector"] == (0, PROMPTS)


def test_a_pool_of_fewer_prompts_meets_the_opponents_of_the_same_prompts() -> None:
    dpo, sft = pool(2), pool(3)
    assert win_curves(dpo[5:9], sft, "judge").tolist() == win_curves(
        dpo, sft, "judge")[5:9].tolist()


def test_a_gain_is_in_the_judges_own_spread_and_zero_for_one_candidate() -> None:
    rows = pool(4, agreement=1.0)
    scaled = [{**row, "candidates": [
        {**c, "rewards": {"selector": c["rewards"]["selector"],
                          "judge": 100 * c["rewards"]["selector"] + 7}}
        for c in row["candidates"]]} for row in rows]
    gains = curves_by_judge(gain_rows({("sft", 0.6): scaled}, ROLES), "sft")
    values = [[row["value"] for row in gains[judge]] for judge in ("selector", "judge")]
    assert values[0] == pytest.approx(values[1])
    assert values[0][0] == pytest.approx(0)
    assert values[0] == sorted(values[0])
    flat = [{**row, "candidates": [row["candidates"][0]] * 4} for row in rows]
    assert gain_rows({("sft", 0.6): flat}, ROLES) == []
    single = [{**row, "candidates": row["candidates"][:1]} for row in rows]
    assert gain_rows({("sft", 0.6): single}, ROLES) == []  # one answer has no spread


def test_gains_are_those_by_hand_in_the_root_of_the_mean_unbiased_variance() -> None:
    rows = [{**row, "candidates": [
        {**c, "rewards": {"selector": place, "judge": step * place}}
        for place, c in enumerate(row["candidates"])]}
        for step, row in zip((1, 3), pool(4, 3)[:2], strict=True)]  # 0, 1, 2 and 0, 3, 6
    values = [row["value"] for row in gain_rows({("sft", 0.6): rows}, ["judge"])]
    above = np.array([0, 2 / 3, 1]) * (1 + 3) / 2  # the mean draw
    assert values == pytest.approx(above / math.sqrt((1 + 9) / 2))


@pytest.mark.parametrize("unscored", ROLES)
def test_a_prompt_with_one_unscored_answer_is_left_out_of_the_gains_and_counted(
        unscored: str) -> None:
    rows = pool(4)
    partly = [{**row, "candidates": [{**c, "rewards": c["rewards"] | {unscored: None}} if not place
                                     else c for place, c in enumerate(row["candidates"])]}
              for row in rows[:5]]
    whole, found = (gain_rows({("sft", 0.6): given}, ["judge"])
                    for given in (rows[5:], [*partly, *rows[5:]]))
    assert {row["left_out"] for row in found} == {5}
    assert [row["value"] for row in found] == [row["value"] for row in whole]


def test_rules_lie_between_random_and_best_and_agreement_breaks_ties() -> None:
    dpo, sft = pool(5, agreement=1.0), pool(6)
    rows = {row["rule"]: row for row in pool_rule_rows(dpo, sft, "selector")}
    values = [rows[name]["value"] for name in (
        "one at random", "soft best of n, lam = 2", "soft best of n, lam = 0.5", "best of n")]
    assert values == sorted(values)
    assert rows["one at random"]["value"] == pytest.approx(win_curves(
        dpo, sft, "selector").mean(0)[0])
    assert rows["best of n"]["lead"] == 0
    assert rows["one at random"]["lead"] == pytest.approx(values[0] - values[-1])
    same = {row["rule"]: row for row in pool_rule_rows(sft, sft, "selector")}
    assert same["one at random"]["value"] == pytest.approx(0.5)
    assert same["best of n"]["n"] == 3


def test_agreement_prefers_the_answer_that_resembles_the_others() -> None:
    texts = ("a river in France", "a river in France ends", "my bus", "a river")
    scores = ((1.0, 0.0), (1.1, 1.0), (1.3, 0.0), (1.0, 0.0))
    row = {"id": "p", "candidates": [{"text": text, "rewards": {"selector": a, "judge": b}}
                                     for text, (a, b) in zip(texts, scores, strict=True)]}
    rival = {"id": "p", "candidates": [{"text": "x", "rewards": {"selector": 0.5, "judge": 0.5}}]}
    rates = {found["rule"]: found["value"] for found in pool_rule_rows([row], [rival], "judge")}
    assert rates["best of n"] == 0
    assert rates["MBR best of n, beta = 8"] == 1


def test_costs_are_a_prompts_and_what_was_not_measured_is_null() -> None:
    pools = {("sft", 0.6): pool(7), ("dpo", 0.6): pool(8, shift=1.0)}
    opponents = pools["sft", 0.6]
    costs = [{"policy": policy, "temperature": 0.6, "prompts": PROMPTS, "candidates": 4,
              "tokens": 46 * PROMPTS, "sampling_seconds": seconds, "scoring_seconds": 20.0}
             for policy, seconds in (("sft", None), ("dpo", 80.0))]
    sft, dpo = cost_rows(pools, opponents, costs)
    assert (sft["tokens"], sft["sampling_seconds"], sft["scoring_seconds"]) == (46, None, 0.5)
    assert (dpo["sampling_seconds"], dpo["n"], sft["n"]) == (2.0, 4, 3)
    wins = win_curves(pools["dpo", 0.6], opponents, "judge").mean(0)
    assert dpo["gain"] == pytest.approx(wins[3] - wins[0])
    assert dpo["ci_low"] <= dpo["gain"] <= dpo["ci_high"]
    assert "46 new tokens a prompt gain" in best_of_n_findings([], costs=[sft, dpo])


def test_candidates_with_the_opponents_text_tie_whatever_their_scores_say() -> None:
    def row(*candidates: tuple[str, float]) -> Row:
        return {"id": "p", "candidates": [
            {"text": text, "rewards": {"selector": score, "judge": score}}
            for text, score in candidates]}
    ours, theirs = row(("the same", 2.0), ("other", 1.0)), row(("the same ", 5.0))
    assert win_curves([ours], [theirs], "judge").tolist() == [[0.25, 0.5]]
    rates = {found["rule"]: found["value"] for found in pool_rule_rows([ours], [theirs], "judge")}
    assert rates["best of n"] == 0.5


def test_figures_say_in_their_titles_what_the_rows_say() -> None:
    sft = pool(11)
    pools = {("dpo", heat): pool(12 + place, shift=1 - heat)
             for place, heat in enumerate((0.1, 1.0))}
    gains = curves_by_judge(gain_rows(pools, ROLES), "dpo")
    title = gains_figure(gains).layout.title.text
    ends = [gains[judge][-1]["value"] for judge in ("selector", "judge")]
    assert f"gains {ends[0]:.2f} by its own selector and {ends[1]:.2f} by" in title.replace(
        "<br>", " ")
    rows = win_rate_rows(pools, sft, ROLES)
    figure = surface_figure(rows)
    best = max((row for row in rows if row["judge"] == "judge"), key=lambda row: row["value"])
    assert f"({best['value']:.0%}) with the best of {best['n']} at" in figure.layout.title.text
    assert np.shape(figure.data[0].z) == (2, 4)
    fewer = [row | {"prompts": 9} if row["temperature"] == 1.0 else row for row in rows]
    assert "n = 9 to 40 prompts" in surface_figure(fewer).layout.title.subtitle.text
    assert gains_figure({"selector": [], "judge": []}).layout.title.text.startswith("No pool")


def test_the_bound_on_kl_is_zero_for_one_and_grows_like_the_logarithm() -> None:
    assert kl_bound([1, 4, 64]) == pytest.approx([0, math.log(4) - 3 / 4, math.log(64) - 63 / 64])
