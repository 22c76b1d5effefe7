"""Conversations as token ids, with a mask of the response tokens.

The tokenizer's chat template is the one format from fine-tuning to judging. The mask comes from
positions (the rendered prompt must be a prefix of the rendered conversation), not from
`{% generation %}` markers, which most templates lack, and not from token ids: if padding and end of
turn share an id, a mask by id unlearns stopping. Only the template opens and closes turns: a
special token inside a message stays plain text. A template that writes the date gets a fixed one:
a run has the same tokens tomorrow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from lib.data.pieces import BREAK, encode_piece, special_tokens, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]  # role (system, user or assistant) and content
MESSAGE_ROLES = ("system", "user", "assistant")
TODAY = datetime(2024, 7, 26)  # of templates that write the date: Llama 3's own where it has none
FIXED_CLOCK = ("{% macro strftime_now(format) %}{{ format|replace('%-', '%')"
               + "".join(f"|replace('%{code}', '{TODAY.strftime('%' + code)}')"
                         for code in "aAbBdeDFHIjmMpSTyY") + " }}{% endmacro %}\n")
PLACE = "\ue001"  # another one, in place of a message's text


class ChatError(ValueError):
    """A conversation or a chat template that cannot be encoded; the text is one sentence."""


@dataclass(frozen=True)
class Encoded:
    """A conversation as token ids; both lists have one entry a token."""

    input_ids: list[int]
    response_mask: list[int]  # 1 on response tokens, their end-of-turn token included
    truncated: bool = False  # longer than max_length
    lost_end: bool = False  # truncated inside an answer, which lacks its end-of-turn token


def encode_conversation(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message],
                        max_length: int | None) -> Encoded:
    """Encode up to the last assistant turn's end-of-turn token; every assistant turn is response.

    max_length: in tokens, truncates from the right; None: no limit. Raises ChatError.
    """
    if not any(message.get("role") == "assistant" for message in messages):
        raise ChatError("the conversation has no assistant turn to learn from; "
                        "add one, or use encode_prompt")
    last = max(i for i, message in enumerate(messages) if message.get("role") == "assistant")
    ids, mask, before = [], [], ""
    for text, is_response in _segments(tokenizer, messages[:last + 1], open_ended=False):
        piece = encode_piece(tokenizer, text, before)
        before += text
        ids += piece
        mask += [int(is_response)] * len(piece)
    return truncate(Encoded(ids, mask), max_length)


def truncate(encoded: Encoded, max_length: int | None) -> Encoded:
    """Truncate from the right to max_length tokens (1 or more; None: no limit)."""
    ids, mask = encoded.input_ids, encoded.response_mask
    if max_length is None or len(ids) <= max_length:
        return encoded
    lost_end = mask[max_length - 1] == 1 == mask[max_length]  # cut between tokens of one answer
    return Encoded(ids[:max_length], mask[:max_length], truncated=True, lost_end=lost_end)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Token ids of the messages and of the assistant's opening. Raises ChatError."""
    ids, before = [], ""
    for text, _ in _segments(tokenizer, messages, open_ended=True):
        ids += encode_piece(tokenizer, text, before)
        before += text
    return ids


def encode_response(tokenizer: PreTrainedTokenizerBase, prompt_messages: Sequence[Message],
                    response_text: str, cut_off: bool = False) -> list[int]:
    """Token ids of an answer with its end-of-turn token. Raises ChatError.

    `encode_prompt(prompt) + encode_response(prompt, answer)` are the ids of the conversation: both
    are tokenised separately, as at generation, so that no merge crosses their border. cut_off: the
    answer ran into a token limit, so it has no end of turn (an empty one keeps it as its only
    token).
    """
    answered = [*prompt_messages, {"role": "assistant", "content": response_text}]
    *before, (text, _) = _segments(tokenizer, answered, open_ended=False)
    ids = encode_piece(tokenizer, text, "".join(each for each, _ in before))
    return ids[:-1] if cut_off and len(ids) > 1 else ids


def encode_whole(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message],
                 cut_off: bool = False) -> list[int] | str:
    """Token ids of a whole conversation for reward models, or the reason that it has none.

    They are the template's text with one beginning-of-text token; of a cut-off answer, the text up
    to its last word. A control token in a message could end the turn and praise the answer; such a
    conversation has no ids.
    """
    special = special_tokens(tokenizer, len(tokenizer))
    found = [match[0] for message in messages for match in special.finditer(message["content"])]
    if found:
        return f"the text holds the control token {found[0]}"
    text = _render(tokenizer, list(messages), add_generation_prompt=False)
    if cut_off:
        text = text[:_end_of_answer(tokenizer, messages, text)]
    if tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]:
        text = text.removeprefix(tokenizer.bos_token)  # the tokenizer adds one itself
    return tokenizer(text).input_ids


def _end_of_answer(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message],
                   text: str) -> int:
    """Where the last message's content ends in the rendered text; its end if it is not there."""
    prompt = _render(tokenizer, list(messages[:-1]), add_generation_prompt=True)
    answer = messages[-1]["content"].strip()  # some templates strip it too
    begin = text.find(answer, len(prompt))
    return begin + len(answer) if answer and begin >= 0 else len(text)


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the token that closes an assistant turn in the chat template (ChatML: <|im_end|>).

    Raises ChatError for a template without one.
    """
    conversation = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    return encode_conversation(tokenizer, conversation, None).input_ids[-1]


def stop_token_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids that end a generation: end of turn first, then other ends of turns, then end of text.

    A base model's configuration names only its end of text: it would never stop after a turn. Some
    templates end inner turns with another token than the last one.
    """
    ids = [end_of_turn_id(tokenizer), *token_ids(tokenizer, _answer_ends(tokenizer)),
           tokenizer.eos_token_id, tokenizer.get_vocab().get("<|endoftext|>")]
    return list(dict.fromkeys(token for token in ids if token is not None))


def joining_fault(tokenizer: PreTrainedTokenizerBase) -> str:
    """How pieces of a conversation, tokenised by themselves, differ from the rendered whole, or "".

    Raises ChatError for a template that cannot be used, or whose pieces read as another text.
    """
    turns = [{"role": "user", "content": "Name three rivers."},
             {"role": "assistant", "content": "The Po, the Rhine and the Nile."}]
    pieces = encode_conversation(tokenizer, turns, None).input_ids
    text = _render(tokenizer, turns, add_generation_prompt=False)
    whole = tokenizer.encode(text, add_special_tokens=False)[:len(pieces)]
    if pieces == whole:
        return ""
    read = str(tokenizer.decode(pieces))
    whole_read = str(tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)))
    if not whole_read.startswith(read):
        raise ChatError("a conversation's pieces, tokenised by themselves, read as another text "
                        f"than the whole, {read!r}; use a model with another tokenizer")
    first = next(i for i, (ours, own) in enumerate(zip(pieces, [*whole, None], strict=False))
                 if ours != own)
    return (f"the chat template's text is tokenised otherwise where an answer begins or ends "
            f"({tokenizer.convert_ids_to_tokens(pieces[first])!r} in place of "
            f"{tokenizer.convert_ids_to_tokens(whole[first])!r}), in training as at generation")


def _segments(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message],
              open_ended: bool) -> Iterator[tuple[str, bool]]:
    """Yield (text, is_response) in order; special tokens inside messages stay broken.

    open_ended: end with the next answer's opening; otherwise with the last answer's end. An answer
    ends with the special token that closes it, an inner one without such a token with its text.
    """
    special = special_tokens(tokenizer, len(tokenizer))
    messages = [_checked(message, special) for message in messages]
    full = _render(tokenizer, messages, open_ended)
    around = _around_answers(tokenizer, messages, open_ended)
    position = text_end = 0
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = _render(tokenizer, messages[:index], add_generation_prompt=True)
        if not full.startswith(prompt):
            raise _cannot_mask(tokenizer,
                               "a conversation does not start with its prompt as rendered")
        lead, after = around.pop(0)[len(prompt) - text_end:], around[0]
        text_end = _text_end(tokenizer, full, len(prompt), lead, message["content"], after)
        end = text_end
        close = special.search(after)
        if close and close[0] in _answer_ends(tokenizer):
            end += close.end()
        elif index == len(messages) - 1:
            raise _cannot_mask(tokenizer, "no special token ends an answer")
        yield full[position:len(prompt)], False
        yield full[len(prompt):end], True
        position = end
    if open_ended:
        yield full[position:], False


def _around_answers(tokenizer: PreTrainedTokenizerBase, messages: list[Message],
                    open_ended: bool) -> list[str]:
    """The rendered text before, between and after the answers' own texts, one more than answers."""
    empty = [{**message, "content": PLACE} if message["role"] == "assistant" else message
             for message in messages]
    around = _render(tokenizer, empty, open_ended).split(PLACE)
    if len(around) - 1 != sum(message["role"] == "assistant" for message in messages):
        raise _cannot_mask(tokenizer, "it leaves out or repeats the text of an answer")
    return around


def _text_end(tokenizer: PreTrainedTokenizerBase, full: str, begin: int, lead: str, answer: str,
              after: str) -> int:
    """Where an answer's text ends in `full`, whose prompt ends at `begin`.

    lead: what the template writes before it, unless the answer holds that itself (a thought).
    """
    for opening in (lead, ""):
        for text in (answer, answer.rstrip(), answer.lstrip(), answer.strip()):
            if full.startswith(opening + text + after, begin):
                return begin + len(opening + text)
    raise _cannot_mask(tokenizer, "it changes the text of an answer")


def _answer_ends(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The special tokens that close an answer: the last one, and one before a user's turn."""
    return _ends_in(tokenizer, len(tokenizer), tokenizer.get_chat_template())


@lru_cache(maxsize=8)
def _ends_in(tokenizer: PreTrainedTokenizerBase, size: int, template: str) -> list[str]:
    turns = [{"role": role, "content": PLACE} for role in ("user", "assistant")]
    try:
        pieces = _render(tokenizer, turns * 2, add_generation_prompt=False).split(PLACE)
    except ChatError:  # a template of one turn
        pieces = _render(tokenizer, turns, add_generation_prompt=False).split(PLACE)
    special = special_tokens(tokenizer, size)
    openers = special.findall(pieces[0])
    inner = special.findall(pieces[2])[:1] if len(pieces) == 5 else []
    return special.findall(pieces[-1])[:1] + [token for token in inner if token not in openers]


def _cannot_mask(tokenizer: PreTrainedTokenizerBase, reason: str) -> ChatError:
    return ChatError(f"this chat template cannot be masked, because {reason}; put a ChatML-"
                     "like one into chat_template.jinja of a copy of the model, in place of "
                     f"{tokenizer.get_chat_template()[:60]!r}")


def _checked(message: Message, special: re.Pattern[str]) -> Message:
    """The message with broken special tokens, so that only the template's are whole."""
    role, content = message.get("role"), message.get("content")
    if role not in MESSAGE_ROLES or not isinstance(content, str):
        raise ChatError(f"a message has role {role!r} and {type(content).__name__} as content; "
                        f"expected text from one of {', '.join(MESSAGE_ROLES)}")
    content = content.replace(BREAK, BREAK * 2)
    return {"role": role, "content": special.sub(_broken, content)}


def _broken(special: re.Match[str]) -> str:
    return special[0][0] + BREAK + special[0][1:]


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[Message],
            add_generation_prompt: bool) -> str:
    if not tokenizer.chat_template:
        raise ChatError(f"the tokenizer of {tokenizer.name_or_path or 'this model'} has no chat "
                        "template; use a model that has one, or set tokenizer.chat_template")
    try:
        template = tokenizer.get_chat_template()
        if "strftime_now" in template:
            template = FIXED_CLOCK + template
        return str(tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False,
            date_string=TODAY.strftime("%d %b %Y"), add_generation_prompt=add_generation_prompt))
    except Exception as error:  # noqa: BLE001 - a template is a program that may raise anything
        roles = ", ".join(message["role"] for message in messages)
        raise ChatError(f"the chat template refuses turns in the order {roles or 'none'}: {error}; "
                        "start with system or user, then alternate") from error
