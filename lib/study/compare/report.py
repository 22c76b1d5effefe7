"""What a comparison of two runs says, as Markdown for a terminal, a log or a notebook."""

from lib.analysis.comparisons.runs import PASSES, B
from lib.analysis.tables.formatting import as_markdown, bullets, win_rate_table
from lib.analysis.tables.runs import gate_findings, moved_table, settings_table
from lib.inference.rewards import OWN_READER
from lib.runtime.files import Row


def comparison_text(found: Row) -> str:
    """The whole comparison; `found` is comparison.json."""
    prompts = found["prompts"]
    parts = [
        bullets([f"a: {found['a']}", f"b: {found['b']}",
                 f"{prompts['shared']:,} prompts are in both; only in a: {prompts['only_a']:,}, "
                 f"only in b: {prompts['only_b']:,}",
                 f"{found['judge']} of both: {found['scorers'][found['judge']]}"]),
        settings_table(found["settings"]),
        win_rate_table(found["win_rates"]) if found["win_rates"] else "",
        _same(found), _reader(found), _moved(found), gate_text(found)]
    return "\n\n".join(filter(None, parts))


def gate_text(found: Row) -> str:
    """The gate's verdict on each system; empty without a gate."""
    if found["gate"] is None:
        return ""
    return gate_findings(found["gate"]) or "The gate passes: every system answers alike in both."


def gate_passes(found: Row) -> bool:
    """Whether b provably loses by no more than the margin, or there is no gate."""
    return all(row["verdict"] == PASSES for row in found["gate"] or ())


def _same(found: Row) -> str:
    alike = ", ".join(name.removeprefix(f"{B}: ") for name in found["same_answers"])
    return f"The same answers in both runs: {as_markdown(alike)}." if alike else ""


def _reader(found: Row) -> str:
    """The reader's verdicts beside another judge's, or why there are none."""
    if found["why_no_reader"]:
        return f"No reader's verdicts: {found['why_no_reader']}."
    if found["judge"] == OWN_READER or not found["reader"]:
        return ""
    return (f"By the reader {found['scorers']['reader']}, on one answer of each system:\n\n"
            + win_rate_table(found["reader"]))


def _moved(found: Row) -> str:
    """The prompts that moved most, of the failing systems, else of the one that moved most."""
    failing = [row["a"] for row in found["gate"] or () if row["verdict"] != PASSES]
    rows = [row for row in found["win_rates"] if row["a"] in found["main"] and row["n"]]
    most = sorted(rows, key=lambda row: -abs(row["win_rate"] - 0.5))[:1]
    return "\n\n".join(
        f"Prompts that moved most, {as_markdown(name)} (chosen for it, so partly by chance):\n\n"
        + moved_table(found["moved"][name]) for name in failing or [row["a"] for row in most])
