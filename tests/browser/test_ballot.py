"""Votes in compare.html: blind, kept over a reload, told apart by their rater, read by Python."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lib.viewers.page import write_page
from lib.viewers.votes import read_votes
from tests.browser.test_keyboard import press
from tests.viewers.viewer_rows import many_systems

pytestmark = pytest.mark.browser


def test_votes_and_the_raters_name_are_kept_over_a_reload(page: object) -> None:
    press(page, "v")
    page.get_by_label("Your name").fill("Ada")
    page.keyboard.press("Tab")
    press(page, "12su")
    assert "1 of 4 judged" in page.locator(".progress").inner_text()
    assert page.get_by_role("button", name="Download 1 vote", exact=True).count() == 1
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")
    assert page.get_by_label("Your name").input_value() == "Ada"
    assert "1 of 4 judged" in page.locator(".progress").inner_text()


def test_what_to_do_with_downloaded_votes_is_said(page: object) -> None:
    press(page, "v1")
    assert "Put the file into the folder votes of the run" in page.locator("#voter").inner_text()


def test_on_a_telephone_nothing_stands_over_the_answers(path: Path, open_file: Callable) -> None:
    page = open_file(path, "#mode=vote", viewport={"width": 390, "height": 760}).page
    first, ballot, voter = (page.locator(name).bounding_box() for name in (
        ".answer >> nth=0", ".ballot", "#voter"))
    assert first["y"] < 380
    assert first["y"] + first["height"] < ballot["y"] < voter["y"]
    assert page.locator(".ballot").evaluate("(one) => getComputedStyle(one).position") == "static"


def test_a_blind_ballot_shows_no_names_scores_or_lengths(page: object) -> None:
    press(page, "v")
    text = page.locator("#view .pair").inner_text()
    assert not [word for word in ("sft", "dpo", "judge", "selector", "token") if word in text]
    assert not page.locator(".numbers").is_visible()
    assert not page.locator("#presets").is_visible()


def test_the_downloaded_votes_are_read_by_python(page: object, tmp_path: Path) -> None:
    press(page, "v")
    page.locator("#note").focus()
    page.keyboard.type("a note, with 1 and 2")
    page.keyboard.press("Escape")
    press(page, "14")
    page.get_by_role("button", name="Download 2 votes").focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    download.value.save_as(tmp_path / "votes.jsonl")
    votes = read_votes(tmp_path / "votes.jsonl")
    assert [(vote.vote, vote.note) for vote in votes] == [
        ("left", "a note, with 1 and 2"), ("both bad", "")]
    assert {votes[0].left, votes[0].right} == {"sft", "dpo"}


def test_a_note_half_written_survives_a_redraw(page: object) -> None:
    press(page, "v")
    page.locator("#note").fill("A knows the")
    page.get_by_label("Tell me after each vote").check()
    assert page.locator("#note").input_value() == "A knows the"
    press(page, ["Escape"])
    press(page, "1")
    assert page.locator("#note").input_value() == ""


def test_two_tabs_do_not_overwrite_each_others_votes(page: object, path: Path) -> None:
    other = page.context.new_page()
    other.goto(path.as_uri() + "#a=sft&b=dpo&mode=vote")
    other.wait_for_selector("body[data-ready=yes]")
    press(page, "v1")
    press(other, "s1")
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")
    assert "Download 2 votes" in page.locator("#voter").inner_text()


def test_results_appear_after_twenty_votes(tmp_path: Path, open_file: Callable) -> None:
    path = write_page(many_systems(25, 2, words=20), tmp_path / "many.html", judges=["judge"])
    page = open_file(path, "#mode=vote").page
    press(page, "1" * 19)
    assert "after 20 votes" in page.locator("#view").inner_text()
    press(page, "1")
    text = page.locator("#view .results").inner_text()
    assert "By 20 votes system" in text
    assert "kappa is agreement beyond chance" in text


def test_another_rater_starts_anew_and_is_compared_with_the_first(
    tmp_path: Path, open_file: Callable
) -> None:
    path = write_page(many_systems(25, 2, words=20), tmp_path / "many.html", judges=["judge"])
    page = open_file(path, "#mode=vote").page
    for rater in ("Ada", "Bob"):
        page.get_by_label("Your name").fill(rater)
        page.keyboard.press("Tab")
        assert "0 of 25 judged" in page.locator(".progress").inner_text()
        press(page, "1" * 20)
    assert "Ada agrees in 100% of 20, kappa 1.00" in page.locator("#view .results").inner_text()
