"""compare.html from the file system, driven by the keyboard alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lib.viewers.page import write_page
from tests.viewers.viewer_rows import candidate, many_systems, response

pytestmark = pytest.mark.browser


def shown_id(page: object) -> str:
    return page.locator("#view .id").first.inner_text()


def press(page: object, keys: Sequence[str]) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_j_and_k_walk_and_hold_at_the_ends(page: object) -> None:
    seen = [shown_id(page)]
    for key in "jjkkk":
        press(page, key)
        seen.append(shown_id(page))
    assert seen == ["p0", "p1", "p2", "p1", "p0", "p0"]


def test_arrows_walk_as_j_and_k_do(page: object) -> None:
    seen = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        press(page, [key])
        seen.append(shown_id(page))
    assert seen == ["p1", "p2", "p1"]


def test_back_returns_to_the_last_view_and_the_row_that_it_showed(page: object) -> None:
    press(page, "jjc")
    page.go_back()
    assert page.evaluate("document.body.dataset.mode") == "read"
    assert shown_id(page) == "p2"
    page.go_forward()
    assert page.evaluate("document.body.dataset.mode") == "candidates"


def test_back_leads_from_a_prompt_to_the_list_that_it_was_opened_in(page: object) -> None:
    press(page, "l")
    page.locator("#view tbody button").nth(3).click()
    assert shown_id(page) == "p3"
    page.go_back()
    assert page.locator("#view tbody tr").count() == 5


def test_a_system_is_not_compared_with_itself(
    page: object, path: Path, open_file: Callable
) -> None:
    assert page.locator("#b option[value=sft]").is_disabled()
    assert page.locator("#a option[value=dpo]").is_disabled()
    same = open_file(path, "#a=dpo&b=dpo").page
    assert (same.locator("#a").input_value(), same.locator("#b").input_value()) == ("dpo", "sft")


def test_heads_of_the_list_sort_and_a_second_press_turns_the_order(page: object) -> None:
    press(page, "l")
    head = page.get_by_role("button", name="Gap by judge")
    orders = []
    for _ in range(2):
        head.focus()
        press(page, ["Enter"])
        orders.append(page.locator("#view tbody td.gap").all_inner_texts())
    assert orders[0] == ["+2.50", "+1.50", "+0.80", "0.00", "–"]
    assert orders[1] == orders[0][::-1]
    assert page.locator("th[aria-sort=ascending]").inner_text() == "Gap by judge ↑"
    assert page.evaluate("document.activeElement.textContent").startswith("Gap by judge")


def test_whole_answers_of_every_row_can_be_printed(tmp_path: Path, open_file: Callable) -> None:
    path = write_page(many_systems(120, 2, words=60), tmp_path / "many.html", judges=["judge"])
    page = open_file(path, "#mode=list").page
    assert page.locator("#view tbody tr").count() == 50
    page.get_by_label("whole answers of every row").check()
    assert page.locator("#view tbody tr").count() == 120
    assert "…" not in page.locator("#view tbody").inner_text()
    page.emulate_media(media="print")
    assert not page.locator(".whole").is_visible()
    assert page.locator("#view tbody tr").last.is_visible()


def test_columns_of_the_candidates_are_the_points_of_their_line(
    tmp_path: Path, open_file: Callable
) -> None:
    for n, told in ((4, "1 2 3 4"), (11, "1 2 4 8 11")):
        pool = [candidate(f"answer {place}", selector=float(place)) for place in range(n)]
        path = write_page({f"dpo+bon{n}@1": [response("p", pool, n - 1)]}, tmp_path / f"{n}.html")
        page = open_file(path).page
        assert page.locator(".curve tr").first.inner_text().split() == ["n", *told.split()]
        assert page.locator(".curve circle").count() == len(told.split())


def test_a_legend_says_what_the_words_mean(page: object) -> None:
    page.locator(".words > summary").focus()
    press(page, ["Enter"])
    words = page.locator(".words dl").inner_text()
    for said in ("judge", "selector", "sft+bon2@0.6", "the best of 2 answers", "picked at random",
                 "Markdown such as **bold** is not rendered"):
        assert said in words


def test_the_runs_reader_is_called_neither_judge_nor_reward_model(
    tmp_path: Path, open_file: Callable
) -> None:
    rows = {name: [response("p", [candidate(name, judge=0.5, reader=1.0, selector=0.2)])]
            for name in ("sft", "dpo")}
    path = write_page(rows, tmp_path / "read.html", judges=["judge", "reader"])
    page = open_file(path).page
    assert [head.split() for head in page.locator("#view th[scope=row]").all_inner_texts()] == [
        ["judge"], ["reader"], ["selector"]]
    page.locator(".words > summary").click()
    terms = page.locator(".words dt").all_inner_texts()
    words = dict(zip(terms, page.locator(".words dd").all_inner_texts(), strict=True))
    assert words["judge"].startswith("a judge: a reward model")
    assert words["reader"].startswith("a blind reader: a person or a large language model")


def test_slash_searches_and_escape_gives_the_keys_back(page: object) -> None:
    press(page, "/")
    page.keyboard.type("green")
    assert page.locator("#count").inner_text() == "1 of 5 prompts"
    assert page.locator("#view mark").inner_text() == "green"
    page.keyboard.press("Escape")
    press(page, "d")
    assert not page.locator("#diff").is_checked()


def test_letters_typed_into_the_search_are_no_commands(page: object) -> None:
    press(page, "/")
    page.keyboard.type("jdvl1")
    assert page.locator("#search").input_value() == "jdvl1"
    assert page.evaluate("document.body.dataset.mode") == "read"


def test_d_takes_the_marks_away_and_brings_them_back(page: object) -> None:
    counts = []
    for _ in range(3):
        counts.append(page.locator("#view .changed").count())
        press(page, "d")
    assert counts[0] > 0
    assert counts == [counts[0], 0, counts[0]]


def test_the_four_views_are_one_key_away(page: object) -> None:
    press(page, "c")
    assert page.locator("#view .pool .answer").count() == 2
    press(page, "l")
    assert page.locator("#view tbody tr").count() == 5
    press(page, "v")
    assert page.locator("#view .ballot").count() == 1
    press(page, "r")
    assert page.locator("#view .pair .answer").count() == 2


def test_the_temperature_of_the_candidates_is_switched_and_linked_to(
    tmp_path: Path, open_file: Callable
) -> None:
    def pool(temperature: str) -> list[dict]:
        return [candidate(f"{temperature} answer {place}", selector=place) for place in range(2)]

    systems = {f"dpo+bon2@{temperature}": [response("p0", pool(temperature), 1)]
               for temperature in ("0.6", "1")}
    path = write_page(systems, tmp_path / "pools.html")
    page = open_file(path, "#mode=candidates&a=dpo%2Bbon2%400.6").page
    assert page.locator(".answer .text").first.inner_text() == "0.6 answer 1"
    page.get_by_role("button", name="1", exact=True).focus()
    press(page, [" "])
    assert page.locator(".answer .text").all_inner_texts() == ["1 answer 1", "1 answer 0"]
    assert "chosen · dpo+bon2@1" in page.locator(".answer").first.inner_text()
    again = open_file(path, page.url[page.url.index("#"):]).page
    assert again.locator(".answer .text").first.inner_text() == "1 answer 1"


def test_a_bar_of_the_histogram_filters_and_gives_back(page: object) -> None:
    bar = page.locator("#histogram button:enabled").first
    bar.focus()
    press(page, [" "])
    assert page.locator("#count").inner_text() == "1 of 5 prompts"
    assert shown_id(page) == "p3"
    press(page, [" "])
    assert page.locator("#count").inner_text() == "5 of 5 prompts"


def test_filters_narrow_together_and_go_into_the_address(
    page: object, path: Path, open_file: Callable
) -> None:
    page.locator(".more-filters > summary").focus()
    press(page, ["Enter"])
    page.get_by_label("Winner").select_option("left")
    assert page.locator("#count").inner_text() == "3 of 5 prompts"
    page.get_by_label("coding").check()
    assert page.locator("#count").inner_text() == "2 of 5 prompts"
    page.get_by_label("Tokens from").fill("10")
    page.keyboard.press("Tab")
    assert page.locator("#count").inner_text() == "1 of 5 prompts"
    again = open_file(path, page.url[page.url.index("#"):]).page
    assert again.locator("#count").inner_text() == "1 of 5 prompts"


def test_a_row_of_the_list_opens_with_enter(page: object) -> None:
    press(page, "l")
    page.locator("#view tbody button").nth(3).focus()
    page.keyboard.press("Enter")
    assert shown_id(page) == "p3"


def test_a_preset_is_reached_with_tab_and_pressed_with_space(page: object) -> None:
    page.locator("#search").focus()
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").startswith("won but shorter"):
            break
    page.keyboard.press("Space")
    assert page.locator("#count").inner_text() == "2 of 5 prompts"
    assert shown_id(page) == "p3"


def test_focus_stays_on_a_preset_that_was_pressed(page: object) -> None:
    page.locator(".preset", has_text="identical").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent").startswith("identical")


def test_the_question_mark_shows_the_keys_and_escape_closes_them(page: object) -> None:
    press(page, "?")
    assert page.locator("#help").is_visible()
    press(page, "j")
    assert shown_id(page) == "p0"
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_the_view_can_be_linked_to(page: object, path: Path, open_file: Callable) -> None:
    press(page, "/")
    page.keyboard.type("question")
    page.keyboard.press("Escape")
    press(page, "jjd")
    again = open_file(path, page.url[page.url.index("#"):]).page
    assert shown_id(again) == "p2"
    assert again.locator("#search").input_value() == "question"
    assert not again.locator("#diff").is_checked()
    assert again.locator("#a").input_value() == "sft"


@pytest.mark.parametrize("hash", ["#mode=nonsense&a=nobody&gap=[1]&tokens=x&flags=%5B%22no%22%5D",
                                  "#%E0%A4%A", "#seed=1e999&id=%00"])
def test_a_damaged_link_opens_the_page_as_if_new(
    hash: str, path: Path, open_file: Callable
) -> None:
    watched = open_file(path, hash)
    assert shown_id(watched.page) == "p0"
    assert watched.errors == []


def test_the_dark_switch_turns_the_page_dark(page: object) -> None:
    colours = []
    for _ in range(2):
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        press(page, "t")
    assert colours[0] != colours[1]
    press(page, "t")
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")  # and it is remembered
    again = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert again == colours[1]


def test_the_ring_around_the_search_is_not_cut(page: object) -> None:
    right, edge = page.evaluate("""() => {
        const side = document.querySelector('.side').getBoundingClientRect();
        return [document.getElementById('search').getBoundingClientRect().right, side.right];
    }""")
    assert edge - right >= 5  # an outline of 3 pixels, 2 away


def test_everything_is_reached_with_tab_and_focus_is_visible(page: object) -> None:
    wanted = page.evaluate("""() => [...document.querySelectorAll(
        'button, select, input, summary')].filter((one) => one.checkVisibility() && !one.disabled)
        .length""")
    reached = set()
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        tag, name, outline = page.evaluate("""() => {
            const one = document.activeElement;
            const place = [...document.querySelectorAll('*')].indexOf(one);
            return [one.tagName, place, getComputedStyle(one).outlineStyle];
        }""")
        if tag != "BODY":  # where the focus rests between two rounds
            reached.add(name)
            assert outline != "none"
    assert len(reached) >= wanted
