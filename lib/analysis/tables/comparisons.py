"""Tables of comparisons: systems, power, ratings, opponents, sources, seeds.

Rows of `results.json` in, Markdown out; the statistics are computed elsewhere.
"""

from collections.abc import Iterable, Sequence

from lib.analysis.tables.formatting import (
    crossed_table,
    format_number,
    format_rate,
    interval,
    interval_of,
    length_controlled,
    markdown_table,
    number_of,
    p_value,
    versus,
    with_n,
)
from lib.inference.systems import BEST, KL, MBR, RANDOM, SOFT, System
from lib.runtime.files import Row

MEANINGS = {"base": "the model before training", "sft": "the model after supervised fine-tuning",
            "dpo": "the SFT model after Direct Preference Optimization"}
PICKS = {BEST: "the one that the selector scores highest",
         RANDOM: "one picked at random, as a control",
         SOFT: "one drawn with chances that grow with the selector's score (lam = {coefficient:g})",
         MBR: "the one of highest score and likeness to the others (beta = {coefficient:g})",
         KL: "the one of highest score and log-probability (beta = {coefficient:g})"}


def systems_table(names: Iterable[str]) -> str:
    """The systems by name: look at which policy answers, and how one answer is picked."""
    return markdown_table([{"system": name} for name in names], {
        "system": "system", "its answer is": lambda row: _meaning(System.parse(row["system"]))})


def costs_table(rows: Sequence[Row]) -> str:
    """Costs of each pool a prompt: look at the tokens beside the win rate that they gain."""
    return markdown_table(rows, {
        "pool": "pool", "candidates": "candidates", "new tokens": number_of("tokens", 0),
        "seconds of sampling": number_of("sampling_seconds"),
        "seconds of scoring": number_of("scoring_seconds"), "distinct": number_of("distinct", 1),
        "cut at the limit": number_of("at_limit"), "n": "n",
        "judge's gain, from one to n [95 %]": interval_of("gain")})


def printed_answers_table(rows: Sequence[Row]) -> str:
    """The paper's printed answers: look at how often the same happens here, and at its interval."""
    lines: dict[tuple[str, str | None], Row] = {}
    for row in rows:
        by = f", by the {row['judge']}" if row["judge"] else ""
        line = lines.setdefault((row["sign"], row["judge"]), {
            "the paper prints": row["paper"], "the sign": row["sign"] + by})
        line[f"{row['best']} beside {row['single']}"] = f"{row['count']:,} of {row['n']:,}: " + (
            interval(row, "share"))
    return markdown_table(list(lines.values()), {
        heading: heading for line in lines.values() for heading in line},
        empty="These results were written before the signs were counted.")


def rules_table(rows: Sequence[Row], judge: str = "judge") -> str:
    """Selection rules on one pool, by one judge: look at the lead over plain best of n."""
    return markdown_table([row for row in rows if row["judge"] == judge], {
        "pool": "policy", "rule": "rule", "n": "n", "prompts": "prompts",
        "wins [95 %]": interval_of("value"),
        "lead [95 %]": lambda row: interval(row, "lead", "lead_low", "lead_high")})


def resolution_table(rows: Sequence[Row]) -> str:
    """What the prompts can tell: look at the smallest effect seen, then at the largest one left.

    A test at .05 finds the first with power .8; two one-sided tests at .05 exclude any beyond the
    second.
    """
    return markdown_table([row for row in rows if row["smallest_effect"] is not None], {
        "comparison": versus, "judge": "judge", "n": "n",
        "answers a prompt": lambda row: f"{row['candidates_a']} and {row['candidates_b']}",
        "win rate [95 %]": format_rate,
        "smallest effect seen": number_of("smallest_effect", 3),
        "they differ by at most": number_of("equivalent_within", 3)})


def single_draws_table(singles: Sequence[Row], rows: Sequence[Row]) -> str:
    """One draw of each system beside all pairs: look at how much wider one draw's interval is."""
    whole = {(row["a"], row["b"], row["judge"]): row for row in rows}
    return markdown_table(singles, {
        "comparison": versus, "judge": "judge", "n": "n",
        "wins / ties / losses": lambda row: f"{row['wins']} / {row['ties']} / {row['losses']}",
        "a single draw [95 %]": format_rate,
        "all pairs [95 %]": lambda row: format_rate(
            whole.get((row["a"], row["b"], row["judge"]), {}))})


def family_table(family: Sequence[Row]) -> str:
    """The comparisons decided on beforehand: look at why each is asked, before at any answer."""
    return markdown_table(family, {"does this system win": "a", "over this one": "b",
                                   "why it is asked": "why"})


def intervals_table(rows: Sequence[Row]) -> str:
    """Intervals of each comparison: look at how little the method changes, and how much length.

    A positive length coefficient says that the judge prefers the longer answer.
    """
    return markdown_table(rows, {
        "comparison": versus, "n": "n", "score interval (reported)": format_rate,
        "Wilson": interval_of("win_rate", "wilson"),
        "bootstrap over prompts": interval_of("win_rate", "bootstrap"),
        "tokens, a / b": lambda row: " / ".join(
            format_number(row[key], 0) for key in ("mean_tokens_a", "mean_tokens_b")),
        "length coefficient": number_of("length_coefficient"),
        "length-controlled [95 %]": length_controlled})


def ratings_table(rows: Sequence[Row]) -> str:
    """Bradley-Terry ratings by judge: look at whether the judges rank the systems alike.

    On Elo's scale; rows in the order of the first judge; * marks ratings that needed a prior.
    """
    return crossed_table(rows, "system", lambda row: row["judge"], _strength)


def contrasts_table(rows: Sequence[Row]) -> str:
    """Two systems against one opponent: look at whether their rates' difference excludes 0."""
    return markdown_table(rows, {
        "exploratory: first": "first", "second": "second", "against": "opponent", "judge": "judge",
        "n": "n", "first's rate minus second's [95 %]": interval_of("difference"),
        "Holm p": lambda row: p_value(row["holm_p"]),
        "smallest difference seen": number_of("smallest_effect"),
        "they differ by at most": number_of("equivalent_within")})


def sources_table(rows: Sequence[Row], a: str, b: str) -> str:
    """One comparison by source of prompts: look for a source in which the other system wins."""
    return crossed_table([row for row in rows if (row["a"], row["b"]) == (a, b)], "source",
                         lambda row: f"exploratory: {a} over {b}, {row['judge']} [95 %]", with_n)


def complementarity_table(rows: Sequence[Row]) -> str:
    """What Best-of-N adds with and without DPO: look at whether the difference excludes 0.

    On each judge's own scale.
    """
    return markdown_table(rows, {
        "exploratory: judge": "judge", "n": "n", "Best-of-N adds to DPO": number_of("gain_with"),
        "Best-of-N adds to SFT": number_of("gain_without"),
        "difference [95 %]": lambda row: interval(row, "mean", "low", "high"),
        "reading": _interaction_reading})


def seeds_table(rows: Sequence[Row]) -> str:
    """Each comparison over seeds: look at how much wider the interval over seeds is."""
    return markdown_table(rows, {
        "comparison": versus, "judge": "judge", "n": "n",
        "rate of each seed": lambda row: ", ".join(map(format_number, row["per_seed"])),
        "spread over seeds (sd)": number_of("between_seeds", 3),
        "first seed [95 %, prompts alone]": interval_of("first", "first"),
        "mean [95 %, seeds and prompts]": lambda row: interval(row, "mean", "low", "high")},
        "One seed was run; `--seeds 3` trains and samples with three and adds the spread.")


def _meaning(system: System) -> str:
    policy = MEANINGS.get(system.policy, system.policy)
    if system.rule is None:
        return f"one answer of {policy}"
    return (f"of {system.n} answers of {policy}, sampled at T = {system.temperature:g}, "
            f"{PICKS[system.rule].format(coefficient=system.coefficient)}")


def _strength(row: Row) -> str:
    mark = " *" if row["prior"] else ""
    return f"{row['elo']:+.0f} [{row['elo_low']:+.0f}, {row['elo_high']:+.0f}]{mark}"


def _interaction_reading(row: Row) -> str:
    if row["low"] is None:
        return "nothing: no prompt has the four scores"
    if row["low"] <= 0 <= row["high"]:
        return "undecided: no interaction shown"
    return "complementary" if row["low"] > 0 else "they overlap"
