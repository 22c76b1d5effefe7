"""Loss and reward curves that grow while a stage trains in the notebook.

In: the metrics.jsonl that a stage writes, in any process. Out: small SVG charts, which a thread
redraws in place about once a second. It updates a display handle, not a widget: that works while
the kernel trains, and the last charts stay in the notebook. A headless run draws nothing; the
training loop prints its progress.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from IPython.display import HTML, DisplayHandle, display
from markupsafe import Markup

from lib.analysis.figures.training import smoothing_for
from lib.analysis.statistics import exponential_moving_average
from lib.runtime.files import parse_jsonl
from lib.viewers.assets import TEMPLATES, number, read_web
from lib.viewers.live import is_live

Row = Mapping[str, Any]
Point = tuple[float, float]

CHARTS = {
    "loss": ("loss",),
    "reward margin": ("rewards/margins",),
    "reward accuracy": ("rewards/accuracies",),
    "rewards": ("rewards/chosen", "rewards/rejected"),
}
STYLES = ("styles/theme.css", "styles/charts.css", "styles/curves.css")
SECONDS_BETWEEN_CHARTS = 1.0
WIDTH, HEIGHT = 300, 150  # of a chart, in SVG units


@contextmanager
def live_curves(metrics: Path | str, name: str = "",
                interactive: bool | None = None) -> Iterator[None]:
    """While the block runs, keep charts of the metrics file up to date; headless do nothing.

    name: whose curves they are, for a cell that trains several.
    """
    if not is_live(interactive):
        yield
        return
    handle = display(HTML(curves_html([], name)), display_id=True)
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(Path(metrics), name, handle, ended),
                              daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(metrics: Path, name: str, handle: DisplayHandle, ended: threading.Event) -> None:
    """Redraw whenever the file has changed, and once more at the end."""
    shown = None
    while True:
        last = ended.is_set()
        lines = _whole_lines(metrics)
        if lines != shown:
            handle.update(HTML(curves_html(parse_jsonl(lines, metrics), name)))
            shown = lines
        if last:
            return
        ended.wait(SECONDS_BETWEEN_CHARTS)


def _whole_lines(metrics: Path) -> list[str]:
    """The complete lines of the file; the stage may be writing the next one."""
    if not metrics.exists():
        return []
    return metrics.read_text(encoding="utf-8").split("\n")[:-1]


def curves_html(rows: Sequence[Row], name: str = "") -> str:
    """HTML with one chart for each metric that the rows hold: raw, smoothed, and validation."""
    charts = [_chart(title, keys, rows) for title, keys in CHARTS.items()]
    return TEMPLATES.get_template("curves.html.jinja").render(
        style=Markup(read_web(STYLES)), width=WIDTH, height=HEIGHT, waiting=not rows, name=name,
        charts=[chart for chart in charts if chart["lines"]])


def _chart(title: str, keys: Sequence[str], rows: Sequence[Row]) -> dict[str, Any]:
    train = {key: _points(rows, "train", key) for key in keys}
    checks = {key: _points(rows, "validation", key) for key in keys}
    everything = [point for points in (*train.values(), *checks.values()) for point in points]
    place = _scale(everything)
    lines = [
        {"name": key.rpartition("/")[2], "side": "ab"[side], "raw": _path(points, place),
         "smooth": _path(_smoothed(points), place),
         "last": number((points or checks[key])[-1][1], 3),
         "checks": [place(point) for point in checks[key]]}
        for side, (key, points) in enumerate(train.items()) if points or checks[key]
    ]
    values = [value for _, value in everything] or [0.0]
    return {"title": title, "lines": lines,
            "low": number(min(values), 3), "high": number(max(values), 3),
            "steps": int(max((step for step, _ in everything), default=0))}


def _points(rows: Sequence[Row], split: str, key: str) -> list[Point]:
    return [(row["step"], row[key]) for row in rows
            if row.get("split") == split and row.get(key) is not None]


def _smoothed(points: Sequence[Point]) -> list[Point]:
    if not points:
        return []
    values = exponential_moving_average([value for _, value in points],
                                        smoothing_for(len(points)))
    return [(step, float(value)) for (step, _), value in zip(points, values, strict=True)]


def _scale(points: Sequence[Point]) -> Callable[[Point], Point]:
    """From (step, value) to SVG units, the highest value on top."""
    steps, values = zip(*points, strict=True) if points else ((0.0,), (0.0,))
    width = max(steps) - min(steps) or 1.0
    height = max(values) - min(values) or 1.0
    return lambda point: (round(WIDTH * (point[0] - min(steps)) / width, 1),
                          round(HEIGHT * (max(values) - point[1]) / height, 1))


def _path(points: Sequence[Point], place: Callable[[Point], Point]) -> str:
    placed = [place(point) for point in points]
    kept = placed[:1] + [now for before, now in pairwise(placed) if now != before]
    return " ".join(f"{x},{y}" for x, y in kept)
