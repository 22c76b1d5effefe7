"""`make screenshots`: the viewers of a finished run, as small PNGs under figures/ for the README.

    make screenshots ARGS="runs/laptop --profile laptop"

The page is opened from the file system, the panels in a JupyterLab on loopback, on the run's own
answers. One answer is generated in the playground; no vote is cast.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from browsers import Lab, chromium, jupyter_lab, open_notebook, run_all_cells

from lib import ROOT

FIGURES = ROOT / "figures"
LARGEST = 150_000  # bytes of one picture
VIEW = {"width": 1180, "height": 780}
QUESTION = "Give me two tips for a good night's sleep."

CELLS = {
    "compare": "show_comparison(study, answers)",
    "candidates": "show_candidates(answers)",
    "vote": "show_ballot(study, answers)",
    "playground": "show_play(study)",
    "training": "display(HTML(curves_html(read_jsonl(study.path('dpo', 'metrics.jsonl')))))",
}
SET_UP = """
from IPython.display import HTML, display
from lib.runtime.files import read_jsonl
from lib.study.playground import show_play
from lib.study.reading import read_answers, show_ballot, show_comparison
from lib.study.run import open_study
from lib.viewers.show import show_candidates
from lib.viewers.training_panel import curves_html
study = open_study({profile!r}, {run!r}, {settings!r})
answers = read_answers(study)
"""


def main() -> None:
    """Take every picture; the run is read, its compare.html written anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--temperatures", type=float, nargs="+", help="those of the run")
    options = parser.parse_args()
    settings = ({"evaluation.temperatures": options.temperatures} if options.temperatures else {})
    set_up = SET_UP.format(profile=options.profile, run=str(options.run.resolve()),
                           settings=settings)
    with chromium() as browser:
        panels(browser, set_up)
        page(browser, options.run.resolve() / "figures" / "compare.html")


def page(browser: object, path: Path) -> None:
    """compare.html in both colour schemes."""
    for scheme in ("light", "dark"):
        shown = browser.new_page(viewport=VIEW, color_scheme=scheme)
        shown.goto(path.as_uri())
        shown.wait_for_selector("body[data-ready=yes]")
        shown.locator(".preset", has_text="won but shorter").click()
        keep(f"viewer_page_{scheme}", shown.screenshot())


def panels(browser: object, set_up: str) -> None:
    """Each panel as the output of its cell in JupyterLab."""
    with (tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as home,
          jupyter_lab(Path(root), Path(home)) as lab):
        shown = opened(browser, lab, set_up)
        for place, name in enumerate(CELLS, start=1):
            output = shown.locator(".jp-CodeCell").nth(place).locator(".jp-OutputArea").first
            output.scroll_into_view_if_needed()
            if name == "playground":
                play(output)
            box = output.bounding_box()
            clip = {**box, "height": min(box["height"], VIEW["height"])}
            keep(f"viewer_{name}", shown.screenshot(clip=clip, full_page=True))


def opened(browser: object, lab: Lab, set_up: str) -> object:
    """The notebook with all panels, run; taller than wide, so that no panel is cut off."""
    lab.write("panels.ipynb", [set_up.strip(), *CELLS.values()])
    context = browser.new_context(viewport={"width": 1300, "height": 4600})
    shown = open_notebook(context, lab, "panels.ipynb")
    run_all_cells(shown, 300)
    return shown


def play(output: object) -> None:
    """Ask the playground's last policy one question."""
    output.get_by_label("Prompt").fill(QUESTION)
    output.get_by_role("button", name="Answer").click()
    output.get_by_text("done after").wait_for(timeout=300_000)


def keep(name: str, picture: bytes) -> None:
    """Write figures/<name>.png and say how large it is; too large a picture is an error."""
    if len(picture) > LARGEST:
        sys.exit(f"{name} has {len(picture)} bytes, more than {LARGEST}; show less of it")
    (FIGURES / f"{name}.png").write_bytes(picture)
    print(f"figures/{name}.png: {len(picture) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
