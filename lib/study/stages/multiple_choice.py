"""A small multiple-choice probe of general ability: which answer belongs to this prompt?

It offers four openings of answers: the conversation's own and those of three other conversations
outside the training data, from the same source if possible. It needs no label and no judge.
"""

from collections.abc import Sequence
from typing import Any

from lib.data.chat import Message, encode_prompt, encode_response
from lib.data.splits import held_out_subset
from lib.modeling.packed.packing import SharedPrompt
from lib.runtime.files import Row

QUESTIONS = 48  # conversations at most, balanced over sources
OPTIONS = 4
TOKENS = 8  # of each opening: four whole answers would cost ten times as much


def continuation_prompts(rows: Sequence[Row], tokenizer: Any) -> list[SharedPrompt]:
    """One tree a conversation: its prompt, its own answer's opening first, then three others.

    Openings are distinct; a conversation without another opening is dropped.
    """
    chosen = held_out_subset(rows, min(QUESTIONS, len(rows)), seed=0) if rows else []
    turns = [_first_turn(row["messages"]) for row in sorted(chosen, key=lambda row: row["source"])]
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
    """The opening at `place` and the next distinct ones, cyclically."""
    in_order = dict.fromkeys([*openings[place:], *openings[:place]])
    return tuple(in_order)[:OPTIONS]
