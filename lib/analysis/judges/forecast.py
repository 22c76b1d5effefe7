"""What a reader would say of a comparison that only the judge has seen: a forecast.

Comparisons that both have seen give a line through one half: by how much the reader's rate leaves
one half where the judge's leaves it by one point. A judge that errs at random has a slope below 1,
and one that sees nothing a slope of 0. The interval is that of the reader's rate on as many prompts
as were read, so the noise of reading is part of it. What no line can know: a method that was
trained may have found an error of the judge that no read system makes. How often the forecast held
on comparisons that were read, each forecast from the others, is in the line itself (`held`).
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t

from lib.runtime.files import Row

FEWEST = 3  # read comparisons behind a forecast


def reader_line(rows: Sequence[Row], reader: str, judge: str = "judge") -> Row:
    """The line from the judge's rates to the reader's, from rows of `judges.same_answers`.

    {"comparisons", "slope", "error" (standard deviation of the reader's rates around it),
    "weight" (sum of squares behind the slope), "fewest" and "most" (prompts of a comparison),
    "held" (comparisons whose rate lies in the forecast that the others make)}; {} for fewer than
    `FEWEST` comparisons, or without any but ties.
    """
    judged, read, prompts = _rates(rows, reader, judge)
    line = _fitted(judged, read) if len(judged) >= FEWEST else {}
    if not line:
        return {}
    others = ~np.eye(len(judged), dtype=bool)
    made = [forecast(_fitted(judged[kept], read[kept]), rate + 0.5)
            for kept, rate in zip(others, judged, strict=True)]
    return line | {"fewest": min(prompts), "most": max(prompts), "held": sum(
        bool(each["low"] <= rate + 0.5 <= each["high"])
        for each, rate in zip(made, read, strict=True) if each["forecast"] is not None)}


def forecast(line: Row, rate: float | None) -> Row:
    """The reader's rate where the judge's is `rate`: {"forecast", "low", "high"}, 95 %.

    Nulls without a line or a rate.
    """
    if not line or rate is None:
        return dict.fromkeys(("forecast", "low", "high"))
    apart = rate - 0.5
    reach = t.ppf(0.975, line["comparisons"] - 1) * line["error"] * np.sqrt(
        1 + apart**2 / line["weight"])
    middle = 0.5 + line["slope"] * apart
    return dict(zip(("forecast", "low", "high"), np.clip(
        [middle, middle - reach, middle + reach], 0, 1).tolist(), strict=True))


def _rates(rows: Sequence[Row], reader: str,
           judge: str) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """By how much the judge's and the reader's rate leave one half, [comparisons], and prompts."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        found.setdefault((row["a"], row["b"]), {})[row["judge"]] = row
    both = [(pair[judge], pair[reader]) for pair in found.values()
            if {judge, reader} <= pair.keys()]
    judged, read = np.reshape([[row["win_rate"] for row in pair] for pair in both],
                              (-1, 2)).T - 0.5
    return judged, read, [row["n"] for _, row in both]


def _fitted(judged: np.ndarray, read: np.ndarray) -> Row:
    """Least squares through the origin, without `held`."""
    weight, number = float(judged @ judged), len(judged)
    if weight == 0 or number < 2:
        return {}
    slope = float(judged @ read) / weight
    left = read - slope * judged
    return {"comparisons": number, "slope": slope, "weight": weight,
            "error": float(np.sqrt(left @ left / (number - 1)))}
