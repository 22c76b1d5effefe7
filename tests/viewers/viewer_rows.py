"""Response rows to look at: hostile texts, and small systems whose scores a reader can check."""

import random
from typing import Any

Row = dict[str, Any]

HOSTILE = {
    "script": "<script>document.body.dataset.planted = 'script'</script>",
    "end of script": "</script><script>document.body.dataset.planted = 'end'</script>",
    "comment": "<!--<script>--><!-- <![CDATA[ ]]> -->",
    "event handler": "<img src=x onerror=\"document.body.dataset.planted = 'image'\">",
    "svg": "<svg/onload=\"document.body.dataset.planted = 'svg'\">",
    "frame": "<iframe srcdoc=\"<script>parent.document.body.dataset.planted='frame'</script>\">",
    "remote": "<img src='https://planted.invalid/pixel.png'><link rel=stylesheet "
              "href='//planted.invalid/style.css'>",
    "style": "</style><style>body { display: none }</style>",
    "markdown link": "[click me](javascript:document.body.dataset.planted='link')",
    "template": "{{ 7 * 7 }} {% raw %} ${7 * 7}",
    "right to left": "abc\u202egpj.exe\u202c \u2066isolate\u2069 \u200fmark",
    "arabic": "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643 123 hello",
    "control": "null\x00 bell\x07 escape\x1b[31mred\x1b[0m delete\x7f next\x85 line\u2028end\u2029",
    "invisible": "zero\u200bwidth\ufeff soft\u00adhyphen \U000e0041\U000e0042tag",
    "lone surrogate": "half \ud83d of an emoji",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \u2705\ufe0f \u00c5ngstr\u00f6m",
    "latex": "$\\frac{1}{2}$ \\(x^2\\) \\begin{equation}",
    "windows lines": "one\r\ntwo\r\nthree\rfour",
    "one long word": "x" * 100_000,
    "long looping": "again and " * 10_000,
    "zalgo": "z" + "\u0300\u0301\u0302" * 40,
    "blank": " \n ",
    "empty": "",
    "entities": "&lt;b&gt; &amp;amp; &#60;script&#62; \" ' `",
}


def candidate(text: str, tokens: int = 5, finish: str = "stop", **rewards: float | None) -> Row:
    """One candidate answer."""
    return {"text": text, "tokens": tokens, "finish": finish, "logprob": -1.5 * tokens,
            "rewards": rewards}


def response(id: str, candidates: list[Row], chosen: int = 0, source: str = "advice") -> Row:
    """One line of responses/<system>.jsonl."""
    return {"id": id, "prompt": f"Question {id}?", "source": source, "candidates": candidates,
            "chosen": chosen}


def small_systems() -> dict[str, list[Row]]:
    """sft, sft+bon2@0.6 and sft+random2@0.6 on one pool, and dpo; five prompts.

    sft against dpo: p0 judge and selector disagree, p1 sft wins though shorter, p2 identical,
    p3 dpo was cut off and loops, p4 dpo has no judge score.
    """
    loop = "round and round we go " * 6
    pools = [
        [candidate("It is red.", judge=1.0, selector=0.1), candidate("Blue it is.", judge=0.5,
                                                                     selector=0.9)],
        [candidate("Short.", 2, judge=2.0, selector=1.0), candidate("Bad.", 2, judge=0.0,
                                                                    selector=0.5)],
        [candidate("The same words.", judge=1.0, selector=1.0), candidate("Other.", judge=0.2,
                                                                          selector=0.0)],
        [candidate("Fine.", judge=1.5, selector=1.2), candidate("Finer.", judge=1.6,
                                                                selector=1.4)],
        [candidate("Unknown.", judge=1.0, selector=1.0), candidate("Known.", judge=0.9,
                                                                   selector=1.1)],
    ]
    dpo = [
        candidate("It is green.", judge=0.2, selector=0.8),
        candidate("A much longer answer than that.", 9, judge=0.5, selector=0.2),
        candidate("The same words.", judge=1.0, selector=1.0),
        candidate(loop, 64, "length", judge=-1.0, selector=-2.0),
        candidate("Nobody knows.", judge=None, selector=0.3),
    ]
    sources = ["advice", "coding", "advice", "coding", "advice"]
    return {
        "sft": [response(f"p{i}", pool, 0, sources[i]) for i, pool in enumerate(pools)],
        "sft+bon2@0.6": [response(f"p{i}", pool, (1, 0, 0, 1, 1)[i], sources[i])
                         for i, pool in enumerate(pools)],
        "sft+random2@0.6": [response(f"p{i}", pool, 1, sources[i])
                            for i, pool in enumerate(pools)],
        "dpo": [response(f"p{i}", [answer], 0, sources[i]) for i, answer in enumerate(dpo)],
    }


def many_systems(prompts: int, systems: int, words: int = 120) -> dict[str, list[Row]]:
    """`systems` systems with an answer of their own to each of `prompts` prompts."""
    draw = random.Random(0)
    vocabulary = ["".join(draw.choices("abcdefghilmnoprstu", k=draw.randrange(2, 11)))
                  for _ in range(4000)]

    def answer(prompt: int, system: int) -> Row:
        text = " ".join(draw.choices(vocabulary, k=words))
        score = ((prompt * 31 + system * 17) % 101) / 25
        return candidate(text, words, judge=score, selector=4 - score)

    return {f"system{system}": [response(f"p{prompt}", [answer(prompt, system)])
                                for prompt in range(prompts)] for system in range(systems)}


def hostile_systems() -> dict[str, list[Row]]:
    """Two systems whose prompts, ids, sources and answers are the hostile texts."""
    def rows(suffix: str) -> list[Row]:
        return [
            {"id": f"{name} {text[:60]}", "prompt": text, "source": text[:40],
             "candidates": [candidate(text + suffix, judge=1.0, selector=0.5)], "chosen": 0}
            for name, text in HOSTILE.items()
        ]

    return {"plain": rows(""), "<b>bold</b>": rows(" and more")}
