"""Conversations as token ids, with a mask of the response tokens.

The tokenizer's chat template is the one format from fine-tuning to judging. The mask comes from
positions (the rendered prompt must be a prefix of the rendered conversation), not from
`{% generation %}` markers, which most templates lack, and not from token ids: if padding and end of
turn share an id, a mask by id unlearns stopping. Only the template opens and closes turns: a
special token inside a message stays plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from jinja2 import TemplateError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]  # role (system, user or assistant) and content
MESSAGE_ROLES = ("system", "user", "assistant")
BREAK = "\ue000"  # a private-use character that makes plain text of the special token around it


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
    ids, mask = [], []
    for text, is_response in _segments(tokenizer, messages, open_ended=False):
        piece = _encode(tokenizer, text)
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
    pieces = _segments(tokenizer, messages, open_ended=True)
    return list(chain.from_iterable(_encode(tokenizer, text) for text, _ in pieces))


def encode_response(tokenizer: PreTrainedTokenizerBase, prompt_messages: Sequence[Message],
                    response_text: str, cut_off: bool = False) -> list[int]:
    """Token ids of an answer with its end-of-turn token. Raises ChatError.

    `encode_prompt(prompt) + encode_response(prompt, answer)` are the ids of the conversation: both
    are tokenised separately, as at generation, so that no merge crosses their border. cut_off: the
    answer ran into a token limit, so it has no end of turn (an empty one keeps it as its only
    token).
    """
    answered = [*prompt_messages, {"role": "assistant", "content": response_text}]
    *_, (text, _) = _segments(tokenizer, answered, open_ended=False)
    ids = _encode(tokenizer, text)
    return ids[:-1] if cut_off and len(ids) > 1 else ids


def encode_whole(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message],
                 cut_off: bool = False) -> list[int] | str:
    """Token ids of a whole conversation for reward models, or the reason that it has none.

    They are the template's text with one beginning-of-text token; of a cut-off answer, the text up
    to its last word. A control token in a message could end the turn and praise the answer; such a
    conversation has no ids.
    """
    special = _special_tokens(tokenizer, len(tokenizer))
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
    """Ids that end a generation: end of turn first, then end of text.

    A base model's configuration names only its end of text: it would never stop after a turn.
    """
    ids = [end_of_turn_id(tokenizer), tokenizer.eos_token_id,
           tokenizer.get_vocab().get("<|endoftext|>")]
    return list(dict.fromkeys(token for token in ids if token is not None))


def _segments(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message],
              open_ended: bool) -> Iterator[tuple[str, bool]]:
    """Yield (text, is_response) in order; special tokens inside messages stay broken.

    open_ended: end with the next answer's opening; otherwise with the last answer's end.
    """
    special = _special_tokens(tokenizer, len(tokenizer))
    messages = [_checked(message, special) for message in messages]
    full = _render(tokenizer, messages, open_ended)
    position = 0
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = _render(tokenizer, messages[:index], add_generation_prompt=True)
        end = special.search(full, len(prompt))
        if end is None or not full.startswith(prompt):
            raise ChatError("this chat template cannot be masked, because a conversation does not "
                            "start with its prompt as rendered, or no special token ends an "
                            f"answer; use a ChatML-like one, not {tokenizer.chat_template[:60]!r}")
        yield full[position:len(prompt)], False
        yield full[len(prompt):end.end()], True
        position = end.end()
    if open_ended:
        yield full[position:], False


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


def _mended(text: str) -> str:
    return re.sub(f"{BREAK}({BREAK}?)", r"\1", text)


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[Message],
            add_generation_prompt: bool) -> str:
    if not tokenizer.chat_template:
        raise ChatError(f"the tokenizer of {tokenizer.name_or_path or 'this model'} has no chat "
                        "template; use a model that has one, or set tokenizer.chat_template")
    try:
        return tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt)
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ChatError(f"the chat template refuses turns in the order {roles or 'none'}: {error}; "
                        "start with system or user, then alternate") from error


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    if BREAK not in text:
        return tokenizer.encode(text, add_special_tokens=False)
    special = _special_tokens(tokenizer, len(tokenizer))
    ids, position = [], 0
    for token in chain(special.finditer(text), [None]):
        plain = text[position:token.start() if token else len(text)]
        ids += tokenizer.encode(_mended(plain), add_special_tokens=False, split_special_tokens=True)
        if token:
            ids.append(tokenizer.convert_tokens_to_ids(token[0]))
            position = token.end()
    return ids


@lru_cache(maxsize=8)
def _special_tokens(tokenizer: PreTrainedTokenizerBase, size: int) -> re.Pattern[str]:
    """A pattern of all special tokens; `size` gives a larger tokenizer another cache key."""
    names = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)")
