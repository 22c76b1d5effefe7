"""The one renderer: rows in, escaped HTML out; no widget, no file, no clock.

Panels show these fragments as they are. The page builds the same elements in JavaScript, because it
filters without a kernel; a browser test compares the two. Everything goes through templates with
autoescape on, so that no text of a model can become markup.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lib.viewers.diff import WordDiff, word_diff
from lib.viewers.filters import FLAGS, Slice
from lib.viewers.marks import Shown, shown
from lib.viewers.pools import choice_of, pool_curve, ranking_model
from lib.viewers.rows import Answer, Collection, Pair, Pool, Prompt

WEB = Path(__file__).parent / "web"
STYLES = ("theme.css", "answers.css", "charts.css")
TEMPLATES = Environment(
    loader=FileSystemLoader(WEB), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)
UNMARKED = WordDiff("shared", 0.0)
CURVE_WIDTH, CURVE_HEIGHT = 120, 26  # of a Best-of-n curve, in SVG units


def style(more: Sequence[str] = ()) -> str:
    """The stylesheets of the fragments, and more of them, as a <style> element."""
    return f"<style>{read_web((*STYLES, *more))}</style>"


def read_web(names: Sequence[str]) -> str:
    """Files of `web/` one after the other."""
    return "\n".join((WEB / name).read_text(encoding="utf-8") for name in names)


def comparison(
    pair: Pair, names: tuple[str, str], collection: Collection, search: str = "", diff: bool = True
) -> str:
    """HTML of one pair side by side, with what every model says of it."""
    marks = word_diff(pair.a.text, pair.b.text) if diff else UNMARKED
    return fill(
        "comparison",
        **_question(pair.prompt, search),
        flags=[name for name, holds in FLAGS.items() if holds(pair, collection)],
        verdicts=[_verdict(pair, names, model, collection) for model in collection.models],
        legend=_legend(marks, pair) if diff else "",
        left=_card(names[0], pair.a, collection, shown(pair.a.text, marks.a, marks.kind, search)),
        right=_card(names[1], pair.b, collection, shown(pair.b.text, marks.b, marks.kind, search)),
        blind=False,
    )


def blind_comparison(prompt: Prompt, left: Answer, right: Answer) -> str:
    """HTML of two answers to be judged: no names, no scores, no lengths, no marks, no reference."""
    cards = [{"name": name, "badges": [], "facts": "", "scores": [], "tags": [], "checks": [],
              "text": shown(answer.text)} for name, answer in (("A", left), ("B", right))]
    return fill("comparison", **_question(prompt, "") | {"reference": None}, flags=[],
                verdicts=[], legend="", left=cards[0], right=cards[1], blind=True)


def candidates(prompt: Prompt, pool: Pool, collection: Collection, search: str = "") -> str:
    """HTML of all answers in one pool, best first by the first selector, choices marked."""
    ranked_by = ranking_model(collection) or "no score"
    cards = [
        _card(f"#{index + 1}", answer, collection, shown(answer.text, search=search),
              [_badge(system) for system, chosen in pool.chosen.items() if chosen == index])
        for index, answer in enumerate(pool.answers)
    ]
    best_first = sorted(range(len(cards)), key=lambda index: _rank(pool.answers[index], ranked_by))
    return fill(
        "candidates",
        **_question(prompt, search),
        legend=f"{len(cards)} candidates, best by {ranked_by} first; "
               f"{pool.diversity:.0%} of their word pairs are distinct.",
        cards=[cards[index] for index in best_first],
        curve_legend=f"Expected score of the best of n by {ranked_by}",
        places=curve_places(len(pool.answers)),
        curve=_curve(pool, collection),
    )


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """HTML of a plain table: what a headless run shows instead of a widget."""
    return fill("table", caption=caption, columns=columns, rows=rows)


def slice_in_words(slice_: Slice, a: str, b: str, score: str) -> str:
    """HTML of one line: win rate of a over b with its interval, counts and mean lengths."""
    n = slice_.wins + slice_.ties + slice_.losses
    counts = f"n = {n}: {slice_.wins} wins, {slice_.ties} ties, {slice_.losses} losses"
    return fill("slice", slice=slice_, a=a, b=b, score=score, counts=counts, empty=n == 0)


def note(*lines: str) -> str:
    """HTML of plain sentences, each a paragraph."""
    return fill("note", lines=lines)


def number(value: float | None, digits: int = 2) -> str:
    """A score as people write it: a real minus sign, no negative zero, a dash for a missing one."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def facts(answer: Answer) -> str:
    """Length and stop reason in words."""
    ended = "cut off at the limit" if answer.finish == "length" else "stopped by itself"
    return f"{answer.tokens} token{'' if answer.tokens == 1 else 's'}, {ended}"


def fill(template: str, **values: Any) -> str:
    """HTML of one template in `web/`, every value escaped."""
    return TEMPLATES.get_template(f"{template}.html.jinja").render(**values)


def _question(prompt: Prompt, search: str) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "question": shown(prompt.text, search=search),
        "reference": shown(prompt.reference, search=search) if prompt.reference else None,
    }


def _legend(marks: WordDiff, pair: Pair) -> str:
    """What the marks in the two texts mean."""
    if pair.identical:
        return "The two answers are identical."
    if marks.kind == "too long":
        return "These answers are too long and repetitive to compare word by word."
    common = f"{marks.share:.0%} of the words are in both"
    if marks.kind == "changed":
        return f"{common}; words of only one answer are marked."
    return f"{common}; phrases of both are underlined." if marks.a else f"{common}."


def _verdict(
    pair: Pair, names: tuple[str, str], model: str, collection: Collection
) -> dict[str, Any]:
    gap, winner = pair.gap(model), pair.winner(model)
    low, high = collection.reach.get(model, (0.0, 0.0))
    width = 100 * abs(gap) / (high - low) if gap and high > low else 0.0
    unclear = {None: "not scored", "tie": "a tie"}
    words = unclear.get(winner) or f"{names[winner == 'b']} by {number(abs(gap or 0))}"
    return {"model": model, "role": role(model, collection), "side": winner or "tie",
            "x": f"{-width if winner == 'a' else 0:.1f}", "width": f"{width:.1f}", "words": words}


def role(model: str, collection: Collection) -> str:
    """`judge` or `selector`, empty where the model's name says so already."""
    found = "judge" if model in collection.judges else "selector"
    return "" if found in model else found


def _card(
    name: str, answer: Answer, collection: Collection, text: Shown,
    badges: Sequence[dict[str, str]] = (),
) -> dict[str, Any]:
    return {
        "name": name, "badges": badges, "facts": facts(answer), "text": text,
        "tags": [f"repeats itself for {answer.loop} words"] if answer.loop else [],
        "scores": [_bar(model, score, collection) for model, score in answer.rewards.items()],
        "checks": [{"words": f"{'keeps' if kept else 'breaks'} {name}", "kept": kept}
                   for name, kept in answer.checks.items()],
    }


def _badge(system: str) -> dict[str, str]:
    """Who took this candidate, and how; the kind is a class of theme.css."""
    how = choice_of(system)
    return {"kind": how.replace(" ", "-"), "label": f"{how} · {system}"}


def curve_places(n: int) -> list[int]:
    """The sizes at which a curve is told in numbers: powers of two, and N itself."""
    return [size for size in range(1, n + 1) if size & (size - 1) == 0 or size == n]


def _curve(pool: Pool, collection: Collection) -> list[dict[str, Any]]:
    """Each model's curve: its values where they are told, and all of them as an SVG line."""
    curves = pool_curve(pool, collection) or []
    places = curve_places(len(pool.answers))
    return [{"model": model, "scores": [number(scores[n - 1]) for n in places],
             "line": _line(scores)}
            for model, scores in zip(collection.models, curves, strict=False)]


def _line(values: Sequence[float]) -> str:
    """Points of a polyline, from left to right, the highest value on top."""
    low, reach = min(values), max(values) - min(values) or 1.0
    step = CURVE_WIDTH / (len(values) - 1)
    return " ".join(f"{place * step:.1f},{CURVE_HEIGHT * (1 - (value - low) / reach):.1f}"
                    for place, value in enumerate(values))


def _bar(model: str, score: float | None, collection: Collection) -> dict[str, str]:
    low, high = collection.reach.get(model, (0.0, 0.0))
    width = 100 * (score - low) / (high - low) if score is not None and high > low else 0.0
    return {"model": model, "width": f"{width:.1f}", "words": number(score)}


def _rank(answer: Answer, model: str) -> float:
    score = answer.rewards.get(model)
    return math.inf if score is None else -score
