"""The page and the panels are two shells of one renderer: they draw, count and shuffle the same."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.analysis.statistics.intervals import score_interval
from lib.viewers import render
from lib.viewers.blind import shuffled, sides
from lib.viewers.diff import word_diff
from lib.viewers.filters import PRESETS, histogram, preset, select, summary
from lib.viewers.page import write_page
from lib.viewers.rows import Collection, join, pairs
from tests.viewers.viewer_rows import HOSTILE, hostile_systems, small_systems

pytestmark = pytest.mark.browser
WORDS = ["the", "cat", "sat", "on", "a", "mat", ",", "."]


@pytest.fixture
def collection() -> Collection:
    return join(small_systems(), judges=["judge"])


@pytest.fixture
def page(collection: Collection, tmp_path: Path, open_file: Callable) -> object:
    path = write_page(collection, tmp_path / "compare.html")
    return open_file(path, "#a=sft&b=dpo").page


def drawn(page: object, html: str) -> str:
    """HTML of the renderer as the browser writes it, its white space between elements removed."""
    return page.evaluate("""(html) => {
        const parsed = new DOMParser().parseFromString(html, 'text/html');
        return parsed.querySelector('.viewer').innerHTML;
    }""", html)


def bare(html: str) -> str:
    """Without white space between elements and with numbers at one digit."""
    html = re.sub(r"\s+(?=<)|(?<=>)\s+", "", html)
    html = re.sub(r'(class="tag) "', r'\1"', html).replace('-0"', '0"')
    return re.sub(r'"(-?\d+\.?\d*)"', lambda match: f'"{float(match[1]):.0f}"', html)


@pytest.mark.parametrize("place", range(5))
def test_a_comparison_has_the_same_elements_in_page_and_panel(
    place: int, page: object, collection: Collection
) -> None:
    for _ in range(place):
        page.keyboard.press("j")
    pair = pairs(collection, "sft", "dpo")[place]
    expected = drawn(page, render.comparison(pair, ("sft", "dpo"), collection))
    assert bare(page.locator("#view").inner_html()) == bare(expected)


def test_candidates_have_the_same_elements_in_page_and_panel(
    page: object, collection: Collection
) -> None:
    page.keyboard.press("c")
    prompt = collection.prompts[0]
    expected = drawn(page, render.candidates(prompt, prompt.pool("sft"), collection))
    page.evaluate("document.querySelector('#view .picks').remove()")
    assert bare(page.locator("#view").inner_html()) == bare(expected)


@pytest.mark.parametrize("search", ["", "a", "<"])
def test_hostile_texts_are_cut_into_the_same_pieces(
    search: str, tmp_path: Path, open_file: Callable
) -> None:
    collection = join(hostile_systems(), judges=["judge"])
    page = open_file(write_page(collection, tmp_path / "compare.html"), "#a=plain").page
    short = [place for place, text in enumerate(HOSTILE.values()) if len(text) < 4000]
    found = page.evaluate("""async ([places, search]) => {
        const data = await readCollection();
        return places.map((place) => {
            const box = document.createElement('div');
            const marks = wordDiff(data.prompts[place].answer('plain').text,
                data.prompts[place].answer('<b>bold</b>').text);
            box.append(...drawText(data.prompts[place].answer('plain').text, marks.a, marks.kind,
                search));
            return box.innerHTML;
        });
    }""", [short, search])
    macro = render.TEMPLATES.get_template("answer.html.jinja").module.text
    for place, html in zip(short, found, strict=True):
        pair = pairs(collection, *collection.systems)[place]
        marks = word_diff(pair.a.text, pair.b.text)
        piece = macro(render.shown(pair.a.text, marks.a, marks.kind, search))
        assert html == drawn(page, f'<div class="viewer">{piece}</div>')


def test_two_hundred_random_pairs_are_marked_the_same(page: object) -> None:
    draw = random.Random(0)
    texts = [[" ".join(draw.choices(WORDS, k=draw.randrange(30))) for _ in range(2)]
             for _ in range(200)]
    found = page.evaluate("(texts) => texts.map(([a, b]) => wordDiff(a, b))", texts)
    for (a, b), theirs in zip(texts, found, strict=True):
        ours = word_diff(a, b)
        assert theirs["kind"] == ours.kind
        assert [tuple(one) for one in theirs["a"]] == list(ours.a)
        assert [tuple(one) for one in theirs["b"]] == list(ours.b)


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_gives_the_same_rows_and_numbers(
    name: str, page: object, collection: Collection
) -> None:
    rows = pairs(collection, "sft", "dpo")
    ours = select(rows, preset(name, "judge"), collection)
    page.locator(".preset", has_text=re.compile(f"^{name} ")).click()
    page.keyboard.press("l")
    prompts = page.locator("#view tbody button").all_inner_texts()
    assert prompts == [pair.prompt.text for pair in ours]
    numbers = summary(ours, "judge")
    if numbers.wins + numbers.ties + numbers.losses:
        expected = f"{numbers.win_rate:.3f} [{numbers.low:.3f}, {numbers.high:.3f}]"
        assert expected in page.locator("#slice").inner_text()


def test_the_histograms_have_the_same_bars(page: object, collection: Collection) -> None:
    ours = histogram(pairs(collection, "sft", "dpo"), "judge")[::-1]
    theirs = [bar.get_attribute("aria-label") for bar in page.locator("#histogram button").all()]
    assert [int(re.search(r"(\d+) prompts", bar)[1]) for bar in theirs] == [
        bar.count for bar in ours]


def test_the_interval_is_the_reports_with_and_without_ties(page: object) -> None:
    counts = [(3, 1, 0), (0, 0, 5), (5, 0, 0), (0, 4, 0), (1, 0, 0), (45, 12, 7), (0, 0, 1)]
    counts += [(wins, 20 - wins, wins // 2) for wins in range(0, 21, 4)]
    theirs = page.evaluate("(counts) => counts.map((c) => winRate(...c))", counts)
    for (wins, ties, losses), found in zip(counts, theirs, strict=True):
        low, high = score_interval(wins, ties, losses)
        assert found["low"] == pytest.approx(float(low), abs=1e-9)
        assert found["high"] == pytest.approx(float(high), abs=1e-9)


def test_order_and_sides_are_drawn_the_same(page: object) -> None:
    ids = [f"prompt-{number}" for number in range(100)] + ["ümlaut", "\U0001f600", ""]
    for seed in (0, 7, -3):
        assert page.evaluate("([ids, seed]) => shuffled(ids, seed)", [ids, seed]) == shuffled(
            ids, seed)
        theirs = page.evaluate("([ids, seed]) => ids.map((id) => sidesOf('sft', 'dpo', id, seed))",
                               [ids, seed])
        assert [tuple(one) for one in theirs] == [sides("sft", "dpo", id, seed) for id in ids]
