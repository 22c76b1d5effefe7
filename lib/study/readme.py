"""`python -m lib.study.readme runs/laptop`: puts a run's numbers and figures into the README.

Only the text between the two result marks is replaced; the figures that the README shows are copied
to figures/. So no number stands there that no command regenerates.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib import ROOT
from lib.analysis.findings import confound
from lib.analysis.reports import markdown_table, number, paper_table, rate, win_rate_table
from lib.runtime.files import read_json, write_text
from lib.runtime.progress import duration, say

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
FIGURES = ("win_rates.svg", "sample_quality.svg")


def results_section(results: Mapping[str, Any]) -> str:
    """The README's results as Markdown, every number from results.json."""
    by_judge = [row for row in results["win_rates"] if row["judge"] == "judge"]
    confounds = "\n".join(f"- {confound(results['win_rates'], results['audit']['win_rates'], a, b)}"
                          for a, b in results["confounds"])
    return "\n\n".join([
        "**The trap, in our own numbers.** The same comparison by the selector that picked the "
        "answers, by an independent judge, and by a blind reader of an earlier run:", confounds,
        "**By the judge, on the held-out prompts** (ties are half a win; 95 % intervals):",
        win_rate_table(by_judge), "**Beside the paper** (other model, data, judge and base):",
        paper_table(results["win_rates"], ["judge", "selector"]), training_lines(results),
        "**Judges**, against the blind reader:", judges_table(results),
        "**Time and memory**, two CPU cores:", timings_table(results)])


def training_lines(results: Mapping[str, Any]) -> str:
    """Validation loss of SFT, reward accuracy of DPO, and the warning run, in three sentences."""
    sft, dpo, other = results["sft_eval"], results["dpo_eval"], results["dpo_other_eval"]
    lines = [f"- SFT: validation loss {sft['loss_before']:.3f} to {sft['loss_after']:.3f} nats a "
             f"token (n = {sft['n']} conversations)."]
    for name, found in (("DPO", dpo), ("The warning run of notebook 03", other)):
        if found:
            first, last = found["samples"][0], found["samples"][-1]
            lines.append(
                f"- {name}: validation reward accuracy {_accuracy(found['accuracy'])}, margin "
                f"{found['rewards/margins']:.3f}; judge's mean score of {last['n']} fresh "
                f"validation answers {first['judge_score']:.2f} to {last['judge_score']:.2f}, "
                f"repeated 4-grams {first['repetition']:.3f} to {last['repetition']:.3f}.")
    return "\n".join(["**Training**, on validation prompts:", "", *lines])


def _accuracy(row: Mapping[str, Any]) -> str:
    shown = rate({"win_rate": row["accuracy"], "ci_low": row["ci_low"], "ci_high": row["ci_high"]})
    return f"{shown} on {row['n']} pairs"


def judges_table(results: Mapping[str, Any]) -> str:
    """Accuracy of selector and judge on the audit, by the reader's gap."""
    return markdown_table(results["audit"]["judge_quality"], {
        "judge": "judge", "reader's gap of at least": "gap", "pairs": "n",
        "accuracy [95 %]": lambda row: rate({"win_rate": row["accuracy"], **row}),
        "kappa": lambda row: number(row["kappa"])})


def timings_table(results: Mapping[str, Any]) -> str:
    """Seconds and peak memory of each stage."""
    total = sum(row["seconds"] for row in results["timings"])
    rows = [*results["timings"], {"stage": "all", "seconds": total, "peak_memory_gb": max(
        row["peak_memory_gb"] for row in results["timings"])}]
    return markdown_table(rows, {"stage": "stage", "time": lambda row: duration(row["seconds"]),
                                 "peak memory": lambda row: f"{row['peak_memory_gb']:.1f} GB"})


def main(run: str) -> None:
    """Rewrite the README's results and the figures it shows from a run folder."""
    folder = Path(run)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    section = results_section(read_json(folder / "results.json"))
    write_text(ROOT / "README.md", f"{before}{BEGIN}\n\n{section}\n\n{END}{after}")
    (ROOT / "figures").mkdir(exist_ok=True)
    shutil.copy(folder / "results.json", ROOT / "figures" / "results.json")
    for name in FIGURES:
        if (folder / "figures" / name).exists():
            shutil.copy(folder / "figures" / name, ROOT / "figures" / name)
    say(f"README.md and figures/ now show {run}")


if __name__ == "__main__":
    main(*sys.argv[1:])
