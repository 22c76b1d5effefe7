"""Pictures of every figure, to be looked at: `python -m tests.browser.figure_pictures RUN OUT`.

Writes PNGs into OUT: `lab-<width>-<theme>/`, each figure as the output of its cell in JupyterLab
in a window of 1,400 and 1,000 pixels, light and dark; `export/`, as in the exported page, offline;
`svg/`, as in the README. `--results` takes another run's results.json for the comparisons.
"""

import argparse
import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import plotly.graph_objects as go
from nbformat.v4 import new_code_cell, new_notebook, new_output

from lib.analysis import figures
from lib.analysis.best_of_n.curves import curves_by_judge
from lib.analysis.figures.data import token_lengths_figure
from lib.analysis.figures.files import MIME, browser_ready
from lib.analysis.figures.teaching import packed_row_figure
from lib.analysis.figures.theme import STYLE
from lib.data.parquet import read_parquet
from lib.runtime.files import read_json, read_jsonl, write_text
from lib.study.notebooks import export_html
from lib.study.planning.requirements import memory_rows
from lib.study.profiles import load_profile
from lib.study.publish.figures import readers_rows
from tests.browser.browsers import chromium, jupyter_lab, open_notebook, run_all_cells, set_theme

WIDTHS, THEMES = (1400, 1000), ("Light", "Dark")
README_WIDTH = 880  # pixels of a page on GitHub


def main() -> None:
    """Draw the figures of a run and take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--results", type=Path, help="instead of RUN/results.json")
    parser.add_argument("--only", nargs="+", default=[], help="names of figures")
    options = parser.parse_args()
    made = {name: figure for name, figure in all_figures(
        options.run, options.results or options.run / "results.json")
        if not options.only or name in options.only}
    with chromium() as browser:
        pictures_of_svg(browser, made, options.out / "svg")
        pictures_of_export(browser, made, options.out / "export")
        pictures_of_lab(browser, made, options.out)


def all_figures(run: Path, results_file: Path) -> Iterator[tuple[str, go.Figure]]:
    """Every figure of the notebooks by its name."""
    results = read_json(results_file)
    sft, dpo = (read_jsonl(run / stage / "metrics.jsonl") for stage in ("sft", "dpo"))
    parts = {name: read_parquet(run / "data" / f"{name}.parquet")
             for name in ("sft", "preferences", "heldout")}
    yield "data_mix", figures.data_mix_figure(parts)
    yield "token_lengths", token_lengths_figure({
        "SFT conversations": ([characters(row["messages"]) // 4 for row in parts["sft"]], 128),
        "prompts with chosen answer": ([characters(row["prompt"]) // 4 + len(row["chosen"]) // 4
                                        for row in parts["preferences"]], 1024)})
    yield "packed_row", packed_row_figure([(6, [5, 7]), (4, [3, 6, 4])])
    yield "sft_loss", figures.sft_loss_figure(sft)
    yield "dpo_loss", figures.dpo_loss_figure(dpo)
    yield "dpo_rewards", figures.rewards_figure(dpo)
    yield "dpo_accuracy", figures.accuracy_figure(dpo, results["dpo_eval"]["accuracy"])
    yield "displacement", figures.displacement_figure(dpo)
    yield "sample_quality", figures.sample_quality_figure({"DPO": dpo})
    yield "warning", figures.warning_figure(results["warning"]["cells"])
    for policy in ("sft", "dpo"):
        yield f"best_of_n_{policy}", figures.best_of_n_figure(
            curves_by_judge(results["best_of_n_curves"], policy))
    yield "gains", figures.gains_figure(curves_by_judge(results["best_of_n_gains"], "dpo"))
    yield "surface", figures.surface_figure(results["best_of_n_curves"])
    yield "best_over_random", figures.best_over_random_figure(
        results.get("best_over_random", []), results["audit"].get("forecast", []))
    yield "win_rates", figures.win_rates_figure(readers_rows(results))
    yield "round_robin", figures.round_robin_figure(results["round_robin"], "judge")
    yield "ratings", figures.ratings_figure(results["ratings"])
    yield "temperature", figures.temperature_figure(results["win_rates"])
    yield "calibration", figures.calibration_figure(results["audit"]["calibration"])
    yield "text_metrics", figures.text_metrics_figure(results["text_metrics"])
    yield "memory", figures.memory_figure(memory_rows(load_profile("t4")))


def characters(messages: list[dict[str, str]]) -> int:
    """Characters of a conversation; about four make a token."""
    return sum(len(message["content"]) for message in messages)


def pictures_of_svg(browser: object, made: dict[str, go.Figure], out: Path) -> None:
    """Each SVG in an <img> of the README's width; none where kaleido finds no browser."""
    if not browser_ready():
        return
    page = browser.new_page(viewport={"width": README_WIDTH, "height": 900})
    for name, figure in made.items():
        figures.save_figure(figure, out, name)
        code = base64.b64encode((out / f"{name}.svg").read_bytes()).decode()
        picture = f"data:image/svg+xml;base64,{code}"
        page.set_content(f"<body style='margin:0'><img style='max-width:100%' src='{picture}'>")
        page.locator("img").screenshot(path=out / f"{name}-readme.png")


def pictures_of_export(browser: object, made: dict[str, go.Figure], out: Path) -> None:
    """Each figure in one exported notebook, without a network."""
    cells = [new_code_cell(outputs=[new_output("display_data", {"text/html": STYLE})])] + [
        new_code_cell(name, outputs=[new_output("display_data", {MIME: figure.to_plotly_json()})])
        for name, figure in made.items()]
    notebook = out / "figures.ipynb"
    write_text(notebook, nbformat.writes(new_notebook(cells=cells)))
    page = browser.new_context(offline=True, viewport={"width": 1280, "height": 900}).new_page()
    page.goto(export_html(notebook).as_uri())
    for place, name in enumerate(made):
        page.locator(".plotly-graph-div").nth(place).screenshot(path=out / f"{name}.png")


def pictures_of_lab(browser: object, made: dict[str, go.Figure], out: Path) -> None:
    """Each figure as the output of its cell in JupyterLab."""
    with (tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as home,
          jupyter_lab(Path(root), Path(home)) as lab):
        for name, figure in made.items():
            figure.write_json(Path(root) / f"{name}.json")
        lab.write("figures.ipynb", [
            "import plotly.io as pio\nfrom lib.analysis.figures import use_study_renderer\n"
            "use_study_renderer()", *(f"pio.read_json('{name}.json').show()" for name in made)])
        context = browser.new_context(viewport={"width": WIDTHS[0], "height": 1400})
        page = open_notebook(context, lab, "figures.ipynb")
        run_all_cells(page)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 1400})
            for theme in THEMES:
                set_theme(page, f"JupyterLab {theme}")
                page.wait_for_timeout(1000)
                folder = out / f"lab-{width}-{theme.lower()}"
                folder.mkdir(parents=True, exist_ok=True)
                for place, name in enumerate(made, start=1):
                    cell = page.locator(".jp-CodeCell").nth(place)
                    cell.scroll_into_view_if_needed()
                    page.wait_for_timeout(250)
                    cell.locator(".jp-OutputArea").first.screenshot(path=folder / f"{name}.png")


if __name__ == "__main__":
    main()
