"""A notebook that ran headless and was exported: its viewer still works, without a network."""

from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter

from lib.runtime.files import read_json
from lib.viewers.page import show_page, write_page
from tests.viewers.viewer_rows import small_systems

pytestmark = pytest.mark.browser


def test_the_page_in_an_exported_notebook_works_offline(
    tmp_path: Path, browser: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    monkeypatch.setattr("lib.viewers.page.display", shown.append)
    show_page(write_page(small_systems(), tmp_path / "compare.html", judges=["judge"]))
    output = nbformat.v4.new_output("display_data", {"text/html": shown[0].data})
    cell = nbformat.v4.new_code_cell("show_page(path)", outputs=[output])
    html, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    exported = tmp_path / "notebook.html"
    exported.write_text(html, encoding="utf-8")

    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(exported.as_uri(), wait_until="commit")
    frame = page.frame_locator("iframe[srcdoc]")
    frame.locator("body[data-ready=yes]").wait_for()
    frame.locator("#next").press("j")
    assert frame.locator("#view .id").inner_text() == "p1"
    context.close()


@pytest.mark.slow
def test_notebooks_04_and_05_as_exported_by_a_run_work_offline(
        smoke_run: Path, browser: object) -> None:
    requests, errors = [], []
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    exported = (smoke_run / "05_analysis.html").as_uri()
    page.goto(exported)
    frame = page.frame_locator("iframe[srcdoc]").first
    frame.locator("body[data-ready=yes]").wait_for()
    row = next(row for row in read_json(smoke_run / "results.json")["single_draws"]
               if (row["a"], row["b"], row["judge"]) == ("dpo+bon4@0.6", "dpo", "judge"))
    assert (f"dpo+bon4@0.6 wins {row['win_rate']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}] "
            "against dpo by judge") in frame.locator("#slice").text_content()
    frame.locator("#next").press("j")
    assert frame.locator("#place").input_value() == "2"
    page.locator(".plotly .main-svg").first.wait_for()
    assert page.get_by_text("The playground answers prompts in a running JupyterLab").count() == 1
    page.goto((smoke_run / "04_best_of_n.html").as_uri())
    page.frame_locator("iframe[srcdoc]").first.locator("body[data-mode=candidates]").wait_for()
    assert [url for url in requests if url.startswith(("http:", "https:"))] == []
    assert errors == []
    context.close()
