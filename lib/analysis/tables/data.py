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
        "part": "part", "read as": _layouts, "rows read": "rows", "kept": "kept",
        "dropped, and why": _dropped, "cut at the limit": "truncated",
        "without their end-of-turn token": "lost_end", "used by this run": "used"})


def overlap_table(overlap: Mapping[str, Any]) -> str:
    """Prompts that training shares with the held-out set: look for zeros."""
    return markdown_table([{
        "train": overlap["train"], "heldout": overlap["heldout"], "exact": len(overlap["exact"]),
        "near": len(overlap["near"])}], {
            "training prompts": "train", "held-out prompts": "heldout",
            "the same": "exact", "nearly the same": "near"})


def _layouts(row: Mapping[str, Any]) -> str:
    """`ShareGPT`, or `3 ShareGPT, 1 messages`; the run's own pairs have no file's layout."""
    layouts = row.get("read_as", {})
    if len(layouts) < 2:
        return "".join(layouts)
    return ", ".join(f"{count:,} {name}" for name, count in layouts.items())


def _dropped(row: Mapping[str, Any]) -> str:
    """`3 duplicate, 1 tie`, or `none`."""
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}"
                     for reason, count in row["dropped"].items()) or "none"


def _used(rows: Mapping[str, int], part: str) -> str:
    """The rows that train, and those that validate."""
    validation = rows.get(f"{part}_validation")
    return f"{rows[part]:,}" + ("" if validation is None else
                                f" to train, {validation:,} to validate")
