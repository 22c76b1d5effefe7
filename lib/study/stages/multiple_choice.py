"""A small multiple-choice probe of what a policy keeps: which answer goes on from this prompt?

Four openings of answers, the conversation's own and those of three others that no policy was
trained on, from the same source where there are enough. No label, no judge and no download.
"""

from collections.abc import Sequence
from typing import Any

from lib.data.chat import Message, encode_prompt, encode_response
from lib.data.splits import held_out_subset
from lib.modeling.packed.packing import SharedPrompt
from lib.runtime.files import Row

QUESTIONS = 48  # conversations that are asked about, at most, balanced over sources
OPTIONS = 4
TOKENS = 8  # of each answer's opening: four whole answers would cost ten times as much


def continuation_trees(rows: Sequence[Row], tokenizer: Any) -> list[SharedPrompt]:
    """One tree a conversation: its prompt, its own answer's opening first, then the others'.

    Others with the same opening are passed over; a conversation without any other is left out.
    """
    asked = held_out_subset(rows, min(QUESTIONS, len(rows)), seed=0)
    turns = [_first_turn(row["messages"]) for row in sorted(asked, key=lambda row: row["source"])]
    openings = [tuple(encode_response(tokenizer, prompt, answer)[:TOKENS])
                for prompt, answer in turns]
    options = [_options(openings, place) for place in range(len(openings))]
    return [SharedPrompt(tuple(encode_prompt(tokenizer, prompt)), offered)
            for (prompt, _), offered in zip(turns, options, strict=True) if len(offered) > 1]


def _first_turn(messages: Sequence[Message]) -> tuple[list[Message], str]:
    """The messages before the first answer, and that answer."""
    place = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
    return list(messages[:place]), messages[place]["content"]


def _options(openings: Sequence[tuple[int, ...]], place: int) -> tuple[tuple[int, ...], ...]:
    """The opening at `place` and the next different ones, round the end."""
    in_order = dict.fromkeys([*openings[place:], *openings[:place]])
    return tuple(in_order)[:OPTIONS]
