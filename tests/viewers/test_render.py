import re
from html.parser import HTMLParser

import pytest

from lib.viewers import render
from lib.viewers.filters import summary
from lib.viewers.rows import Collection, join, pairs
from lib.viewers.visible import visible
from tests.viewers.viewer_rows import HOSTILE, candidate, hostile_systems, response, small_systems

ALLOWED = {"div", "section", "header", "footer", "article", "span", "strong", "p", "mark",
           "details", "summary", "table", "tr", "th", "td", "small", "svg", "rect", "polyline",
           "dl", "dt", "dd", "caption"}


class Reader(HTMLParser):
    """Collects elements, attributes and text, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def collection() -> Collection:
    return join(small_systems(), judges=["judge"])


@pytest.mark.parametrize("place", range(len(HOSTILE)), ids=list(HOSTILE))
def test_hostile_text_is_shown_and_adds_no_element(place: int) -> None:
    collection = join(hostile_systems(), judges=["judge"])
    pair = pairs(collection, *collection.systems)[place]
    text = list(HOSTILE.values())[place]
    reader = Reader(render.comparison(pair, collection.systems, collection))
    assert reader.tags <= ALLOWED
    assert not [name for name in reader.attributes if name.startswith("on") or name == "href"]
    assert visible(text).strip() in re.sub(r"[\d,]+ more characters", "", reader.text)


def test_hostile_candidates_add_no_element() -> None:
    collection = join(hostile_systems(), judges=["judge"])
    for prompt in collection.prompts:
        html = render.candidates(prompt, prompt.pools[0], collection)
        assert Reader(html).tags <= ALLOWED


def test_a_search_marks_what_it_finds_without_breaking_the_escaping() -> None:
    collection = join(hostile_systems(), judges=["judge"])
    pair = pairs(collection, *collection.systems)[0]
    html = render.comparison(pair, collection.systems, collection, search="<script>")
    assert "<mark>&lt;script&gt;</mark>" in html
    assert Reader(html).tags <= ALLOWED


def test_a_comparison_says_who_wins_by_whom_and_why_each_answer_ended(
    collection: Collection
) -> None:
    html = Reader(render.comparison(pairs(collection, "sft", "dpo")[3], ("sft", "dpo"), collection))
    assert "sft by 2.50" in html.text
    assert "64 tokens, cut off at the limit" in html.text
    assert "5 tokens, stopped by itself" in html.text
    assert "repeats itself for" in html.text
    assert "hit the limit" in html.text


def test_a_missing_score_is_shown_as_missing(collection: Collection) -> None:
    html = render.comparison(pairs(collection, "sft", "dpo")[4], ("sft", "dpo"), collection)
    assert "not scored" in html
    assert "<dd>–</dd>" in html


def test_the_diff_can_be_switched_off(collection: Collection) -> None:
    pair = pairs(collection, "sft", "dpo")[0]
    assert 'class="changed"' in render.comparison(pair, ("sft", "dpo"), collection)
    assert 'class="changed"' not in render.comparison(pair, ("sft", "dpo"), collection, diff=False)


def test_a_blind_comparison_tells_nothing_but_the_texts(collection: Collection) -> None:
    pair = pairs(collection, "sft", "dpo")[3]
    html = render.blind_comparison(pair.prompt, pair.a, pair.b)
    text = Reader(html).text
    assert "Fine." in text
    assert not [word for word in ("sft", "dpo", "judge", "selector", "token", "cut off", "repeats")
                if word in text]
    assert 'class="answer a"' not in html


def test_candidates_stand_best_first_with_their_choosers(collection: Collection) -> None:
    prompt = collection.prompts[0]
    text = Reader(render.candidates(prompt, prompt.pools[0], collection)).text
    assert text.index("Blue it is.") < text.index("It is red.")
    assert text.index("chosen · sft+bon2@0.6") < text.index("It is red.")
    assert text.index("random pick · sft+random2@0.6") < text.index("It is red.")
    assert text.index("first draw · sft") > text.index("Blue it is.")


def test_the_curve_of_a_prompt_is_the_unbiased_best_of_n(collection: Collection) -> None:
    prompt = collection.prompts[0]
    html = Reader(render.candidates(prompt, prompt.pools[0], collection)).text
    # judge: mean of 1.0 and 0.5, then that of the selector's pick; selector: mean, then its best
    for value in ("0.75", "0.50", "0.90"):
        assert value in html


def test_a_long_curve_is_told_at_powers_of_two_and_at_its_end() -> None:
    assert render.curve_places(4) == [1, 2, 4]
    assert render.curve_places(12) == [1, 2, 4, 8, 12]


@pytest.mark.parametrize(("value", "words"), [
    (1.234, "1.23"), (-0.5, "−0.50"), (-0.001, "0.00"), (None, "–")])
def test_a_score_is_written_as_people_write_it(value: float | None, words: str) -> None:
    assert render.number(value) == words


def test_the_slice_is_told_with_n_and_interval(collection: Collection) -> None:
    found = summary(pairs(collection, "sft", "dpo"), "judge")
    text = " ".join(Reader(render.slice_in_words(found, "sft", "dpo", "judge")).text.split())
    assert text.startswith("sft wins 0.875 [")
    assert "n = 4: 3 wins, 1 ties, 0 losses" in text


def test_constraints_are_shown_as_kept_or_broken() -> None:
    heldout = [{"id": "p", "prompt": "x", "reference": "An answer", "source": "constraints",
                "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}]
    systems = {name: [response("p", [candidate(text)])]
               for name, text in (("sft", "a, b"), ("dpo", "a b"))}
    collection = join(systems, heldout)
    html = render.comparison(pairs(collection, "sft", "dpo")[0], ("sft", "dpo"), collection)
    assert "breaks punctuation: no comma" in html
    assert "keeps punctuation: no comma" in html
    assert "An answer" in html
