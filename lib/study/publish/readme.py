"""`python -m lib.study.publish.readme runs/laptop` writes a run's numbers into README and figures/.

The README gets the finding and one table, figures/README.md all tables, each between two marks, and
figures/ the run's results.json and pictures: a command regenerates every number of both pages.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib import ROOT
from lib.analysis import tables
from lib.analysis.comparisons.family import EVEN
from lib.analysis.comparisons.paper import paper_row
from lib.analysis.figures.theme import readable
from lib.analysis.judges.audit import READER
from lib.analysis.tables import formatting
from lib.analysis.tables.findings import confound, forecast_findings
from lib.analysis.tables.formatting import format_number, interval
from lib.inference.rewards import OWN_READER
from lib.inference.systems import System
from lib.runtime.files import read_json, write_text
from lib.runtime.progress import duration, say
from lib.study.policies import POLICIES
from lib.study.publish.reader_lines import (
    corrected_lines,
    paper_lines,
    reader_lines,
    reading_of,
)
from lib.study.publish.training_lines import training_lines

MARKS = "<!-- {name}: begin -->", "<!-- {name}: end -->"
PAGES = {"finding": "README.md", "summary": "README.md", "results": "figures/README.md",
         "beyond": "figures/README.md", "gemma": "figures/README.md"}
RECORDED = {"beyond": "beyond.json", "gemma": "gemma.json"}  # results.json for the other sections
EVEN_RATE = 0.5
FIGURES = ("win_rates.svg", "warning.svg")


def finding_section(results: Mapping[str, Any]) -> str:
    """The main finding in a plain sentence, then its rates: by a reader, a judge, the selector."""
    rows, (best, sft) = _by_pair(results), results["confounds"][0]
    found = rows[best, sft]
    reader = found.get(OWN_READER) or found[READER]
    dpo = rows["dpo", "sft"].get(OWN_READER) or rows["dpo", "sft"][READER]
    claimed = "" if found["selector"]["win_rate"] <= reader["ci_high"] else (
        ", but less than the picker itself says" if _effect(reader) == "helps" else
        ", whatever the picker itself says")
    by_reader, by_judge, by_selector, of_dpo = (
        interval(row, "win_rate") for row in (reader, found["judge"], found["selector"], dpo))
    return (f"**Picking the best of {System.parse(best).n} answers {_effect(reader)} this small "
            f"model{claimed}; DPO alone {_effect(dpo)} it.** {readable(best)} wins {by_reader} of "
            f"prompts over a single answer of SFT by a blind reader, {by_judge} by a judge, and "
            f"{by_selector} by the selector that picked it. A single answer of DPO wins {of_dpo} "
            f"over one of SFT by the reader (n = {reader['n']} prompts, the same answers for all; "
            "a tie is half a win; 95 % intervals).")


def _effect(row: Mapping[str, Any]) -> str:
    """What a win rate says of a change, by its interval."""
    if row["ci_low"] > EVEN_RATE:
        return "helps"
    return "harms" if row["ci_high"] < EVEN_RATE else "is not shown to help"


def summary_section(results: Mapping[str, Any]) -> str:
    """The comparisons that were decided on beforehand, by reader, judge, selector and the paper."""
    rows = _by_pair(results)
    judged = {(row["a"], row["b"], row["judge"]): row for row in results["win_rates"]}
    pairs = list(dict.fromkeys((row["a"], row["b"]) for row in results["win_rates"]))
    reader = OWN_READER if results.get("reader") else READER

    def rate_by(judge: str) -> formatting.Cell:
        return lambda row: formatting.with_n(judged.get((row["a"], row["b"], judge)))

    return formatting.markdown_table([{"a": a, "b": b} for a, b in pairs], {
        "comparison": formatting.versus,
        f"{reader} [95 %]": lambda row: formatting.with_n(
            rows.get((row["a"], row["b"]), {}).get(reader)),
        **{f"{judge} [95 %]": rate_by(judge) for judge in ("judge", "selector")},
        "the paper": lambda row: format_number((paper_row(row["a"], row["b"]) or {}).get(
            "win_rate"), 3)})


def _by_pair(results: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Mapping[str, Any]]]:
    """Rates on the same answers: (a, b) -> judge -> row."""
    reading = reading_of(results)
    found: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in reading.get("same_answers") or reading["win_rates"]:
        found.setdefault((row["a"], row["b"]), {})[row["judge"]] = row
    return found


def results_section(results: Mapping[str, Any]) -> str:
    """All tables of figures/README.md as Markdown, from results.json alone."""
    by_judge = [row for row in results["win_rates"] if row["judge"] == "judge"]
    reading = reading_of(results)
    return "\n\n".join([
        *reader_lines(results), *trap_lines(reading, results["confounds"]),
        *selection_lines(reading),
        "**The comparisons that were decided on beforehand**, by the judge, over all pairs of "
        "answers to the held-out prompts (shares of wins, ties and losses; ties are half a win; "
        "95 % intervals; Holm's correction is over these rows). *Sees*: a test at .05 finds such "
        "an effect with power .8. *Differ by at most*: two one-sided tests at .05; within "
        f"{format_number(EVEN)} the two are called even:",
        formatting.win_rate_table(by_judge), formatting.DOUBTFUL,
        tables.refits_finding(results["audit"].get("refits", [])), *seed_lines(results),
        "**Beside the paper** (other model, data, judge and base):",
        paper_lines(results),
        training_lines(results),
        "**Judges**, against the blind reader:",
        tables.judge_quality_table(reading["judge_quality"]), *corrected_lines(results),
        "**Time and memory**, two CPU cores:", timings_table(results)])


def trap_lines(reading: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """The confounded comparisons by selector, judge and reader, on the same answers and prompts."""
    rows = reading.get("same_answers") or reading["win_rates"]  # earlier results have rates alone
    shown = "\n".join(f"- {line}" for a, b in pairs if (line := confound(rows, a, b)))
    return ["**The trap, in our own numbers.** The same answers by the selector, by another head "
            "that was fitted on other prompts (the judge), and by the blind reader; ties are half "
            "a win, and the reader ties often, at the floor of its scale, which pulls its rates "
            "to .50:", shown]


def selection_lines(reading: Mapping[str, Any]) -> list[str]:
    """What Best-of-N buys by the reader, and what selector and judge share; none in old results."""
    if "forecast" not in reading:
        return []
    return ["**What Best-of-N buys, by the reader**: a forecast from how often it orders two "
            "answers as the selector does.", forecast_findings(reading["forecast"]),
            "**What the judges share** within a prompt; judges whose errors have nothing in common "
            "would keep 0 without the reader's part:",
            tables.correlations_table(reading["correlations"])]


def seed_lines(results: Mapping[str, Any]) -> list[str]:
    """The spread of the judge's win rates over seeds, if the run has several."""
    rows = [row for row in results["seeds"] if row["judge"] == "judge"]
    return ["**Over seeds** (training and sampling again, the same prompts):",
            tables.seeds_table(rows)] if rows else []


def timings_table(results: Mapping[str, Any]) -> str:
    """Seconds and peak memory of each stage."""
    total = sum(row["seconds"] for row in results["timings"])
    rows = [*results["timings"], {"stage": "all", "seconds": total, "peak_memory_gb": max(
        row["peak_memory_gb"] for row in results["timings"])}]
    return formatting.markdown_table(rows, {
        "stage": "stage", "time": lambda row: duration(row["seconds"]),
        "peak memory": lambda row: f"{row['peak_memory_gb']:.1f} GB"})


def beyond_section(beyond: Mapping[str, Any]) -> str:
    """The arms of notebook 06 as Markdown, from beyond.json alone."""
    return "\n\n".join([
        tables.arms_findings(beyond["first"], {}, beyond["reader"]),
        tables.arms_table(beyond["arms"], beyond["seed"], beyond["sft"]),
        tables.arm_verdicts_table(beyond["verdicts"], beyond["reader"]),
        tables.reader_forecast_sentence(beyond["reader"]),
        tables.controls_finding(beyond["controls"], beyond["arms"]),
        tables.payments_finding(beyond["arms"], beyond["verdicts"], beyond["payments"],
                                beyond["samples"], beyond["sft"]),
        tables.payments_table(beyond["arms"], beyond["verdicts"], beyond["payments"],
                              beyond["samples"])])


def plain_base_section(results: Mapping[str, Any]) -> str:
    """What a run from a plain base gave, as Markdown, from its results.json alone."""
    by_judge = [row for row in results["win_rates"] if row["judge"] == "judge"]
    return "\n\n".join([
        endings_line(results["text_metrics"]), *reader_lines(results),
        "**The comparisons that were decided on beforehand**, by the judge, as above:",
        formatting.win_rate_table(by_judge), training_lines(results),
        f"**Time and memory**: {duration(sum(row['seconds'] for row in results['timings']))}, "
        f"{max(row['peak_memory_gb'] for row in results['timings']):.1f} GB."])


def endings_line(metrics: Mapping[str, Any]) -> str:
    """How many of each policy's single answers end before the limit of tokens."""
    ends = {policy: {"ended": 1 - row["stopped_at_limit"], "low": 1 - row["stopped_at_limit_high"],
                     "high": 1 - row["stopped_at_limit_low"], "n": row["n"]}
            for policy, row in metrics.items() if policy in POLICIES}
    shown = ", ".join(f"{policy} {interval(row, 'ended', 'low', 'high')}"
                      for policy, row in ends.items())
    return (f"Answers that end by themselves, before the limit of tokens: {shown} "
            f"(n = {next(iter(ends.values()))['n']} each).")


SECTIONS = {"finding": finding_section, "summary": summary_section, "results": results_section,
            "beyond": beyond_section, "gemma": plain_base_section}


def between_marks(page: str, name: str) -> tuple[str, str, str]:
    """A page's text before, between and after the marks of a section."""
    begin, end = (mark.format(name=name) for mark in MARKS)
    before, rest = page.split(begin)
    shown, after = rest.split(end)
    return f"{before}{begin}", shown.strip(), f"{end}{after}"


def recorded(name: str) -> Any:
    """What a section is read from, as figures/ keeps it."""
    return read_json(ROOT / "figures" / RECORDED.get(name, "results.json"))


def main(run: str) -> None:
    """Rewrite the pages' numbers and the figures from a run folder; what it lacks stays.

    A run of the profile gemma gives its own section and no picture.
    """
    folder = Path(run)
    if read_json(folder / "results.json")["profile"] == "gemma":
        copies = {"results.json": RECORDED["gemma"]}
    else:
        copies = {source: Path(source).name for source in (
            "results.json", "beyond/beyond.json", *(f"figures/{name}" for name in FIGURES))}
    for source, target in copies.items():
        if (folder / source).exists():
            shutil.copy(folder / source, ROOT / "figures" / target)
    for name, file in PAGES.items():
        before, _, after = between_marks((ROOT / file).read_text(encoding="utf-8"), name)
        write_text(ROOT / file, f"{before}\n\n{SECTIONS[name](recorded(name))}\n\n{after}")
    say(f"README.md and figures/ now show {run}")


if __name__ == "__main__":
    main(*sys.argv[1:])
