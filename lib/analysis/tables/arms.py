"""Notebook 06's tables: the arms, their budgets and their results.

Rows of beyond.json in, Markdown and sentences out; the statistics are computed elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence

from lib.analysis.policies.arms import verdict, who_beats
from lib.analysis.tables.formatting import (
    MISSING,
    Cell,
    as_markdown,
    bullets,
    format_number,
    format_rate,
    interval,
    interval_of,
    length_controlled,
    markdown_table,
    p_value,
    with_n,
)
from lib.runtime.files import Row

MATCHED, FLIPPED = "_matched", "_flipped"  # in the names of arms
NOT_FLIPPED = {"dpo": "offline_dpo"}
NONE_CHOSEN = "No arm is chosen; set for example beyond.arms=[offline_dpo,raft]."
NO_ARMS = ("No arm of this run has a result; choose arms by beyond.arms, for example "
           "[offline_dpo,raft].")
OVER_CONTROL = {"better": "The idea adds something", "undecided": "Not told apart from the control",
                "worse": "Worse than the control", "unscored": "Not judged"}
BY_READER = {True: "bears it out", False: "speaks against it", None: "leaves it undecided"}
VERDICTS = {"better": "Better than SFT", "undecided": "Undecided", "worse": "Worse than SFT",
            "unscored": "Not judged, because no answer has a score"}


def catalogue_table(rows: Sequence[Row], chosen: Sequence[str]) -> str:
    """Every arm in a line: look at what each costs beside one training, and at its control.

    The chosen ones come first; the others of each group are folded. rows: of
    `lib.study.beyond.catalogue.catalogue_rows`.
    """
    order = {name: place for place, name in enumerate(chosen)}
    mine = sorted((row for row in rows if row["arm"] in order), key=lambda row: order[row["arm"]])
    parts = [_catalogue(mine, NONE_CHOSEN)]
    for group in dict.fromkeys(row["group"] for row in rows):
        others = [row for row in rows if row["group"] == group and row["arm"] not in order]
        if others:
            parts.append(f"<details><summary>{group}: {len(others)} more</summary>\n\n"
                         f"{_catalogue(others)}\n\n</details>")
    return "\n\n".join(parts)


def _catalogue(rows: Sequence[Row], empty: str = "") -> str:
    return markdown_table(rows, {
        "arm": "arm", "idea": lambda row: f"{row['idea']} ({row['source']})",
        "formula": "formula", "costs": "cost", "control": "control"}, empty)


def arms_table(rows: Sequence[Row], seed: int, start: Row) -> str:
    """Budgets and movement: look at whether an arm that moved further also answers better.

    start: length and repetition of SFT's answers, for the last line.
    """
    return markdown_table([*rows, {"arm": "sft", **start}] if rows else [], {
        "arm": "arm", "seed": lambda _: seed,
        "generated tokens": "generated_tokens", "trained tokens": "trained_tokens",
        "seconds": lambda row: format_number(row.get("seconds"), 0),
        "KL from SFT, nats [95 %], n": lambda row: _counted(row, "kl", row.get("kl_n")),
        "gain by the judge, SD [95 %], n": lambda row: _counted(
            row.get("judge", {}), "gain", row.get("judge", {}).get("n")),
        "tokens an answer [95 %]": interval_of("mean_tokens", "mean_tokens", 0),
        "repeated 4-grams [95 %]": interval_of("seq_rep_4", "seq_rep_4", 3),
        "cut off": lambda row: format_number(row["stopped_at_limit"]), "n": "n"}, NO_ARMS)


def arm_verdicts_table(verdicts: Sequence[Row], reader: Row) -> str:
    """Each arm over SFT: look at Holm's p, and at whether the reader's interval excludes .50 too.

    verdicts: win rates by all judges; reader: of `lib.study.beyond.reader.reader_of_arms`. "sees"
    is the smallest effect that a test of these prompts finds with power .8.
    """
    read = {row["arm"]: row for row in reader["rows"]}
    others = {row["a"]: row for row in verdicts if row["judge"] == "selector"}
    return markdown_table([row for row in verdicts if row["judge"] == "judge"], {
        "arm": "a", "n": "n", "judge [95 %]": format_rate,
        "Holm p": lambda row: p_value(row["holm_p"]), "verdict": verdict,
        "sees": lambda row: format_number(row["smallest_effect"]),
        f"reader, forecast from {reader['line'].get('comparisons', 0)} comparisons [95 %]":
            lambda row: interval(read[row["a"]], "forecast", "low", "high"),
        "reader, read [95 %], n": lambda row: _read(read[row["a"]]),
        "judge, length-controlled": length_controlled,
        "selector [95 %]": lambda row: format_rate(others[row["a"]])}, NO_ARMS)


def reader_forecast_sentence(reader: Row) -> str:
    """What the reader's forecast rests on, and how well its own comparisons bear it out."""
    line = reader["line"]
    if not line:
        return ("The reader has no forecast: fewer than three comparisons were read and judged; "
                "run notebook 05 first.")
    prompts = " to ".join(dict.fromkeys(str(line[key]) for key in ("fewest", "most")))
    return (f"The reader's forecast rests on {line['comparisons']} comparisons of "
            f"{reader['answers']} that a blind reader and the judge have both seen, on "
            f"{prompts} prompts each: the reader's rates lie {format_number(line['slope'])} times "
            "as far from .50 as the judge's, with a standard deviation of "
            f"{format_number(line['error'])} around that; {line['held']} of them lie in the "
            "forecast that the others make. A forecast cannot know a fault that an arm learned "
            "from the selector and that the judge shares; only a reading can "
            "(`python -m lib.study.reader export` with the run and `--arms`).")


def arms_findings(first: Sequence[Row], failed: Mapping[str, str], reader: Row) -> str:
    """What to try first, in sentences; a null result is one, and so is an arm that failed.

    first: of `policies.arms.what_to_try`; reader: of `lib.study.beyond.reader.reader_of_arms`.
    """
    methods = [row for row in first if not row["check"]]
    better = [row for row in methods if row["verdict"] == "better"]
    if better:
        [read] = [row for row in reader["rows"] if row["arm"] == better[0]["arm"]]
        lines = [_recommended(better[0], len(methods), read)]
    else:
        lines = [f"{who_beats(0, len(methods))} by this judge after Holm's correction: "
                 "on this budget there is nothing to try first."] * bool(methods)
    lines += [f"{words}: {told}." for kind, words in VERDICTS.items()
              if (told := _told(methods, kind))]
    if checks := [row for row in first if row["check"]]:
        told = _told(checks, "better")
        lines.append("Controls and checks that beat SFT too: " + (
            f"{told}; so much needs no idea." if told else f"none of {len(checks)}."))
    if first:
        lines.append(f"These rates are the judge's, on {_counts(first)} held-out prompts.")
    return bullets(lines + [f"{arm} failed: {why.rstrip('.')}." for arm, why in failed.items()]
                   ) or NO_ARMS


def _counts(rows: Sequence[Row]) -> str:
    return f"n = {', '.join(dict.fromkeys(format_number(row['n']) for row in rows))}"


def _told(rows: Sequence[Row], kind: str) -> str:
    return "; ".join(f"{row['arm']} {format_rate(row)}" for row in rows if row["verdict"] == kind)


def _recommended(best: Row, number: int, read: Row) -> str:
    """The best arm, those that are not told apart from it, its control, and the reader."""
    said = [f"Try {best['arm']} first: {format_rate(best)} over SFT by the judge on {best['n']} "
            f"prompts, Holm's p {p_value(best['holm_p'])}."]
    if number > 1:
        said.append(f"As the highest of {number} rates it is likely too high.")
    if best["like"]:
        said.append(f"{', '.join(best['like'])} did no worse against it, as far as these prompts "
                    "tell, so choose among them by their cost and their KL from SFT.")
    if best["control"] and best["over_control"] != "better":
        absent = ", which has no result here" * (best["over_control"] is None)
        said.append(f"It is not shown to beat its control {best['control']}{absent}, so its idea "
                    "may add nothing.")
    if read["read"] is not None:
        above = None if read["read_low"] <= 0.5 <= read["read_high"] else read["read"] > 0.5
        said.append(f"A blind reader {BY_READER[above]}: {_read(read)} prompts.")
    elif read["forecast"] is not None:
        said.append("The forecast for a blind reader is "
                    f"{interval(read, 'forecast', 'low', 'high')}.")
    return " ".join(said)


def controls_finding(rows: Sequence[Row], arms: Sequence[Row] = ()) -> str:
    """What each idea adds to its control, in a sentence for each verdict after Holm's correction.

    rows: win rates of arms over their controls; arms: {"arm", "control"} of every arm, as some
    stand beside no control.
    """
    judged, lines = [row for row in rows if row["judge"] == "judge"], []
    for kind, words in OVER_CONTROL.items():
        if told := [f"{row['a']} over {row['b']} {format_rate(row)}" for row in judged
                    if verdict(row) == kind]:
            lines.append(f"{words}: {'; '.join(told)}.")
    if judged:
        lines.append(f"These rates are the judge's, on {_counts(judged)} prompts, and the "
                     f"verdicts stand after Holm's correction over {len(judged)} "
                     f"comparison{'s' * (len(judged) > 1)}.")
    held = {row["a"] for row in judged}
    if absent := [f"{row['arm']} ({row['control']})" for row in arms
                  if row["control"] and row["arm"] not in held]:
        lines.append(f"Not compared, because the control has no result here: {'; '.join(absent)}.")
    return bullets(lines) or as_markdown("No arm of this run has a control.")


def equal_movement_table(arms: Sequence[Row], verdicts: Sequence[Row]) -> str:
    """Losses after an equal way: look at whether one that won at the profile's rate still wins.

    Arms `X_matched`, at the rate that moves them as far as offline_dpo, stand beside the arms `X`.
    """
    moved, rates = _by_arm(arms, verdicts)
    names = [name.removesuffix(MATCHED) for name in moved if name.endswith(MATCHED)]
    columns: dict[str, str | Cell] = {"loss": "loss"}
    for where, end in (("profile's rate", ""), ("equal way", MATCHED)):
        columns[f"KL, nats, {where}"] = _of_arm(end, lambda name: format_number(moved.get(name)))
        columns[f"over SFT [95 %], n, {where}"] = _of_arm(end, lambda name: with_n(rates.get(name)))
    return markdown_table([{"loss": name} for name in ["offline_dpo"] * bool(names) + names],
                          columns,
        "No matched loss of this run has a result; add for example odpo and odpo_matched to "
        "beyond.arms.")


def noise_table(arms: Sequence[Row], verdicts: Sequence[Row]) -> str:
    """Losses on pairs of which some labels are flipped: look at which falls least to the right.

    Arms `X_flippedP` have P % flipped; the loss itself, or offline_dpo, has none.
    """
    _, rates = _by_arm(arms, verdicts)
    flipped = [name.split(FLIPPED) for name in rates if FLIPPED in name]
    losses, shares = (dict.fromkeys(one[place] for one in flipped) for place in (0, 1))
    columns: dict[str, str | Cell] = {
        "loss": "loss",
        "none flipped": _of_arm("", lambda loss: with_n(rates.get(NOT_FLIPPED.get(loss, loss))))}
    for share in sorted(shares, key=int):
        columns[f"{share} % flipped"] = _of_arm(f"{FLIPPED}{share}",
                                                lambda name: with_n(rates.get(name)))
    return markdown_table([{"loss": loss} for loss in losses], columns,
        "No arm with flipped labels has a result in this run; add for example dpo_flipped10 and "
        "dpo_flipped20 to beyond.arms.")


def _of_arm(end: str, find: Callable[[str], str]) -> Cell:
    """A column of losses that shows what `find` says of the arm named by the loss and `end`."""
    return lambda row: find(row["loss"] + end)


def _by_arm(arms: Sequence[Row], verdicts: Sequence[Row]) -> tuple[Row, dict[str, Row]]:
    """KL by arm, and the judge's win rate over SFT by arm."""
    return ({row["arm"]: row["kl"] for row in arms},
            {row["a"]: row for row in verdicts if row["judge"] == "judge"})


def _read(row: Row) -> str:
    return MISSING if row["read"] is None else (
        f"{interval(row, 'read', 'read_low', 'read_high')}, {row['n']}")


def _counted(row: Row, key: str, n: int | None) -> str:
    return MISSING if n is None else f"{interval(row, key, f'{key}_low', f'{key}_high')}, {n}"
