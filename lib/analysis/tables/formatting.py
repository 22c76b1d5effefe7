"""Results as tables and sentences for notebooks and the README: rows in, text out.

A comparison whose interval includes one half is called undecided, with how many prompts would
settle it; no number appears without its n and interval.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from lib.analysis.comparisons.paper import paper_rate

Row = dict[str, Any]
Columns = Mapping[str, str | Callable[[Row], object]]
MISSING = "–"
DOUBTFUL = ("† a correction for length to read with care: it is extreme, or length alone tells "
            "wins from losses.")


def markdown_table(rows: Sequence[Row], columns: Columns) -> str:
    """A Markdown table; columns: heading -> key of the row, or a function of the row."""
    lines = [list(columns), ["---"] * len(columns)]
    lines += [[_markdown(_cell(row, column)) for column in columns.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def html_table(rows: Sequence[Row], columns: Columns) -> str:
    """The same as HTML, every cell escaped; words stand left and numbers right."""
    head = "".join(_html_cell("th", heading, _is_text(rows, column))
                   for heading, column in columns.items())
    body = "".join(
        "<tr>" + "".join(_html_cell("td", _cell(row, column), _is_text(rows, column))
                         for column in columns.values())
        + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def win_rate_table(rows: Sequence[Row]) -> str:
    """Markdown: every comparison with counts, interval, Holm's p and the length-controlled rate."""
    return markdown_table(rows, {
        "comparison": versus, "judge": "judge", "n": "n",
        "wins / ties / losses": lambda row: f"{row['wins']} / {row['ties']} / {row['losses']}",
        "win rate [95 %]": rate, "Holm p": lambda row: p_value(row.get("holm_p")),
        "length-controlled": length_controlled,
        "verdict": verdict})


def paper_table(rows: Sequence[Row], judges: Sequence[str]) -> str:
    """Markdown: the paper's comparisons, its rate at n = 200 and ours by each of `judges`."""
    pairs = [pair for pair in dict.fromkeys((row["a"], row["b"]) for row in rows)
             if paper_rate(*pair)]
    by_key = {(row["a"], row["b"], row["judge"]): row for row in rows}
    columns: dict[str, Callable[[Row], object]] = {
        "comparison": versus,
        "paper, n = 200 [95 %]": lambda pair: _paper_cell(pair["a"], pair["b"])}
    for judge in judges:
        columns[f"ours, {judge} [95 %]"] = (
            lambda pair, judge=judge: with_n(by_key.get((pair["a"], pair["b"], judge))))
    return markdown_table([{"a": a, "b": b} for a, b in pairs], columns)


def claims_table(claims: Sequence[Row]) -> str:
    """Markdown: which of the paper's claims its own numbers support (rows of `paper.claims`)."""
    return markdown_table(claims, {"claim of the paper": "claim", "survives": "survives",
                                   "why": "why"})


def verdict(row: Row) -> str:
    """Who wins (and whether it outlasts Holm's correction), or what would settle it."""
    if row["ci_low"] > 0.5 or row["ci_high"] < 0.5:
        winner = row["a"] if row["ci_low"] > 0.5 else row["b"]
        return f"{winner} wins{_unless_corrected(row)}"
    return f"undecided at n = {row['n']}; {settle(row)}"


def _unless_corrected(row: Row) -> str:
    """A clear interval is not the whole story where many questions were asked at once."""
    alone = row.get("holm_p") is not None and row["holm_p"] >= 0.05
    return ", but not after Holm's correction" if alone else ""


def settle(row: Row) -> str:
    """How many prompts would settle a comparison if its rate is the observed one."""
    needed = row.get("prompts_needed")
    if needed is None:
        return "no number of prompts settles an even result"
    return f"about {_round(needed):,} prompts would settle it"


def sentence(row: Row) -> str:
    """One comparison in words, null results included."""
    shown = f"{rate(row)} of {row['n']} prompts by {row['judge']}"
    if row["ci_low"] > 0.5 or row["ci_high"] < 0.5:
        word = "beats" if row["ci_low"] > 0.5 else "loses to"
        return f"{row['a']} {word} {row['b']}{_unless_corrected(row)}: {shown}."
    return (f"{row['a']} against {row['b']} is undecided at n = {row['n']}: {rate(row)} by "
            f"{row['judge']}; {settle(row)}.")


def rate(row: Row, digits: int = 2) -> str:
    """`.62 [.55, .68]`."""
    value, low, high = (number(row[key], digits) for key in ("win_rate", "ci_low", "ci_high"))
    return f"{value} [{low}, {high}]"


def length_controlled(row: Row) -> str:
    """`.62 [.55, .68]`, marked where the correction is extreme or the data needed a penalty."""
    shown = interval(row, "length_controlled", "length_controlled_low", "length_controlled_high")
    return shown + (" †" if row.get("length_extreme") or row.get("length_penalty") else "")


def interval(row: Row, key: str, low: str = "ci_low", high: str = "ci_high",
             digits: int = 2) -> str:
    """`.62 [.55, .68]` from three keys of a row; the value alone where its ends are not known, an
    en dash where there is none.
    """
    if row.get(key) is None or row.get(low) is None:
        return number(row.get(key), digits)
    return rate({"win_rate": row[key], "ci_low": row[low], "ci_high": row[high]}, digits)


def with_n(row: Row | None, key: str = "win_rate") -> str:
    """`.62 [.55, .68], n = 200`; an en dash for no row."""
    return MISSING if row is None else f"{interval(row, key)}, n = {row['n']}"


def versus(row: Row) -> str:
    """The two systems of a row in words."""
    return f"{row['a']} over {row['b']}"


def number(value: float | None, digits: int = 2) -> str:
    """A share without its leading zero; an en dash for None."""
    if value is None:
        return MISSING
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def p_value(value: float | None) -> str:
    """`.031`, or `< .001`."""
    if value is None:
        return MISSING
    return "< .001" if value < 0.001 else number(value, 3)


def _cell(row: Row, column: str | Callable[[Row], object]) -> str:
    value = column(row) if callable(column) else row.get(column)
    if value is None:
        return MISSING
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _is_text(rows: Sequence[Row], column: str | Callable[[Row], object]) -> bool:
    """Whether a column holds words, which JupyterLab would align right like numbers."""
    values = [column(row) if callable(column) else row.get(column) for row in rows]
    return any(isinstance(value, str) for value in values)


def _html_cell(tag: str, text: str, is_text: bool) -> str:
    side = "left;white-space:pre-wrap" if is_text else "right"
    return f'<{tag} style="vertical-align:top;text-align:{side}">{escape(text)}</{tag}>'


def _markdown(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _paper_cell(a: str, b: str) -> str:
    found = paper_rate(a, b)
    return MISSING if found is None else rate(
        {"win_rate": found.rate, "ci_low": found.interval.low, "ci_high": found.interval.high}, 3)


def _round(n: int) -> int:
    """Two significant digits: power calculations are no more exact than that."""
    scale = 10 ** max(len(str(n)) - 2, 0)
    return round(n / scale) * scale
