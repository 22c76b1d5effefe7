"""The README and notebook 05 state the numbers of a run, all of them read from results.json."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import IPython.display
import numpy as np
import plotly.graph_objects as go
import pytest

from lib import ROOT
from lib.analysis.comparisons.candidates import CandidateBoard, Candidates
from lib.analysis.figures.theme import readable
from lib.analysis.judges.own_reader import own_corrected, own_judge_quality, read_counts
from lib.analysis.tables.formatting import format_number
from lib.inference.rewards import OWN_READER, ROLES
from lib.runtime.files import read_json, write_json
from lib.study.publish import readme
from lib.study.publish.readme import (
    PAGES,
    SECTIONS,
    between_marks,
    recorded,
    results_section,
)
from lib.study.stages.audit import by_reader
from tests.analysis.analysis_rows import read_systems
from tests.bench import readme as speeds

RECORDED = ROOT / "figures" / "results.json"
NOTEBOOKS = [ROOT / "notebooks" / f"{name}.ipynb" for name in ("05_analysis", "07_appendix")]
STAND_INS = {  # of what needs a run folder, a model or a person
    "lib.study.notebook_views.answers.read_answers": lambda _: None,
    "lib.study.notebook_views.answers.show_comparison": lambda *_: None,
    "lib.study.notebook_views.answers.show_ballot": lambda *_: None,
    "lib.study.notebook_views.playground.show_play": lambda _: None,
    "lib.study.policies.load_candidates": lambda _: made_up_candidates(),
    "lib.analysis.comparisons.all_pairs.win_rates": lambda *_: [],
    "lib.study.publish.figures.save_figures": lambda *_: [],
    "lib.study.publish.exports.write_exports": lambda *_: [],
    "lib.study.publish.exports.export_lines": lambda *_: [{"file": "exports"}]}
SYSTEM = re.compile(r"(base|sft|dpo)\+(bon|random)\d+(@[0-9.]+)?|p\d+\b|[a-z]+-\d\b|top-k \d+")
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d[\d,]*\.?\d*|\.\d+)%?(?!\w)")
KEPT = ("paper", "environment", "gap", "gap_at_least")
SAID_BY_THE_FIELD = {"95", ".8", ".05", "1", "2", "3", "5", "0", "400"}  # levels, list numbers, Elo
MADE_UP = {"1.00", ".00"}  # how often an answer of `made_up_candidates` is picked


@pytest.mark.parametrize("name", PAGES)
def test_every_section_of_the_pages_is_that_of_the_recorded_run(name: str) -> None:
    page = (ROOT / PAGES[name]).read_text(encoding="utf-8")
    assert between_marks(page, name)[1] == SECTIONS[name](recorded(name)).strip()


def test_a_run_from_a_plain_base_gives_its_own_section_and_leaves_the_others(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages, run = tmp_path / "pages", tmp_path / "run"
    (pages / "figures").mkdir(parents=True)
    run.mkdir()
    for file in {*PAGES.values(), "figures/results.json", "figures/beyond.json"}:
        shutil.copy(ROOT / file, pages / file)
    monkeypatch.setattr(readme, "ROOT", pages)
    found = read_json(ROOT / "figures" / "gemma.json")
    found["text_metrics"]["sft"] |= {"stopped_at_limit": .25, "stopped_at_limit_low": .2,
                                     "stopped_at_limit_high": .3125}
    write_json(run / "results.json", found)
    readme.main(str(run))
    assert "sft .75 [.69, .80], dpo" in (pages / "figures/README.md").read_text(encoding="utf-8")
    assert (pages / "README.md").read_text(encoding="utf-8") == (ROOT / "README.md").read_text(
        encoding="utf-8")
    assert read_json(pages / "figures/results.json") == read_json(RECORDED)


@pytest.mark.parametrize(("reader", "dpo", "selector", "sentence"), [
    ((.56, .67), (.47, .57), .77, "answers helps this small model, but less than the picker itself "
                                  "says; DPO alone is not shown to help it."),
    ((.56, .67), (.51, .60), .60, "answers helps this small model; DPO alone helps it."),
    ((.46, .57), (.40, .48), .77, "answers is not shown to help this small model, whatever the "
                                  "picker itself says; DPO alone harms it.")])
def test_the_finding_is_one_plain_sentence_that_follows_the_intervals(
        reader: tuple, dpo: tuple, selector: float, sentence: str) -> None:
    def row(a: str, judge: str, low: float, high: float, rate: float | None = None) -> dict:
        return {"a": a, "b": "sft", "judge": judge, "n": 198, "ci_low": low, "ci_high": high,
                "win_rate": (low + high) / 2 if rate is None else rate}
    best = "sft+bon4@0.6"
    results = {"confounds": [(best, "sft")], "reader": {"same_answers": [
        row(best, OWN_READER, *reader), row(best, "judge", .6, .7),
        row(best, "selector", .5, .9, selector), row("dpo", OWN_READER, *dpo)]}}
    section = SECTIONS["finding"](results)
    assert section.startswith(f"**Picking the best of 4 {sentence}** {readable(best)} wins ")
    assert section.count("**") == 2


def test_the_readme_fits_a_page() -> None:
    """Words of prose and tables; the recorded numbers and pictures beside them are not counted."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("finding", "summary"):
        page = page.replace(between_marks(page, name)[1], "")
    assert len(page.split()) <= 1000


def test_the_readme_says_this_runs_own_reader_first_and_earlier_answers_nowhere() -> None:
    results = read_json(RECORDED)
    a, b = results["confounds"][0]
    systems = read_systems(names=(b, a))
    reading = read_counts(systems) | by_reader("this run's answers", systems, OWN_READER, [(a, b)],
                                               4) | {
        "readers": [{"reader": "Ada", "kind": "person", "blind": True, "n": 43}],
        "judge_quality": own_judge_quality(systems, ROLES), "reliability": [],
        "corrected": own_corrected(systems, [(a, b)], "judge", {(a, b): {}})}
    section = results_section(results | {"reader": reading})
    assert section.startswith("**By the blind reader.** 43 different answers to 24 prompts were "
                              "read, by Ada (a person), 43 answers.")
    assert "this run's answers, 24 prompts" in section
    assert "earlier answers" not in section
    assert "No one has read" in results_section(results | {"reader": {}})


def test_the_readmes_speeds_are_those_of_the_recorded_benchmarks() -> None:
    page = speeds.PAGE.read_text(encoding="utf-8")
    assert speeds.put(page, "speed", speeds.speed_table(ROOT / "figures" / "bench")) == page


def test_every_number_that_notebooks_05_and_07_show_is_read_from_results_json(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """With every measured number moved, nothing of the old ones is shown: none is written in."""
    results = moved(read_json(RECORDED))
    known = set(renderings(results)) | SAID_BY_THE_FIELD | MADE_UP
    counts = max(len(rows) for rows in lists(results))
    shown = displayed(results, monkeypatch)
    assert len(shown) > 30
    strange = [(token, text[:80]) for text in shown for token in numbers(text)
               if token not in known and not (token.isdigit() and int(token) <= counts)]
    assert strange == []


def test_the_notebooks_own_words_hold_no_measured_number() -> None:
    prose = " ".join(source(cell) for notebook in NOTEBOOKS
                     for cell in json.loads(notebook.read_text())["cells"]
                     if cell["cell_type"] == "markdown" and "Solution" not in source(cell))
    assert set(numbers(prose)) <= SAID_BY_THE_FIELD | {"0.6", "200", "7", "4", "64"}


def made_up_candidates() -> CandidateBoard:
    """Two prompts with four answers of each policy; the fourth is picked from any draw."""
    scores = {role: np.array([[1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 3.0, 4.0]]) for role in ROLES}
    texts = np.array([[f"{place}" for place in range(4)]] * 2, dtype=object)
    pool = Candidates(("p0", "p1"), ("", ""), scores, texts, np.ones((2, 4)), np.ones((2, 4)))
    return CandidateBoard({("sft", 0.6): pool, ("dpo", 0.6): pool}, ROLES, 0.6)


def displayed(results: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the notebooks' cells would show of these results: tables, sentences, figure titles."""
    shown: list[str] = []
    monkeypatch.setattr(IPython.display, "display", lambda item: shown.append(item.data))
    monkeypatch.setattr(go.Figure, "show", lambda figure: shown.append(
        figure.layout.title.text + " | " + (figure.layout.title.subtitle.text or "")))
    for name, stand_in in STAND_INS.items():
        monkeypatch.setattr(name, stand_in)
    monkeypatch.setattr("lib.study.run.open_study", lambda *_, **__: _Study())
    monkeypatch.setattr("lib.study.stages.results.evaluate_study", lambda _: results)
    for notebook in NOTEBOOKS:
        names: dict[str, Any] = {}
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code" and "plan" not in cell["metadata"].get("tags", []):
                exec(source(cell), names)  # the notebook is ours; a plan's numbers are computed
    return shown


class _Study:
    """As much of a study as the notebook's tables ask for."""

    folder = None

    class profile:  # noqa: N801
        class sampling:  # noqa: N801
            samples, temperature = 4, 0.6


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def numbers(text: str) -> list[str]:
    """Numbers as they are written, without those inside names of systems."""
    return [token.rstrip(",.") for token in NUMBER.findall(SYSTEM.sub(" ", text))]


def moved(value: Any, key: str = "") -> Any:
    """The results with every measured fraction changed; the paper's and the settings stay."""
    if key in KEPT or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {name: moved(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [moved(item, key) for item in value]
    return value * 0.93 + 0.0137 if isinstance(value, float) else value


def lists(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) \
            else ():
        yield from lists(item)


def renderings(value: Any) -> Iterator[str]:
    """Every way in which the report writes a number of the results."""
    if isinstance(value, dict):
        for item in value.values():
            yield from renderings(item)
    elif isinstance(value, list):
        for item in value:
            yield from renderings(item)
    elif isinstance(value, str):
        yield from numbers(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _written(value)


def _written(value: float) -> Iterator[str]:
    if isinstance(value, int):
        yield from (str(value), f"{value:,}")
    for digits in range(5):
        yield from (format_number(value, digits), f"{value:.{digits}f}", f"{value:+.{digits}f}",
                    f"{value:.{digits}%}")
    yield f"{value:g}"
    if 0 <= value < 0.001:
        yield ".001"  # "< .001"


def test_a_number_written_into_the_notebook_would_be_found(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notebook = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))
    notebook["cells"].append({"cell_type": "code", "metadata": {}, "source": [
        'display(Markdown("The judge is right in .7351 of pairs."))']})
    forged = tmp_path / "forged.ipynb"
    forged.write_text(json.dumps(notebook), encoding="utf-8")
    monkeypatch.setattr(f"{__name__}.NOTEBOOKS", [forged])
    results = moved(read_json(RECORDED))
    shown = displayed(results, monkeypatch)
    assert numbers(shown[-1]) == [".7351"]
    assert ".7351" not in set(renderings(results))
