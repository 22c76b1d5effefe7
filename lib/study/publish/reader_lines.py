"""The README's lines on the reader: this run's own where it has one, first of all verdicts."""

from collections.abc import Mapping
from typing import Any

from lib.analysis import tables
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


def corrected_lines(results: Mapping[str, Any]) -> list[str]:
    """The judge's rates of the confounded comparisons with what a reader takes off them."""
    own, pairs = bool(results.get("reader")), [tuple(pair) for pair in results["confounds"]]
    rows: list[Row] = [row for row in reading_of(results)["corrected"]
                       if (row["a"], row["b"]) in pairs and row["judge"] == "judge"]
    whose = "the read prompts of this run" if own else "earlier answers"
    return [f"**The same rates with the judge's mean error taken off** (the error is known from "
            f"{whose}; *pooled* is the reader's rate, made more exact by the judge's):",
            tables.corrected_table(rows, results["win_rates"],
                                   "reader, read prompts" if own else "reader, earlier answers")]
