"""Tables of the data: rows kept of each part, and prompts shared with the held-out set.

The report of `lib.study.stages.data.prepare_data` in, Markdown out.
"""

from collections.abc import Mapping
from typing import Any

from lib.analysis.tables.formatting import markdown_table

PARTS = {"sft": "SFT conversations", "preferences": "preference pairs",
         "heldout": "held-out prompts"}


def kept_rows_table(report: Mapping[str, Any]) -> str:
    """Rows kept by part: look at how many were dropped and why, and how many lost their end."""
    rows = [{"part": name, "used": _used(report["rows"], part)} | report[part]
            for part, name in PARTS.items()]
    return markdown_table(rows, {
        "part": "part", "rows read": "rows", "kept": "kept",
        "dropped, and why": _dropped, "cut at the limit": "truncated",
        "without their end-of-turn token": "lost_end", "used by this run": "used"})


def layouts_table(report: Mapping[str, Any]) -> str:
    """What the rows of each part were read as, by their columns: look for an unexpected name."""
    rows = [{"part": name, "layout": layout, "rows": count,
             "columns": ", ".join(report[part]["columns"][layout])}
            for part, name in PARTS.items()
            for layout, count in report[part].get("read_as", {}).items()]
    return markdown_table(rows, {"part": "part", "read as": "layout", "rows": "rows",
                                 "columns of the first": "columns"}, "No file was read.")


def left_out_table(report: Mapping[str, Any]) -> str:
    """Rows, and parts of rows, that are not used: look at the first of each, with its file."""
    rows = [{"part": name, "first": sentence, **_counted(report[part], reason)}
            for part, name in PARTS.items()
            for reason, sentence in report[part].get("examples", {}).items()]
    return markdown_table(rows, {"part": "part", "left out": "what", "rows": "rows",
                                 "the first": "first"}, "No row is left out.")


def overlap_table(overlap: Mapping[str, Any]) -> str:
    """Prompts that training shares with the held-out set: look for zeros."""
    return markdown_table([{
        "train": overlap["train"], "heldout": overlap["heldout"], "exact": len(overlap["exact"]),
        "near": len(overlap["near"])}], {
            "training prompts": "train", "held-out prompts": "heldout",
            "the same": "exact", "nearly the same": "near"})


def _counted(report: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """How many rows are dropped for a reason, or hold what is not read, and its name."""
    if reason in report["dropped"]:
        return {"what": reason, "rows": report["dropped"][reason]}
    name = reason.removeprefix("unread ")
    return {"what": f"{name}, beside the text", "rows": report["not_read"][name]}


def _dropped(row: Mapping[str, Any]) -> str:
    """`3 duplicate, 1 tie`, or `none`."""
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}"
                     for reason, count in row["dropped"].items()) or "none"


def _used(rows: Mapping[str, int], part: str) -> str:
    """The rows that train, and those that validate."""
    validation = rows.get(f"{part}_validation")
    return f"{rows[part]:,}" + ("" if validation is None else
                                f" to train, {validation:,} to validate")
