"""Notebook 06's numbers: what each arm gained, how far it moved, what it cost, and what to try.

In: response rows of each arm (every candidate with its `rewards`), KL rows of its own answers, and
its costs. The comparisons use `lib.analysis.comparisons.all_pairs`, as the rest of the study does.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lib.analysis.statistics.clusters import clustered_mean_interval
from lib.analysis.texts.metrics import text_metrics_by_system
from lib.runtime.files import Row

TEXT = ("mean_tokens", "mean_tokens_low", "mean_tokens_high", "stopped_at_limit", "seq_rep_4",
        "seq_rep_4_low", "seq_rep_4_high")
PASSES = 3  # a trained token costs a forward and a backward of twice its work


def reward_gain(rows: Sequence[Row], start: Sequence[Row], role: str) -> Row:
    """By how much an arm's mean reward exceeds its start's, prompt by prompt.

    In standard deviations of the start's rewards within a prompt (their mean over prompts), so that
    selector and judge share an axis. {"gain", "gain_low", "gain_high", "n" prompts}; nulls where no
    prompt has both.
    """
    before = {row["id"]: _rewards(row, role) for row in start}
    spreads = [np.std(values, ddof=1) for values in before.values() if len(values) > 1]
    spread = np.mean(spreads) if spreads else 0.0
    gains = [np.mean(after) - np.mean(before[row["id"]]) for row in rows
             if len(after := _rewards(row, role)) and len(before.get(row["id"], ()))]
    if not gains or not spread > 0:
        return {"gain": None, "gain_low": None, "gain_high": None, "n": len(gains)}
    low, high = clustered_mean_interval(np.divide(gains, spread))
    return {"gain": float(np.mean(gains) / spread), "gain_low": low, "gain_high": high,
            "n": len(gains)}


def movement(kl_rows: Sequence[Row]) -> Row:
    """KL from SFT in nats an answer, on the arm's own answers at temperature 1, with interval.

    Nulls where no validation prompt was set aside.
    """
    values = [row["kl"] for row in kl_rows]
    if not values:
        return {"kl": None, "kl_low": None, "kl_high": None, "kl_n": 0}
    low, high = clustered_mean_interval(values)
    return {"kl": float(np.mean(values)), "kl_low": low, "kl_high": high, "kl_n": len(values)}


def work_of(row: Row) -> int:
    """Work of an arm's learning in generated tokens, of which a trained one counts `PASSES`."""
    return row["generated_tokens"] + PASSES * row["trained_tokens"]


def text_rows(systems: Mapping[str, Sequence[Row]]) -> dict[str, Row]:
    """Length, repetition and cut-off share of each system's first answers, with intervals."""
    chosen = {name: [{**row, "chosen": 0} for row in rows] for name, rows in systems.items()}
    return {name: {key: found[key] for key in ("n", *TEXT)}
            for name, found in text_metrics_by_system(chosen).items()}


def what_to_try(rows: Sequence[Row], verdicts: Sequence[Row], controls: Sequence[Row] = (),
                matrix: Sequence[Row] = (), judge: str = "judge") -> list[Row]:
    """The arms by the judge's win rate over SFT, with what it says after Holm's correction.

    rows: {"arm", "check" (no method to recommend), "control" (its name, if it has one)}; controls
    and matrix: win rates of arms over their controls, and of every two. {"arm", "check",
    "win_rate", "ci_low", "ci_high", "n", "holm_p", "verdict": "better", "worse", "undecided" or
    "unscored", "control", "over_control" (a verdict, None where the control has no result), "like"
    (better methods that this one is not told apart from: .50 is in the interval)}.
    """
    known = {row["arm"]: row for row in rows}
    held = {row["a"]: row for row in controls if row["judge"] == judge}
    found = [{"arm": row["a"], "check": known[row["a"]]["check"], "verdict": verdict(row)}
             | {key: row[key] for key in ("win_rate", "ci_low", "ci_high", "n", "holm_p")}
             | {"control": known[row["a"]].get("control"),
                "over_control": verdict(held[row["a"]]) if row["a"] in held else None}
             for row in verdicts if row["judge"] == judge and row["a"] in known]
    better = [row["arm"] for row in found if row["verdict"] == "better" and not row["check"]]
    alike = [{row["a"], row["b"]} for row in matrix if row["judge"] == judge
             and row["ci_low"] is not None and row["ci_low"] <= 0.5 <= row["ci_high"]]
    return [row | {"like": [name for name in better if {name, row["arm"]} in alike]}
            for row in sorted(found, key=lambda row: -(row["win_rate"] or 0.0))]


def verdict(row: Row) -> str:
    """What a tested win rate says at .05 after Holm's correction."""
    if row["win_rate"] is None:
        return "unscored"
    if row["holm_p"] is None or row["holm_p"] > 0.05:
        return "undecided"
    return "better" if row["win_rate"] > 0.5 else "worse"


def who_beats(better: int, methods: int) -> str:
    """`2 of 6 methods beat SFT`, `None of 6 methods beats SFT`, or of a single one the same."""
    if methods == 1:
        return f"The one method {'beats' if better else 'does not beat'} SFT"
    return (f"{better} of {methods} methods beat{'s' * (better == 1)} SFT" if better
            else f"None of {methods} methods beats SFT")


def _rewards(row: Row, role: str) -> np.ndarray:
    """The scores of a row's candidates, those that could not be scored left out."""
    scores = [candidate["rewards"].get(role) for candidate in row["candidates"]]
    return np.array([score for score in scores if score is not None], dtype=float)
