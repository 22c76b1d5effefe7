"""A collection as the JSON that the page carries; `web/rows.js` reads it.

Lists instead of objects where there are many: keys would be repeated for every answer.
"""

import base64
import gzip
import json
import re
from typing import Any

from lib.viewers.pools import pool_curve
from lib.viewers.rows import Answer, Collection, Pool, Prompt

# What could end the element or a JavaScript line, and surrogates, which UTF-8 cannot hold.
UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
DIGITS = 4  # of a diversity; scores stay whole, so that ties are the same in page and table


def page_data(collection: Collection, opened: tuple[str, str]) -> str:
    """JSON that may stand inside a <script> element; `opened` are the two systems shown first."""
    data = {
        "opened": opened,
        "systems": collection.systems,
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


def _prompt(prompt: Prompt, collection: Collection) -> list[Any]:
    pools = [_pool(pool, collection) for pool in prompt.pools]
    return [prompt.id, prompt.text, prompt.source, prompt.reference, pools]


def _pool(pool: Pool, collection: Collection) -> list[Any]:
    chosen = [[collection.systems.index(name), place] for name, place in pool.chosen.items()]
    answers = [_answer(answer, collection) for answer in pool.answers]
    return [answers, chosen, round(pool.diversity, DIGITS), pool_curve(pool, collection)]


def _answer(answer: Answer, collection: Collection) -> list[Any]:
    scores = [answer.rewards[model] for model in collection.models]
    return [answer.text, answer.tokens, int(answer.finish == "length"), scores, answer.loop,
            answer.checks or None]
