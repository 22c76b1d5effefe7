"""All pairs of candidates: by hand, against every draw there is, and what must be left out."""

import itertools
import json
from collections.abc import Callable

import numpy as np
import pytest

from lib.analysis.comparisons.all_pairs import (
    contrasts,
    rate_systems,
    win_rate_matrix,
    win_rates,
    win_rates_by_source,
)
from lib.analysis.comparisons.candidates import CandidateBoard, Pools, candidate_board
from lib.analysis.comparisons.seeds import win_rates_over_seeds
from lib.analysis.tables import resolution_table, sources_table
from lib.analysis.tables.formatting import conclusion
from lib.analysis.texts.variety import word_similarity
from lib.inference.best_of_n import best_of_n, kl_best_of_n, mbr_best_of_n, soft_best_of_n
from lib.inference.systems import System
from lib.runtime.files import Row
from tests.analysis.analysis_rows import compare, system

BEST = {"sft": "sft+bon2@0.6", "dpo": "dpo+bon2@0.6"}
KINDS = [("dpo", "sft"), (BEST["dpo"], "sft"), (BEST["dpo"], BEST["sft"]), (BEST["dpo"], "dpo"),
         ("dpo", BEST["dpo"])]


def pool(name: str, scores: list[list[tuple[float | None, float | None]]]) -> list[Row]:
    """Rows of one pool; scores are (selector, judge) of each candidate, texts are all different."""
    return [{"id": f"p{prompt}", "prompt": "?", "source": "advice" if prompt % 2 else "coding",
             "candidates": [{"text": f"{name} {prompt} {place}", "tokens": 3 + place,
                             "finish": "stop", "rewards": {"selector": selector, "judge": judge}}
                            for place, (selector, judge) in enumerate(candidates)]}
            for prompt, candidates in enumerate(scores)]


def drawn(seed: int, prompts: int = 6, size: int = 4, shift: float = 0.0) -> list[list[tuple]]:
    """Scores rounded so that ties occur."""
    random = np.random.default_rng(seed)
    return [[tuple(map(float, pair)) for pair in np.round(random.normal(shift, 1, (size, 2)))]
            for _ in range(prompts)]


def board_of(pools: Pools) -> CandidateBoard:
    return candidate_board(pools, ["judge", "selector"], main=0.6)


@pytest.fixture
def board() -> CandidateBoard:
    return board_of({("sft", 0.6): pool("sft", drawn(1)),
                     ("dpo", 0.6): pool("dpo", drawn(2, shift=0.5))})


def every_draw(name: str, row: Row, without: int | None = None) -> list[int]:
    """The answer of a system for every draw that it may make, ties of the selector shared."""
    places = [k for k in range(len(row["candidates"])) if k != without]
    if "bon" not in name:
        return places
    scores = [candidate["rewards"]["selector"] for candidate in row["candidates"]]
    return [order[best_of_n([scores[k] for k in order])]
            for order in itertools.permutations(places, 2)]  # the first of equals: shared by order


def beats(a: Row, b: Row, judge: str) -> float:
    if a["text"].strip() == b["text"].strip():
        return 0.5
    return (np.sign(a["rewards"][judge] - b["rewards"][judge]) + 1) / 2


@pytest.mark.parametrize(("a", "b"), KINDS)
def test_the_rate_is_the_mean_over_every_draw_that_the_two_systems_can_make(
        board: CandidateBoard, a: str, b: str) -> None:
    rows = {"sft": pool("sft", drawn(1)), "dpo": pool("dpo", drawn(2, shift=0.5))}
    own = a[:3] == b[:3]
    for prompt, value in enumerate(board.matches("judge", a, b).values):
        first, second = rows[a[:3]][prompt], rows[b[:3]][prompt]
        found = []
        for single in range(4):
            if own:
                best = [first["candidates"][k] for k in every_draw(BEST["dpo"], first, single)]
                wins = [beats(one, first["candidates"][single], "judge") for one in best]
                found += wins if a == BEST["dpo"] else [1 - win for win in wins]
        if not own:
            found = [beats(first["candidates"][k], second["candidates"][m], "judge")
                     for k in every_draw(a, first) for m in every_draw(b, second)]
        assert value == pytest.approx(np.mean(found))


RULES = ["dpo+softbon2@0.6", "dpo+softbon3_lam2@0.6", "dpo+mbr3@0.6", "dpo+mbr2_beta8@0.6",
         "dpo+klbon3_beta0.1@0.6", "dpo+klbon2@0.6"]


def worded(rows: list[Row], seed: int) -> list[Row]:
    """The rows with texts that are more or less alike, log-probabilities, and no equal scores."""
    random = np.random.default_rng(seed)
    return [{**row, "candidates": [
        {**one, "text": " ".join(random.choice(list("abcde"), 6)) + f" {row['id']} {place}",
         "rewards": one["rewards"] | {"selector": one["rewards"]["selector"] + random.random() / 9},
         "logprob": float(random.normal(-40, 20))}
        for place, one in enumerate(row["candidates"])]} for row in rows]


def by_hand(name: str, candidates: list[Row]) -> np.ndarray:
    """A rule's chance of each of its n candidates, by the formulas of `lib.inference.best_of_n`."""
    rule = System.parse(name)
    scores = np.array([one["rewards"]["selector"] for one in candidates])
    scores = (scores - scores.mean()) / (scores.std() or 1)
    if rule.rule == "softbon":
        return soft_best_of_n(scores, rule.coefficient)
    if rule.rule == "mbr":
        best = mbr_best_of_n(scores, word_similarity([one["text"] for one in candidates]),
                             rule.coefficient)
    else:
        best = kl_best_of_n(scores, [one["logprob"] for one in candidates], rule.coefficient)
    return np.eye(len(candidates))[best]


def expected(name: str, pool_row: Row, places: list[int],
             value: Callable[[Row], float]) -> float:
    """Mean of value(pick) over every draw of the system from these places."""
    found = []
    for draw in itertools.combinations(places, System.parse(name).n):
        drawn = [pool_row["candidates"][k] for k in draw]
        found.append(by_hand(name, drawn) @ [value(one) for one in drawn])
    return float(np.mean(found))


@pytest.mark.parametrize("name", RULES)
def test_any_rule_is_averaged_over_every_draw_that_it_can_make(name: str) -> None:
    own, other = worded(pool("dpo", drawn(2, size=5)), 1), worded(pool("sft", drawn(1)), 2)
    board = board_of({("dpo", 0.6): own, ("sft", 0.6): other})
    against_sft, against_own = (board.matches("judge", name, rival).values
                                for rival in ("sft", "dpo"))
    for prompt, (row, rivals) in enumerate(zip(own, other, strict=True)):
        assert against_sft[prompt] == pytest.approx(np.mean([
            expected(name, row, list(range(5)), lambda one, rival=rival: beats(
                one, rival, "judge")) for rival in rivals["candidates"]]))
        assert against_own[prompt] == pytest.approx(np.mean([
            expected(name, row, [k for k in range(5) if k != place],
                     lambda one, rival=rival: beats(one, rival, "judge"))
            for place, rival in enumerate(row["candidates"])]))
    assert 1 - board.matches("judge", "sft", name).values == pytest.approx(against_sft)
    assert 1 - board.matches("judge", "dpo", name).values == pytest.approx(against_own)
    assert board.matches("judge", name, "sft").draws_error == 0


def test_two_rules_on_one_pool_pick_from_the_same_draw() -> None:
    own = worded(pool("dpo", [[(float(k), float(-k)) for k in range(4)]] * 3), 1)
    board = board_of({("dpo", 0.6): own})
    found = board.matches("judge", "dpo+softbon4@0.6", "dpo+bon4@0.6")
    soft = [by_hand("dpo+softbon4@0.6", row["candidates"]) for row in own]
    assert found.values == pytest.approx([1 - chance[3] / 2 for chance in soft])  # the best loses
    same = board.matches("judge", "dpo+mbr3_beta0@0.6", "dpo+bon3@0.6")
    assert same.values == pytest.approx(0.5)
    assert np.nansum(same.weights, (1, 2)) == pytest.approx(1)
    for a, b, reason in (("mbr3", "mbr3", "alike"), ("mbr3", "bon2", "no common draw"),
                         ("bon3", "bon2", "alike")):
        with pytest.raises(ValueError, match=reason):
            board.matches("judge", f"dpo+{a}@0.6", f"dpo+{b}@0.6")


def test_a_rule_leaves_out_what_it_cannot_read_and_counts_it() -> None:
    own = worded(pool("dpo", drawn(2)), 1)
    own[0]["candidates"][1]["logprob"] = None
    own[1]["candidates"] = own[1]["candidates"][:1]
    board = board_of({("dpo", 0.6): own, ("sft", 0.6): worded(pool("sft", drawn(1)), 2)})
    found = board.matches("judge", "dpo+klbon2@0.6", "sft")
    assert found.left_out == 1
    assert found.weights[0, 1].tolist() == [0] * 4
    assert np.isnan(found.values).tolist() == [False, True, *[False] * 4]
    assert board.matches("judge", "dpo+mbr2@0.6", "sft").left_out == 0
    silent = board_of({("dpo", 0.6): pool("dpo", drawn(2)), ("sft", 0.6): pool("sft", drawn(1))})
    with pytest.raises(ValueError, match="klbon2@0.6 reads the log-probabilities of answers, and"):
        silent.matches("judge", "dpo+klbon2@0.6", "sft")


def test_more_draws_than_can_be_listed_are_sampled_and_their_error_is_told() -> None:
    own = worded(pool("dpo", drawn(2, prompts=2, size=24)), 1)
    board = board_of({("dpo", 0.6): own, ("sft", 0.6): pool("sft", drawn(1, prompts=2))})
    found = board.matches("judge", "dpo+mbr4_beta0@0.6", "sft")
    exact = board.matches("judge", "dpo+bon4@0.6", "sft")
    assert exact.draws_error == 0 < found.draws_error < 0.01
    assert np.abs(found.values - exact.values).max() < 4 * 0.5 / np.sqrt(5_000)
    assert found.values.mean() == pytest.approx(exact.values.mean(), abs=4 * found.draws_error)
    own_pool = board.matches("judge", "dpo+mbr4_beta0@0.6", "dpo").values
    assert own_pool == pytest.approx(board.matches("judge", "dpo+bon4@0.6", "dpo").values, abs=0.03)


def test_one_candidate_each_gives_the_rate_of_single_draws() -> None:
    a, b = system([3, 2, 2, 5, 1], "dpo"), system([1, 2, 3, 4, 0], "sft")
    [row] = win_rates(candidate_board({("dpo", 0.6): a, ("sft", 0.6): b}, ["judge"], 0.6),
                      [("dpo", "sft")])
    single = compare(a, b, "judge", "dpo", "sft")
    assert row["win_rate"] == pytest.approx(single["win_rate"])
    assert [row[key] * 5 for key in ("wins", "ties", "losses")] == pytest.approx(
        [single[key] for key in ("wins", "ties", "losses")])
    assert row["length_controlled"] == pytest.approx(single["length_controlled"])


def test_a_row_says_how_many_candidates_each_system_has() -> None:
    board = board_of({("sft", 0.6): pool("sft", drawn(1)), ("dpo", 0.6): pool(
        "dpo", drawn(2, size=5))})
    [row] = win_rates(board, [("dpo", "sft")])[:1]
    assert (row["candidates_a"], row["candidates_b"]) == (5, 4)


def test_a_row_is_plain_json_and_mirrored_rows_sum_to_one(board: CandidateBoard) -> None:
    rows = win_rates(board, [(BEST["dpo"], "sft"), ("sft", BEST["dpo"])])
    json.dumps(rows, allow_nan=False)
    for row, mirror in (rows[:2], rows[2:]):
        assert row["win_rate"] + mirror["win_rate"] == pytest.approx(1)
        assert row["ci_low"] + mirror["ci_high"] == pytest.approx(1)
        assert row["p_value"] == pytest.approx(mirror["p_value"])
        assert (row["candidates_a"], row["candidates_b"], row["n"], row["missing"]) == (4, 4, 6, 0)
        assert row["wins"] + row["ties"] + row["losses"] == pytest.approx(1)
        assert row["wins"] + row["ties"] / 2 == pytest.approx(row["win_rate"])
        assert row["mean_tokens_b"] == pytest.approx(4.5)


def test_equal_texts_tie_whatever_their_scores() -> None:
    same = pool("x", [[(1.0, 5.0), (0.0, 1.0)]] * 3)
    found = board_of({("sft", 0.6): same, ("dpo", 0.6): same}).matches("judge", "dpo", "sft")
    assert found.outcomes[0].tolist() == [[0.5, 1], [0, 0.5]]


def test_what_the_selector_says_of_its_own_pool_is_counting_and_no_test() -> None:
    distinct = [[(float(k), 0.0) for k in np.random.default_rng(prompt).permutation(4)]
                for prompt in range(5)]
    board = board_of({("sft", 0.6): pool("sft", drawn(1, 5)), ("dpo", 0.6): pool("dpo", distinct)})
    rows = {(row["a"], row["b"]): row for row in win_rates(board, KINDS[:4])
            if row["judge"] == "selector"}
    row = rows[BEST["dpo"], "dpo"]
    assert row["win_rate"] == pytest.approx(2 / 3)
    assert (row["ci_low"], row["p_value"], row["holm_p"], row["smallest_effect"]) == (None,) * 4
    assert conclusion(row) == "nothing: it follows from counting"
    others = [row for pair, row in rows.items() if pair != (BEST["dpo"], "dpo")]
    smallest = min(row["p_value"] for row in others)
    assert min(row["holm_p"] for row in others) == pytest.approx(min(1, 3 * smallest))


def test_a_candidate_without_a_score_is_left_out_of_the_draw_and_counted() -> None:
    scores = drawn(3)
    holes = [[(None, judge) if (prompt, place) == (0, 1) else (selector, judge)
              for place, (selector, judge) in enumerate(line)]
             for prompt, line in enumerate(scores)]
    board = board_of({("sft", 0.6): pool("sft", drawn(1)), ("dpo", 0.6): pool("dpo", holes)})
    matches = board.matches("judge", BEST["dpo"], "sft")
    assert matches.weights[0, 1].tolist() == [0] * 4
    assert matches.weights[0].sum() == pytest.approx(1)
    rows = {(row["a"], row["judge"]): row for row in win_rates(board, [
        (BEST["dpo"], "sft"), ("dpo", "sft")])}
    assert rows[BEST["dpo"], "judge"]["left_out"] == 1
    assert rows["dpo", "judge"]["left_out"] == 0  # a single answer needs no score of the selector
    assert rows["dpo", "selector"]["left_out"] == 1


def test_a_prompt_with_too_few_scored_candidates_is_missing() -> None:
    holes = drawn(3)
    holes[2] = [(1.0, 1.0), (None, 1.0), (None, 2.0), (2.0, None)]  # one is left to pick from
    board = board_of({("sft", 0.6): pool("sft", drawn(1)), ("dpo", 0.6): pool("dpo", holes)})
    rows = {row["a"]: row for row in win_rates(board, [(BEST["dpo"], "sft"), ("dpo", "sft")])
            if row["judge"] == "judge"}
    assert (rows[BEST["dpo"]]["n"], rows[BEST["dpo"]]["missing"]) == (5, 1)
    assert (rows["dpo"]["n"], rows["dpo"]["missing"], rows["dpo"]["left_out"]) == (6, 0, 1)
    nothing = pool("dpo", [[(None, None)] * 4] * 6)
    empty = board_of({("sft", 0.6): pool("sft", drawn(1)), ("dpo", 0.6): nothing})
    (row,) = [row for row in win_rates(empty, [("dpo", "sft")]) if row["judge"] == "judge"]
    assert (row["n"], row["missing"], row["left_out"]) == (0, 6, 24)
    assert {row[key] for key in ("win_rate", "ci_low", "wins", "p_value", "holm_p")} == {None}
    (row,) = [row for row in contrasts(empty, [("dpo", BEST["dpo"], "sft")])
              if row["judge"] == "judge"]
    assert (row["n"], row["difference"], row["holm_p"]) == (0, None, None)
    assert win_rates_by_source(empty, [("dpo", "sft")]) == []
    assert rate_systems(empty, ["sft", "dpo"], "judge").systems == ()


def test_the_best_of_as_many_as_there_are_has_no_other_answer_to_meet() -> None:
    board = board_of({("dpo", 0.6): pool("dpo", drawn(2, size=2))})
    with pytest.raises(ValueError, match="on no prompt; sample more candidates"):
        board.matches("judge", BEST["dpo"], "dpo")


def test_two_draws_of_one_kind_from_one_pool_are_no_comparison(board: CandidateBoard) -> None:
    with pytest.raises(ValueError, match="draw from one pool alike, so neither can win"):
        board.matches("judge", "dpo+random2@0.6", "dpo")
    with pytest.raises(ValueError, match="dpo@0.6 has no candidates|has no candidates; there are"):
        board.matches("judge", "dpo+bon2@1", "sft")


def test_pools_of_some_prompts_are_compared_on_those() -> None:
    fewer = pool("hot", drawn(4))[1:4]
    board = board_of({("sft", 0.6): pool("sft", drawn(1)), ("dpo", 0.6): pool("dpo", drawn(2)),
                      ("dpo", 1.0): fewer})
    row = win_rates(board, [("dpo+bon2@1", "sft")])[0]
    assert (row["n"], row["missing"]) == (3, 0)
    assert {row["n"] for row in win_rate_matrix(board, ["sft", "dpo", "dpo+bon2@1"])} == {3, 6}
    [lead, _] = contrasts(board, [(BEST["dpo"], "dpo+bon2@1", "sft")])
    assert lead["n"] == 3


def test_a_contrast_is_the_difference_prompt_by_prompt(board: CandidateBoard) -> None:
    row = contrasts(board, [(BEST["dpo"], "dpo", "sft"), ("dpo", BEST["dpo"], "sft")])[0]
    first, second = (board.matches("judge", name, "sft").values for name in (BEST["dpo"], "dpo"))
    assert row["difference"] == pytest.approx((first - second).mean())
    reach = 2.571 * (first - second).std(ddof=1) / np.sqrt(6)
    assert row["ci_high"] == pytest.approx(row["difference"] + reach, abs=1e-3)
    assert row["holm_p"] == pytest.approx(min(1, 2 * row["p_value"]))


def test_ratings_follow_the_matrix(board: CandidateBoard) -> None:
    systems = ["sft", "dpo", BEST["dpo"]]
    found = rate_systems(board, systems, "judge")
    scores = {name: sum(row["win_rate"] if name == row["a"] else 1 - row["win_rate"]
                        for row in win_rate_matrix(board, systems)
                        if row["judge"] == "judge" and name in (row["a"], row["b"]))
              for name in systems}
    strengths = dict(zip(systems, found.strengths, strict=True))
    assert sorted(systems, key=strengths.get) == sorted(systems, key=scores.get)


def test_sources_split_the_prompts(board: CandidateBoard) -> None:
    rows = win_rates_by_source(board, [("dpo", "sft")])
    assert [(row["source"], row["n"]) for row in rows[:2]] == [("coding", 3), ("advice", 3)]
    assert "advice" in sources_table(rows, "dpo", "sft")


def test_all_pairs_vary_less_than_single_draws() -> None:
    random = np.random.default_rng(0)
    singles, averages = [], []
    for _ in range(60):
        scores = random.normal(size=(2, 40, 8, 2))
        pools = {name: pool(name, [[tuple(map(float, pair)) for pair in line] for line in part])
                 for name, part in zip(("sft", "dpo"), scores, strict=True)}
        board = candidate_board({(name, 0.6): rows for name, rows in pools.items()}, ["judge"], 0.6)
        averages.append(board.matches("judge", "dpo", "sft").values.mean())
        singles.append(np.mean([beats(a["candidates"][0], b["candidates"][0], "judge")
                                for a, b in zip(pools["dpo"], pools["sft"], strict=True)]))
    assert np.var(singles) > 2 * np.var(averages)  # 5.3 times as large; the ratio's error is 1.3


def test_several_seeds_give_each_seeds_rate_and_their_spread() -> None:
    boards = [candidate_board({("sft", 0.6): system([1, 1, 1, 1]), ("dpo", 0.6): system(
        scores, "b")}, ["judge"], 0.6) for scores in ([2, 2, 0, 0], [2, 2, 2, 0], [2, 2, 2, None])]
    [row] = win_rates_over_seeds(boards, [("dpo", "sft")])
    assert (row["n"], row["missing"]) == (3, 1)
    assert row["per_seed"] == pytest.approx([2 / 3, 1, 1])
    assert row["low"] <= row["mean"] <= row["high"]
    json.dumps(row, allow_nan=False)
    other = candidate_board({("sft", 0.6): system([1] * 5), ("dpo", 0.6): system([2] * 5, "b")},
                            ["judge"], 0.6)
    with pytest.raises(ValueError, match="runs 0 and 1 answered different prompts, such as p4"):
        win_rates_over_seeds([boards[0], other], [("dpo", "sft")])
    with pytest.raises(ValueError, match="no run was given"):
        win_rates_over_seeds([], [("dpo", "sft")])


def test_a_table_says_what_the_prompts_can_tell(board: CandidateBoard) -> None:
    table = resolution_table(win_rates(board, KINDS[:4]))
    assert "| dpo over sft | judge | 6 | 4 and 4 |" in table
