"""Win rates and position bias of a judge that compares two answers shown in both orders.

In: verdict rows {"a", "b", "id", "same_text", "characters_a", "characters_b", "shown_first",
"shown_second"}: of one prompt, the judge's preference for a's answer where it was shown first and
where it was shown second, each {"preference" 0 to 1, "weight"} or None. A prompt without both is
missing, never a tie; answers of equal text tie without a question and say nothing of position.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.analysis.comparisons.all_pairs import with_holm
from lib.analysis.statistics.clusters import clustered_share_interval
from lib.analysis.statistics.length_control import length_controlled_win_rate
from lib.analysis.statistics.outcomes import Floats
from lib.analysis.statistics.significance import share_test
from lib.inference.judges.styles import Style
from lib.runtime.files import Row

ORDERS = ("shown_first", "shown_second")
Group = Sequence[Row]


def verdict_win_rates(rows: Sequence[Row], style: Style, judge: str) -> list[Row]:
    """Win-rate rows of each pair of systems, Holm-corrected, as for the other judges.

    {"a", "b", "judge", "n" prompts, "missing", "wins", "ties", "losses" (prompts), "win_rate",
    "ci_low", "ci_high", "p_value", "holm_p", "smallest_effect", "equivalent_within",
    "length_controlled", ...}. The style says how two orders become an outcome.
    """
    return with_holm([{"a": a, "b": b, "judge": judge} | _rate_row(group, style)
                      for (a, b), group in _by_pair(rows).items()])


def position_bias(rows: Sequence[Row], style: Style, judge: str) -> list[Row]:
    """How far the place of an answer decides, for all pairs together (a, b None) and for each.

    {"n" pairs of different answers, "first_share": how often the answer shown first wins, over both
    orders (one half without bias), "first_low", "first_high", "inconsistent": the share of pairs
    whose winner changes with the order}, and for each pair a's win rate in one order alone,
    "shown_first" and "shown_second" with "_low" and "_high", beside the "win_rate" that counts.
    Ties are half a win; intervals count prompts.
    """
    groups = {(None, None): list(rows)} | _by_pair(rows)
    return [{"a": a, "b": b, "judge": judge} | _place_row(asked)
            | ({} if a is None else _rates_by_order(group, style))
            for (a, b), group in groups.items()
            if (asked := [row for row in _judged(group) if not row["same_text"]])]


def outcomes_by_game(rows: Group, style: Style) -> tuple[Floats, NDArray[np.str_]]:
    """What a rate averages: values 0 to 1 and the prompt of each, both [values].

    One value a prompt, or for a weighted style one a game, strong verdicts repeated.
    """
    judged = _judged(rows)
    names = np.array([row["id"] for row in judged])
    if style.counting == "weighted":
        weights = np.array([[row[order]["weight"] for order in ORDERS] for row in judged], int)
        return (np.repeat(_preferences(judged).ravel(), weights.ravel()),
                np.repeat(np.repeat(names, 2), weights.ravel()))
    return _outcomes(judged, style), names


def _outcomes(judged: Group, style: Style) -> Floats:
    """One outcome a prompt, [prompts]."""
    preferences = _preferences(judged)
    if style.counting == "agree":
        sides = np.sign(preferences - 0.5).sum(axis=1)
        return (np.sign(sides) * (np.abs(sides) == 2) + 1) / 2
    weights = np.array([[row[order]["weight"] for order in ORDERS] for row in judged], float)
    return (preferences * weights).sum(axis=1) / weights.sum(axis=1)


def _rate_row(rows: Group, style: Style) -> Row:
    judged = _judged(rows)
    if not judged:
        return _EMPTY | {"missing": len(rows)}
    values, names = outcomes_by_game(rows, style)
    outcomes, tested = _outcomes(judged, style), share_test(values, names)
    controlled = length_controlled_win_rate(
        outcomes, *([float(row[f"characters_{side}"]) for row in judged] for side in "ab"))
    return {"n": len(judged), "missing": len(rows) - len(judged),
            "wins": int(np.sum(outcomes > 0.5)), "ties": int(np.sum(outcomes == 0.5)),
            "losses": int(np.sum(outcomes < 0.5)), "win_rate": float(values.mean()),
            **tested._asdict(), "length_controlled": controlled.win_rate,
            "length_controlled_low": controlled.low, "length_controlled_high": controlled.high,
            "length_extreme": controlled.extreme, "length_penalty": controlled.penalty}


_EMPTY = dict.fromkeys(("win_rate", "ci_low", "ci_high", "p_value", "smallest_effect",
                        "equivalent_within")) | {"n": 0, "wins": 0, "ties": 0, "losses": 0}


def _place_row(asked: Group) -> Row:
    preferences, names = _preferences(asked), [row["id"] for row in asked]
    sides = np.sign(preferences - 0.5)
    first = (preferences[:, 0] + 1 - preferences[:, 1]) / 2
    return {"n": len(asked), "inconsistent": float(np.mean(sides[:, 0] != sides[:, 1])),
            **_share("first", first, names), "first_share": float(first.mean())}


def _rates_by_order(rows: Group, style: Style) -> Row:
    judged = _judged(rows)
    names, (values, games) = [row["id"] for row in judged], outcomes_by_game(rows, style)
    found = {"win_rate": float(values.mean()), **_share("ci", values, games)}
    for order, values in zip(ORDERS, _preferences(judged).T, strict=True):
        found |= {order: float(values.mean()), **_share(order, values, names)}
    return found


def _share(name: str, values: Floats, prompts: ArrayLike) -> Row:
    """The ends of a share's interval, `<name>_low` and `<name>_high`."""
    low, high = clustered_share_interval(values, prompts)
    return {f"{name}_low": low, f"{name}_high": high}


def _judged(rows: Group) -> list[Row]:
    return [row for row in rows if all(row[order] is not None for order in ORDERS)]


def _preferences(judged: Group) -> Floats:
    """Preference for a's answer, shown first and shown second, [prompts, 2]."""
    return np.array([[row[order]["preference"] for order in ORDERS] for row in judged], float)


def _by_pair(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["a"], row["b"]), []).append(row)
    return groups
