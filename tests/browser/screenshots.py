"""`make screenshots`: the viewers of a finished run, as small pictures under figures/viewers/.

    make screenshots ARGS="runs/laptop --profile laptop"

The page is opened from the file system, the panels in a JupyterLab on loopback, on the run's own
answers. One answer is generated in the playground; no vote is cast. Pictures are WebP, which GitHub
shows and Chromium writes by itself.
"""

import argparse
import base64
import sys
import tempfile
from pathlib import Path

from lib import ROOT
from tests.browser.browsers import (
    Lab,
    chromium,
    chromium_path,
    jupyter_lab,
    open_notebook,
    run_all_cells,
)

FIGURES = ROOT / "figures" / "viewers"
LARGEST, LARGEST_TOTAL = 200_000, 1_000_000  # bytes
QUALITY = 80
VIEW, TELEPHONE = {"width": 1180, "height": 740}, {"width": 390, "height": 760}
TALLEST, MARGIN = 900, 4  # pixels of a panel that are shown, and around it
QUESTION = "Give me two tips for a good night's sleep."

PAGES = {  # name: hash of the page, colour scheme, size
    "page_read": ("", "light", VIEW),
    "page_read_dark": ("", "dark", VIEW),
    "page_candidates": ("mode=candidates", "light", VIEW),
    "page_vote": ("mode=vote", "light", VIEW),
    "page_list": ("mode=list", "dark", VIEW),
    "page_narrow": ("", "light", TELEPHONE),
}
CELLS = {
    "lab_compare": "show_comparison(study, answers)",
    "lab_candidates": "show_candidates(answers)",
    "lab_vote": "show_ballot(study, answers)",
    "lab_playground": "show_play(study)",
    "lab_training": "display(HTML(curves_html(read_jsonl(study.path('dpo', 'metrics.jsonl')))))",
}
SET_UP = """
import os

from IPython.display import HTML, display
from lib.runtime.files import read_jsonl
from lib.study.notebook_views.playground import show_play
from lib.study.notebook_views.answers import read_answers, show_ballot, show_comparison
from lib.study.run import open_study
from lib.viewers.show import show_candidates
from lib.viewers.training_panel import curves_html
os.chdir({project!r})
study = open_study({profile!r}, {run!r}, {settings!r})
answers = read_answers(study)
"""


def main() -> None:
    """Take every picture; the run is read, its compare.html written anew."""
    options = arguments()
    settings = ({"evaluation.temperatures": options.temperatures} if options.temperatures else {})
    run = options.run.resolve()
    set_up = SET_UP.format(profile=options.profile, run=str(run), settings=settings,
                           project=str(run.parent.parent))
    FIGURES.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        sizes = panels(browser, set_up) + pages(browser, run / "figures" / "compare.html")
    if sum(sizes) > LARGEST_TOTAL:
        sys.exit(f"the pictures have {sum(sizes)} bytes, more than {LARGEST_TOTAL}; take fewer")


def arguments() -> argparse.Namespace:
    """The command line; what cannot work is said before a browser starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--temperatures", type=float, nargs="+", help="those of the run")
    options = parser.parse_args()
    if not (options.run / "responses").is_dir():
        sys.exit(f"{options.run} has no responses; finish a run there first (make study)")
    if chromium_path() is None:
        sys.exit("no chromium on the path; apt-get install chromium brings one")
    return options


def pages(browser: object, path: Path) -> list[int]:
    """Each view of compare.html, at first a prompt on which judge and selector disagree."""
    sizes = []
    for name, (hash, scheme, size) in PAGES.items():
        context = browser.new_context(viewport=size, color_scheme=scheme)
        shown = context.new_page()
        shown.goto(f"{path.as_uri()}#{hash}")
        shown.wait_for_selector("body[data-ready=yes]")
        shown.evaluate("""() => [...document.querySelectorAll('.preset')].find((one) =>
            one.textContent.startsWith('judge and selector disagree')
            && !one.textContent.endsWith(' 0'))?.click()""")
        sizes.append(keep(name, shown, {"x": 0, "y": 0, **size}))
        context.close()
    return sizes


def panels(browser: object, set_up: str) -> list[int]:
    """Each panel as the output of its cell in JupyterLab."""
    sizes = []
    with (tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as home,
          jupyter_lab(Path(root), Path(home)) as lab):
        shown = opened(browser, lab, set_up)
        for place, name in enumerate(CELLS, start=1):
            output = shown.locator(".jp-CodeCell").nth(place).locator(".jp-OutputArea").first
            output.scroll_into_view_if_needed()
            if name == "lab_playground":
                play(output)
                output.evaluate("(found) => found.scrollIntoView()")  # its answers made it grow
            sizes.append(keep(name, shown, around(output.locator(".viewer").first)))
    return sizes


def around(panel: object) -> dict[str, float]:
    """The rectangle of a panel with a margin; of a tall one the upper part."""
    box = panel.bounding_box()
    return {"x": box["x"] - MARGIN, "y": box["y"] - MARGIN, "width": box["width"] + 2 * MARGIN,
            "height": min(box["height"], TALLEST) + 2 * MARGIN}


def opened(browser: object, lab: Lab, set_up: str) -> object:
    """The notebook with all panels, run; taller than wide, so that no panel is cut off."""
    lab.write("panels.ipynb", [set_up.strip(), *CELLS.values()])
    context = browser.new_context(viewport={"width": 1300, "height": 4600})
    shown = open_notebook(context, lab, "panels.ipynb")
    run_all_cells(shown, 300)
    return shown


def play(output: object) -> None:
    """Ask the playground's last two policies one question."""
    output.get_by_label("sft", exact=True).check()
    output.get_by_label("Prompt").fill(QUESTION)
    output.get_by_role("button", name="Answer").click()
    output.get_by_text("done after").wait_for(timeout=300_000)


def keep(name: str, page: object, clip: dict[str, float]) -> int:
    """Write figures/viewers/<name>.webp and give its bytes; too large a picture is an error."""
    page.wait_for_timeout(300)  # a transition may be under way
    session = page.context.new_cdp_session(page)
    found = session.send("Page.captureScreenshot", {
        "format": "webp", "quality": QUALITY, "clip": {**clip, "scale": 1},
        "captureBeyondViewport": True})
    picture = base64.b64decode(found["data"])
    if len(picture) > LARGEST:
        sys.exit(f"{name} has {len(picture)} bytes, more than {LARGEST}; show less of it")
    (FIGURES / f"{name}.webp").write_bytes(picture)
    print(f"figures/viewers/{name}.webp: {len(picture) / 1000:.0f} kB")
    return len(picture)


if __name__ == "__main__":
    main()
