"""The README's lines on the reader: this run's own where it has one, first of all verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

from lib.analysis import tables
from lib.analysis.tables import formatting
from lib.inference.rewards import OWN_READER
from lib.runtime.files import Row

EARLIER = ("No one has read this run's answers. The judge below was measured on earlier answers "
           "(`audit.jsonl`), and its win rates are its own.")


def reading_of(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reader says: of this run's answers, or else of the audit's earlier ones."""
    return results.get("reader") or results["audit"]


def reader_lines(results: Mapping[str, Any]) -> list[str]:
    """Who wins by the run's own reader, and how far two readers agree."""
    reading = results.get("reader")
    if not reading:
        return [EARLIER]
    shared = ["**Two readers** of the same answers:",
              tables.reliability_table(reading["reliability"])] if reading["reliability"] else []
    return ["**By the blind reader.** " + tables.who_read(reading) + " Ties are half a win; "
            "selector and judge are shown on the same answers and prompts:",
            tables.reader_table(reading["same_answers"]), *shared]


def paper_lines(results: Mapping[str, Any]) -> str:
    """The paper's comparisons beside ours, by the run's own reader where it has one."""
    reading = results.get("reader")
    read = [row for row in reading["same_answers"] if row["judge"] == OWN_READER] if reading else []
    return formatting.paper_table([*results["win_rates"], *read],
                                  [*[OWN_READER] * bool(read), "judge", "selector"])


def corrected_lines(results: Mapping[str, Any]) -> list[str]:
    """The judge's rates of the confounded comparisons with what a reader takes off them."""
    own, pairs = bool(results.get("reader")), [tuple(pair) for pair in results["confounds"]]
    rows: list[Row] = [row for row in reading_of(results)["corrected"]
                       if (row["a"], row["b"]) in pairs and row["judge"] == "judge"]
    whose = "the read prompts of this run" if own else "earlier answers"
    return ["**The judge's rates with its mean error taken off** (the error is known from "
            f"{whose}; *pooled* is the reader's rate, made more exact by the judge's):",
            corrected_rows_table(results, rows)]


def corrected_rows_table(results: Mapping[str, Any], rows: Sequence[Row] | None = None) -> str:
    """`corrected_table` of the run's own reader or, without one, of the audit's."""
    rows = reading_of(results)["corrected"] if rows is None else rows
    if not results.get("reader"):
        return tables.corrected_table(rows, results["win_rates"])
    judged = [{**row, "win_rate": row["judge_rate"], "ci_low": row["judge_low"],
               "ci_high": row["judge_high"], "n": row["judged"]} for row in rows]
    return tables.corrected_table(rows, judged, "reader, read prompts")
