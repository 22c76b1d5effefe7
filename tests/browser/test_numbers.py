"""What the page counts is what the report counts; its word diff is difflib's."""

import random
import re
from collections.abc import Callable
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest

from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.statistics.agreement import agreement
from lib.analysis.statistics.intervals import score_interval
from lib.viewers.page import write_page
from tests.viewers.viewer_rows import HOSTILE, candidate, response, small_systems

pytestmark = pytest.mark.browser
WORDS = ["the", "cat", "sat", "on", "a", "mat", ",", "."]


@pytest.fixture
def page(tmp_path: Path, open_file: Callable) -> object:
    path = write_page(small_systems(), tmp_path / "compare.html", judges=["judge"])
    return open_file(path, "#a=sft&b=dpo").page


def test_who_won_is_told_by_the_rule_of_the_report(tmp_path: Path, open_file: Callable) -> None:
    answers = [  # (a, b): equal texts, unequal scores; scores a hair apart; both; one is missing
        (candidate("Same text.", judge=2.0), candidate(" Same text.\n", judge=1.0)),
        (candidate("One.", judge=1.0), candidate("Two.", judge=1.0 + 1e-10)),
        (candidate("One.", judge=1.0), candidate("Two.", judge=1.0)),
        (candidate("One.", judge=None), candidate("Two.", judge=1.0)),
        (candidate("Same.", judge=None), candidate("Same.", judge=1.0)),
        (candidate("Better.", judge=3.0), candidate("Worse.", judge=-1.0)),
    ]
    systems = {name: [response(f"p{place}", [pair[side]]) for place, pair in enumerate(answers)]
               for side, name in enumerate(("sft", "dpo"))}
    unpicked = [candidate("Same.", judge=None), candidate("Other.", judge=None)]
    systems["sft"].append(response("p6", unpicked))
    systems["dpo"].append(response("p6", [candidate("Same.", judge=1.0)]))
    outcomes = scoreboard(systems, ["judge"]).outcomes("judge", "sft", "dpo")
    page = open_file(write_page(systems, tmp_path / "compare.html", judges=["judge"]),
                     "#a=sft&b=dpo").page
    winners = page.evaluate("""async () => {
        const data = readCollection(document.getElementById('data').textContent);
        return pairsOf(data, 'sft', 'dpo').map((pair) => winnerOf(pair, 'judge'));
    }""")
    values = {"a": 1.0, "tie": 0.5, "b": 0.0, None: np.nan}
    np.testing.assert_array_equal([values[winner] for winner in winners], outcomes)
    assert winners == ["tie", "b", "tie", None, "tie", "a", None]
    rate = np.nanmean(outcomes)
    assert f"draws {rate:.3f}" in page.locator("#slice").inner_text()


def test_the_headline_names_the_winners_side(page: object) -> None:
    low, high = score_interval(3, 1, 0)
    expected = f"sft wins 0.875 [{low:.3f}, {high:.3f}] against dpo by judge"
    assert expected in page.locator("#slice").inner_text()
    page.locator("#swap").click()
    assert expected in page.locator("#slice").inner_text()
    assert "left wins 0, right 3, 1 tie" in page.locator("#slice").inner_text()


def test_the_interval_is_the_reports_with_and_without_ties(page: object) -> None:
    counts = [(3, 1, 0), (0, 0, 5), (5, 0, 0), (0, 4, 0), (1, 0, 0), (45, 12, 7), (0, 0, 1)]
    counts += [(wins, 20 - wins, wins // 2) for wins in range(0, 21, 4)]
    found = page.evaluate("(counts) => counts.map((c) => winRate(...c))", counts)
    for (wins, ties, losses), rate in zip(counts, found, strict=True):
        low, high = score_interval(wins, ties, losses)
        assert rate["low"] == pytest.approx(float(low), abs=1e-9)
        assert rate["high"] == pytest.approx(float(high), abs=1e-9)


def test_agreement_and_kappa_are_the_reports(page: object) -> None:
    draw = random.Random(0)
    one, other = (draw.choices(["a", "b", "tie"], k=40) for _ in range(2))
    found = page.evaluate("""([one, other]) => agreementWith(
        one.map((winner, id) => [id, winner]), (id) => other[id])""", [one, other])
    expected = agreement(one, other)
    assert (found["n"], found["same"]) == (40, pytest.approx(expected["agreement"]))
    assert found["kappa"] == pytest.approx(expected["kappa"])


@pytest.mark.parametrize(("name", "expected"), [
    ("everything", "01234"), ("largest gap", "31024"), ("judge and selector disagree", "0"),
    ("won but shorter", "31"), ("identical", "2"), ("hit the limit", "3"), ("longest loop", "3")])
def test_each_preset_finds_its_pairs(name: str, expected: str, page: object) -> None:
    page.locator(".preset", has_text=re.compile(f"^{name} ")).click()
    assert page.locator(".preset[aria-pressed=true]").inner_text() == f"{name} {len(expected)}"
    page.keyboard.press("l")
    prompts = page.locator("#view tbody button").all_inner_texts()
    assert prompts == [f"Question p{place}?" for place in expected]


@pytest.mark.parametrize(("hash", "expected"), [
    ("search=GREEN", "0"), ("search=p3", "3"), ('sources=["coding"]', "13"), ("winner=a", "013"),
    ("winner=tie", "2"), ("gap=[0.5,2]", "01"), ("tokens=[9,64]", "13"),
    ("score=selector&winner=b", "0"), ('sources=["coding"]&tokens=[0,10]', "1")])
def test_each_filter_narrows(hash: str, expected: str, tmp_path: Path, open_file: Callable) -> None:
    path = write_page(small_systems(), tmp_path / "compare.html", judges=["judge"])
    page = open_file(path, f"#a=sft&b=dpo&mode=list&{hash}").page
    prompts = page.locator("#view tbody button").all_inner_texts()
    assert prompts == [f"Question p{place}?" for place in expected]


def test_counts_of_presets_and_bars_follow_the_search(page: object) -> None:
    page.locator("#search").fill("green")
    counts = {button.evaluate("(one) => one.firstChild.textContent"): button.locator(
        "small").inner_text().strip() for button in page.locator(".preset").all()}
    assert (counts["everything"], counts["largest gap"], counts["identical"]) == ("5", "1", "0")
    bars = [bar.get_attribute("aria-label") for bar in page.locator("#histogram button").all()]
    assert sum(int(re.search(r"(\d+) prompt", bar)[1]) for bar in bars) == 1
    page.locator(".preset", has_text="largest gap").click()
    assert page.locator("#count").inner_text() == "1 of 5 prompts"
    page.locator(".preset", has_text="everything").click()
    assert page.locator("#search").input_value() == ""


def test_every_gap_falls_into_exactly_one_bar_and_ties_into_the_middle_one(page: object) -> None:
    found = page.evaluate("""() => {
        const data = readCollection(document.getElementById('data').textContent);
        const pairs = pairsOf(data, 'sft', 'dpo');
        const bars = histogramOf(pairs, pairs, 'judge');
        const wanted = { ...startingState(data), score: 'judge' };
        return bars.map(({ low, high, count }) =>
            [count, selectPairs(pairs, { ...wanted, gap: [low, high] }, data).length]);
    }""")
    assert all(count == selected for count, selected in found)
    assert sum(count for count, _ in found) == 4  # p4 has no score
    assert found[5][0] == 1


def test_the_share_of_common_words_is_difflibs_and_unmarked_words_are_common(page: object) -> None:
    draw = random.Random(0)
    texts = [[" ".join(draw.choices(WORDS, k=draw.randrange(30))) for _ in range(2)]
             for _ in range(200)]
    found = page.evaluate("(texts) => texts.map(([a, b]) => wordDiff(a, b))", texts)
    for (a, b), diff in zip(texts, found, strict=True):
        one, other = a.split(), b.split()
        share = SequenceMatcher(None, one, other, autojunk=False).ratio() if one or other else 0
        assert diff["share"] == pytest.approx(share)
        if diff["kind"] == "changed":
            assert unmarked(a, diff["a"]) == unmarked(b, diff["b"])


def unmarked(text: str, ranges: list[list[int]]) -> list[str]:
    return [match.group() for match in re.finditer(r"\S+", text)
            if not any(start <= match.start() < end for start, end in ranges)]


@pytest.mark.parametrize(("a", "b", "kind", "marked"), [
    ("The cat sat on the mat.", "The dog sat on the big mat.", "changed",
     (["cat"], ["dog", "big"])),
    ("Yes, it is.", "Yes it is!", "changed", ([",", "."], ["!"])),
    ("Same words.", "Same words.", "changed", ([], [])),
    ("我喜欢红茶", "我喜欢绿茶", "changed", (["红"], ["绿"])),
    ("1. 2. Add a mold.", "1. The user puts it in. 2. It prints.", "shared", ([], [])),
    ("Ice floats because it is less dense than water, and ships float as well.",
     "Nobody has ever seen it: rain comes from clouds that are not less dense than water at all.",
     "shared", (["less dense than water"],) * 2),
    ("again and " * 10_000, "again and " * 9_000, "too long", ([], [])),
])
def test_words_that_help_a_reader_are_marked(
    a: str, b: str, kind: str, marked: tuple[list[str], list[str]], page: object
) -> None:
    diff = page.evaluate("([a, b]) => wordDiff(a, b)", [a, b])
    assert diff["kind"] == kind
    found = tuple([text[start:end] for start, end in diff[side]]
                  for text, side in ((a, "a"), (b, "b")))
    assert found == marked


@pytest.mark.parametrize("name", [name for name in HOSTILE if HOSTILE[name].strip()])
def test_the_pieces_of_a_marked_text_are_the_text(name: str, page: object) -> None:
    text = HOSTILE[name].replace("\ud83d", "")
    found = page.evaluate("""(text) => {
        const box = document.createElement('div');
        box.append(...drawText(text, [[1, 3], [5, 9000]], 'changed', 'a'));
        box.querySelectorAll('details').forEach((one) => { one.open = true; });
        return new Promise((done) => setTimeout(() => {
            box.querySelectorAll('summary').forEach((one) => one.remove());
            done([box.textContent, box.querySelectorAll('mark').length]);
        }));
    }""", text)
    assert found[0] == text
    assert found[1] <= 500 + 2


def test_order_and_sides_are_drawn_from_the_seed_alone(page: object) -> None:
    ids = [f"prompt-{number}" for number in range(200)]
    draws, orders, lefts, few = page.evaluate("""(ids) => [
        [drawOf(''), drawOf('a')],
        [0, 1].map((seed) => shuffled(ids, seed)),
        [['sft', 'dpo', 3], ['dpo', 'sft', 3], ['sft', 'dpo', 4]].map(([a, b, seed]) =>
            ids.map((id) => sidesOf(a, b, id, seed)[0])),
        shuffled(ids.slice(0, 50), 0),
    ]""", ids)
    assert draws == [finalised(0x811C9DC5), finalised(0xE40C292C)]  # FNV's vectors of "" and "a"
    assert sorted(orders[0]) == sorted(ids)
    assert orders[0] != orders[1]
    assert few == [id for id in orders[0] if id in ids[:50]]  # others leaving changes nothing
    assert lefts[0] == lefts[1] != lefts[2]
    assert 70 < lefts[0].count("sft") < 130


def finalised(state: int) -> int:
    state = (state ^ state >> 16) * 0x85EBCA6B % 2**32
    state = (state ^ state >> 13) * 0xC2B2AE35 % 2**32
    return state ^ state >> 16
