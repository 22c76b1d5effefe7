"""Numbers, tables and sentences for notebooks and the README: rows in, text out.

Numbers have no zero before the point (`.62`); a rate has two decimals, a count thousands commas. A
comparison whose interval includes one half is undecided; beside it stands how large an effect the
prompts can show and still leave. `as_markdown` makes any text safe inside Markdown.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from numbers import Integral, Real
from typing import Any

from lib.analysis.comparisons.family import EVEN
from lib.analysis.comparisons.paper import paper_row
from lib.runtime.files import Record, Row

Cell = Callable[[Row], object]
Columns = Mapping[str, str | Cell]
MISSING = "–"
DOUBTFUL = ("† read this length control with care: it changes the rate strongly, or length alone "
            "separates wins from losses.")
MAIL_ADDRESS = re.compile(r"(?<![`\w.+/-])[\w.+/-]+@[\w.+/-]*\w")
TAG = re.compile(r"<(?=[A-Za-z/!?])")


def markdown_table(rows: Sequence[Row], columns: Columns, empty: str = "") -> str:
    """A Markdown table; columns: heading -> key of the row, or a function of the row.

    empty: the sentence that replaces a table without rows.
    """
    if empty and not rows:
        return empty
    lines = [[as_markdown(heading) for heading in columns], ["---"] * len(columns)]
    lines += [[as_markdown(_cell(row, column)) for column in columns.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def crossed_table(rows: Sequence[Row], down: str, across: Callable[[Row], str],
                  cell: Callable[[Row], str], empty: str = "") -> str:
    """A Markdown table with a line for each value of the key `down`, a column for each `across`."""
    lines: dict[str, Row] = {}
    for row in rows:
        lines.setdefault(row[down], {down: row[down]})[across(row)] = cell(row)
    headings = [down, *map(across, rows)]
    return markdown_table(list(lines.values()), {name: name for name in headings}, empty)


def html_table(rows: Sequence[Row], columns: Columns) -> str:
    """The same as HTML, every cell escaped; columns of words align left, of numbers right."""
    parts = []
    for heading, column in columns.items():
        texts = [_cell(row, column) for row in rows]
        side = "left;white-space:pre-wrap" if any(map(_has_words, texts)) else "right"
        style = f' style="vertical-align:top;text-align:{side}"'
        parts.append([f"<th{style}>{escape(heading)}</th>",
                      *(f"<td{style}>{escape(text)}</td>" for text in texts)])
    head, *lines = ("".join(cells) for cells in zip(*parts, strict=True))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def as_markdown(text: str) -> str:
    """Text that Markdown shows literally, on one line and inside a table.

    A system's name (`dpo+bon4@0.6`) becomes code, because renderers would make a mail link of it;
    HTML tags and links of hostile text stay text.
    """
    text = TAG.sub("&lt;", text).replace("](", "]\\(").replace("|", "\\|").replace("\n", " ")
    return MAIL_ADDRESS.sub(lambda match: f"`{match[0]}`", text)


def bullets(lines: Sequence[str]) -> str:
    """Sentences as a Markdown list."""
    return "\n".join(f"- {as_markdown(line)}" for line in lines)


def shown_answer(candidate: Row) -> str:
    """A candidate's text, with "… (cut at 128 tokens)" after one that the token limit cut."""
    if candidate.get("finish") != "length":
        return candidate["text"]
    return f"{candidate['text'].rstrip()}… (cut at {candidate['tokens']} tokens)"


def win_rate_table(rows: Sequence[Row]) -> str:
    """Every comparison: look at whether the interval excludes .50, and then at Holm's p.

    Shares of wins, ties and losses over all pairs of answers, or counts of single draws.
    """
    return markdown_table(rows, {
        "comparison": versus, "judge": "judge", "n": "n",
        "wins / ties / losses": lambda row: " / ".join(
            format_number(row[key]) for key in ("wins", "ties", "losses")),
        "win rate [95 %]": format_rate, "Holm p": lambda row: p_value(row.get("holm_p")),
        "length-controlled": length_controlled,
        "conclusion": conclusion})


def paper_table(rows: Sequence[Row], judges: Sequence[str]) -> str:
    """The paper's comparisons: look at how far apart its rate and ours by each of `judges` lie."""
    pairs = dict.fromkeys((row["a"], row["b"]) for row in rows)
    ours = {(row["a"], row["b"], row["judge"]): row for row in rows}

    def ours_by(judge: str) -> Cell:
        return lambda row: with_n(ours.get((row["a"], row["b"], judge)))

    return markdown_table([row for pair in pairs if (row := paper_row(*pair))], {
        "comparison": versus,
        "paper, n = 200 [95 %]": interval_of("win_rate", digits=3),
        **{f"ours, {judge} [95 %]": ours_by(judge) for judge in judges}})


def claims_table(claims: Sequence[Row]) -> str:
    """The paper's claims: look at which of them its own numbers support, and why."""
    return markdown_table(claims, {"claim of the paper": "claim", "survives": "survives",
                                   "why": "why"})


def decided(row: Row) -> bool:
    """Whether the interval of a comparison excludes one half; a constant has no interval."""
    return row["ci_low"] is not None and not row["ci_low"] <= 0.5 <= row["ci_high"]


def conclusion(row: Row) -> str:
    """Who wins, or how large an effect this many prompts see and leave possible."""
    if row.get("by_construction"):
        return "nothing: it follows from counting"
    if row.get("n") == 0:
        return "nothing: no prompt has a verdict on both answers"
    if decided(row):
        winner = row["a"] if row["ci_low"] > 0.5 else row["b"]
        return f"{winner} wins{_unless_corrected(row)}"
    return f"{_verdict(row)}: {resolution(row)}"


def _unless_corrected(row: Row) -> str:
    """A remark where the test is not significant after the correction for multiple tests."""
    lost = row.get("holm_p") is not None and row["holm_p"] >= 0.05
    return ", but not after Holm's correction" if lost else ""


def _verdict(row: Row) -> str:
    """An undecided comparison is settled as even where the margin decided beforehand holds it."""
    within = row.get("equivalent_within")
    return "undecided" if within is None or within > EVEN else "even"


def resolution(row: Row) -> str:
    """The smallest effect that a test of this n sees, and the largest that its data leave.

    Power .8 and level .05; the second by two one-sided tests at .05.
    """
    smallest, within = (format_number(row.get(key)) for key in (
        "smallest_effect", "equivalent_within"))
    return f"n = {row['n']:,} sees effects of at least {smallest}; they differ by at most {within}"


def verdict_lines(rows: Sequence[Row], judge: str) -> list[str]:
    """All comparisons by one judge in a sentence for each kind of verdict, null results included.

    A rate is the first system's; a star marks what does not stand after Holm's correction.
    """
    told: dict[str, list[str]] = {}
    for row in rows:
        kind = ("decided" if decided(row) else
                "given by counting" if row.get("by_construction") else
                "no prompt judged" if row.get("n") == 0 else _verdict(row))
        star = "*" if kind == "decided" and _unless_corrected(row) else ""
        told.setdefault(kind, []).append(f"{versus(row)} {format_rate(row)}{star}")
    return [f"By the {judge}, {kind}: {'; '.join(found)}." + (
        " (* not after Holm's correction)" if any(each.endswith("*") for each in found) else "")
        for kind, found in told.items()]


def format_rate(row: Row) -> str:
    """`.62 [.55, .68]`."""
    return interval(row, "win_rate")


def length_controlled(row: Row) -> str:
    """`.62 [.55, .68]`, marked where the correction is extreme or the data needed a penalty."""
    shown = interval(row, "length_controlled", "length_controlled_low", "length_controlled_high")
    return shown + (" †" if row.get("length_extreme") or row.get("length_penalty") else "")


def interval(row: Record, key: str, low: str = "ci_low", high: str = "ci_high",
             digits: int = 2) -> str:
    """`.62 [.55, .68]` from three keys of a row; the value alone without its ends."""
    value = format_number(row.get(key), digits)
    if row.get(key) is None or row.get(low) is None:
        return value
    return f"{value} [{format_number(row[low], digits)}, {format_number(row[high], digits)}]"


def with_n(row: Record | None, key: str = "win_rate") -> str:
    """`.62 [.55, .68], n = 200`; an en dash for no row."""
    return MISSING if row is None or row.get(key) is None else (
        f"{interval(row, key)}, n = {row['n']:,}")


def number_of(key: str, digits: int | None = None) -> Cell:
    """A column that shows one key of its rows by `format_number`."""
    return lambda row: format_number(row[key], digits)


def interval_of(key: str, prefix: str | None = None, digits: int = 2) -> Cell:
    """A column that shows one key with its interval: `<prefix>_low` and `_high`, or the row's."""
    ends = ("ci_low", "ci_high") if prefix is None else (f"{prefix}_low", f"{prefix}_high")
    return lambda row: interval(row, key, *ends, digits)


def versus(row: Row) -> str:
    """The two systems of a row in words."""
    return f"{row['a']} over {row['b']}"


def format_number(value: Any, digits: int | None = None) -> str:
    """`.62`: no zero before the point; a count with thousands commas; an en dash for None.

    digits: decimals; None for two, or none for a count and for anything of 100 or more.
    """
    if value is None:
        return MISSING
    if isinstance(value, Integral) or (digits is None and abs(value) >= 100):
        return f"{value:,.0f}"
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:z.{2 if digits is None else digits}f}")


def p_value(value: float | None) -> str:
    """`.031`, or `< .001`."""
    return "< .001" if value is not None and value < 0.001 else format_number(value, 3)


def _cell(row: Row, column: str | Cell) -> str:
    value: Any = column(row) if callable(column) else row.get(column)
    is_number = value is None or (isinstance(value, Real) and not isinstance(value, bool))
    return format_number(value) if is_number else str(value)


def _has_words(text: str) -> bool:
    return any(letter.isalpha() for letter in text)
