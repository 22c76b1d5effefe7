"""Notebooks 04 and 05 of a smoke run in JupyterLab, used as a person would; 02 while it trains."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib import ROOT
from lib.runtime.files import read_jsonl
from lib.viewers.votes import read_votes
from tests.browser.browsers import WINDOW, Lab, open_notebook, run_all_cells, set_theme

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def run(lab: Lab, smoke_run: Path) -> Path:
    """A copy of the smoke run inside the lab's root, to vote in and to train in."""
    return Path(shutil.copytree(smoke_run, lab.root / "run"))


def put(lab: Lab, name: str, **parameters: object) -> str:
    """Copy a notebook of the study into the lab's root with these parameters set."""
    notebook = json.loads((ROOT / "notebooks" / name).read_text(encoding="utf-8"))
    cell = next(cell for cell in notebook["cells"]
                if "parameters" in cell["metadata"].get("tags", []))
    lines = [f"\n{key} = {value!r}" for key, value in parameters.items()]
    cell["source"] = ["".join(cell["source"]), *lines]
    (lab.root / name).write_text(json.dumps(notebook), encoding="utf-8")
    return name


def output_of(page: object, call: str) -> object:
    """The output of the cell that makes this call, scrolled into view."""
    cell = page.locator(".jp-CodeCell", has_text=call)
    cell.scroll_into_view_if_needed()
    return cell.locator(".jp-OutputArea").first


def executed(name: str, lab: Lab, run: Path, browser: object) -> Iterator[object]:
    """A notebook of the run, every cell executed by a person's click on Run All Cells."""
    context = browser.new_context(viewport=WINDOW)
    page = open_notebook(context, lab, put(lab, name, profile="smoke", run=str(run)))
    run_all_cells(page)
    yield page
    context.close()


@pytest.fixture(scope="module")
def page(lab: Lab, run: Path, browser: object) -> Iterator[object]:
    """Notebook 05."""
    yield from executed("05_analysis.ipynb", lab, run, browser)


@pytest.fixture(scope="module")
def best_of_n(lab: Lab, run: Path, browser: object) -> Iterator[object]:
    """Notebook 04."""
    yield from executed("04_best_of_n.ipynb", lab, run, browser)


def test_compare_pages_and_filters_the_runs_answers(page: object, run: Path) -> None:
    ids = [row["id"] for row in read_jsonl(run / "responses" / "dpo.jsonl")]
    compare = output_of(page, "show_comparison(study, answers)")
    compare.locator(".id", has_text=ids[0]).wait_for()
    compare.get_by_role("button", name="j Next").click()
    compare.locator(".id", has_text=ids[1]).wait_for()
    compare.get_by_role("button", name="largest gap").click()
    compare.get_by_text(f"{len(ids)} of {len(ids)} prompts").wait_for()
    compare.get_by_label("Search").fill("no answer has these words")
    compare.get_by_text(f"0 of {len(ids)} prompts").wait_for()
    compare.get_by_role("button", name="everything").click()
    compare.get_by_text(f"{len(ids)} of {len(ids)} prompts").wait_for()


def test_the_judge_decides_and_the_selector_stands_beside_it(page: object) -> None:
    compare = output_of(page, "show_comparison(study, answers)")
    verdicts = compare.locator(".verdicts").inner_text()
    assert 0 <= verdicts.index("judge") < verdicts.index("selector")


def test_votes_by_button_are_in_the_runs_file(page: object, run: Path) -> None:
    ballot = output_of(page, "show_ballot(study, answers)")
    for place, label in enumerate(("1 A is better", "3 Tie"), start=1):
        ballot.get_by_role("button", name=label).click()
        ballot.get_by_text(f"{place} of").first.wait_for()
    [path] = (run / "votes").glob("*.jsonl")
    votes = read_votes(path)
    assert [vote.vote for vote in votes] == ["left", "tie"]
    assert {votes[0].left, votes[0].right} == {"dpo", "dpo+bon4@0.6"}


def test_the_candidates_of_the_main_temperature_come_first_and_another_shows_others(
    best_of_n: object
) -> None:
    pool = output_of(best_of_n, "show_candidates(")
    pool.get_by_text("chosen · dpo+bon4@0.6", exact=True).wait_for()
    for temperature in ("0.25", "1"):
        pool.get_by_role("button", name=temperature, exact=True).click()
        pool.get_by_text(f"chosen · dpo+bon4@{temperature}", exact=True).wait_for()
        assert pool.locator(".answer").count() == 4


def test_the_playground_answers_a_typed_prompt_with_the_runs_policies(page: object) -> None:
    play = output_of(page, "show_play(study)")
    play.get_by_label("Prompt").fill("Name a colour.")
    play.get_by_label("N", exact=True).fill("2")
    play.get_by_role("button", name="Answer").click()
    play.get_by_text("done after").wait_for(timeout=90_000)
    assert play.locator(".answer").count() == 2
    assert play.get_by_text("chosen", exact=True).count() == 1
    assert {"selector", "judge"} == set(play.locator("dt").all_inner_texts())


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_axe_finds_nothing_to_complain_about_in_the_panels(
    theme: str, page: object, best_of_n: object, complaints: Callable
) -> None:
    set_theme(best_of_n, theme)
    output_of(best_of_n, "show_candidates(").evaluate(
        "(found) => found.setAttribute('data-checked', '')")
    assert complaints(best_of_n, "[data-checked]") == []
    set_theme(page, theme)
    for name in (".more-filters", ".words"):
        folded = output_of(page, "show_comparison(study, answers)").locator(f"{name}:not([open])")
        if folded.count():
            folded.locator("summary").click()
    for call in ("show_comparison(study, answers)", "show_ballot(study, answers)",
                 "show_play(study)"):
        output_of(page, call).evaluate("(found) => found.setAttribute('data-checked', '')")
    assert complaints(page, "[data-checked]") == []


def test_curves_grow_while_a_stage_trains(
    lab: Lab, run: Path, open_lab: Callable[[str], object]
) -> None:
    page = open_lab(put(lab, "02_sft.ipynb", profile="smoke", run=str(run), force=True))
    run_all_cells(page)
    curves = output_of(page, "train_sft(study)").locator(".curves")
    assert curves.locator("polyline.smooth").count() == 1
    assert curves.locator("circle").count() >= 2
