"""A collection as the JSON that page and panel read; `web/data/rows.js` is its reader.

Lists instead of objects where there are many: keys would be repeated for every answer.
"""

import base64
import gzip
import json
import re
from typing import Any

from lib.inference.best_of_n import best_of_n_curve
from lib.inference.systems import System
from lib.viewers.rows import Collection, Prompt, ShownAnswer, ShownPool, ViewerError

# What could end the element or a JavaScript line, and surrogates, which UTF-8 cannot hold.
UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
DIGITS = 4  # of a diversity or curve; scores stay whole, so that ties are those of results.json


def page_data(collection: Collection, a: str | None = None, b: str | None = None,
              mode: str = "read", seed: int = 0, votes: bool = True) -> str:
    """JSON that may stand inside a <script> element.

    The viewer opens in `mode` on systems a (None: the last) and b (None: the first other one);
    `seed` draws the blind order; without `votes` there is no blind vote. Raises ViewerError when a
    or b has no responses or both are one system.
    """
    a = a or collection.systems[-1]
    alone = len(collection.systems) == 1
    b = b or next(name for name in collection.systems if alone or name != a)
    _check(collection, a, b)
    modes = ["candidates"] if alone else ["read", "candidates", *["vote"] * votes, "list"]
    data = {
        "key": collection.key,
        "opened": {"a": a, "b": b, "seed": seed, "mode": mode if mode in modes else modes[0]},
        "modes": modes,
        "systems": [_system(name) for name in collection.systems],
        "models": collection.models,
        "judges": collection.judges,
        "reach": collection.reach,
        "prompts": [_prompt(prompt, collection) for prompt in collection.prompts],
    }
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def zipped(text: str) -> str:
    """The text gzipped, in base64; the same text always gives the same bytes."""
    return base64.b64encode(gzip.compress(text.encode("utf-8"), mtime=0)).decode("ascii")


def _check(collection: Collection, a: str, b: str) -> None:
    for system in (a, b):
        if system not in collection.systems:
            raise ViewerError(f"system {system!r} has no responses; choose from "
                              f"{', '.join(collection.systems)}")
    if a == b and len(collection.systems) > 1:
        raise ViewerError(f"{a} is compared with itself; choose two systems")


def _system(name: str) -> list[Any]:
    try:
        system = System.parse(name)
    except ValueError:  # a file of another origin: it is a policy of its own
        system = System(name)
    return [name, system.policy, system.rule, system.n, system.temperature]


def _prompt(prompt: Prompt, collection: Collection) -> list[Any]:
    pools = [_pool(pool, collection) for pool in prompt.pools]
    return [prompt.id, prompt.text, prompt.source, prompt.reference, pools]


def _pool(pool: ShownPool, collection: Collection) -> list[Any]:
    chosen = [[collection.systems.index(name), place, int(name in pool.picked)]
              for name, place in pool.chosen.items()]
    answers = [_answer(answer, collection) for answer in pool.answers]
    diversity = None if pool.diversity is None else round(pool.diversity, DIGITS)
    return [answers, chosen, diversity, pool_curve(pool, collection)]


def _answer(answer: ShownAnswer, collection: Collection) -> list[Any]:
    scores = [answer.rewards[model] for model in collection.models]
    return [answer.text, answer.tokens, int(answer.finish == "length"), scores, answer.loop,
            answer.checks or None, answer.text_id]


def pool_curve(pool: ShownPool, collection: Collection) -> list[list[float] | None] | None:
    """Expected score of the best of n = 1..N by the first selector (else judge), a row a model.

    None where there is nothing to choose from or by; a model that lacks a score has None as row.
    """
    models = collection.models
    scores: list[Any] = [[answer.rewards[model] for answer in pool.answers] for model in models]
    if len(pool.answers) < 2 or not models:
        return None
    ranked_by = (*collection.selectors, *models)[0]
    proxy = scores[models.index(ranked_by)]
    return None if None in proxy else [
        None if None in gold else [round(float(value), DIGITS)
                                   for value in best_of_n_curve(proxy, gold)] for gold in scores]
