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
from functools import lru_cache
from itertools import chain
from os.path import commonprefix
from typing import TYPE_CHECKING

from jinja2 import TemplateError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]  # role (system, user or assistant) and content
MESSAGE_ROLES = ("system", "user", "assistant")
TODAY = {  # to templates that write the date it is always this one, Llama's own where none is known
    "%d %b %Y": "26 Jul 2024", "%B %d, %Y": "July 26, 2024", "%Y-%m-%d": "2024-07-26",
    "%Y": "2024", "%y": "24", "%m": "07", "%d": "26", "%-d": "26", "%e": "26", "%b": "Jul",
    "%B": "July", "%a": "Fri", "%A": "Friday", "%j": "208", "%F": "2024-07-26", "%H": "00",
    "%I": "12", "%M": "00", "%S": "00", "%p": "AM", "%T": "00:00:00"}
FIXED_CLOCK = ("{% macro strftime_now(format) %}{{ format"
               + "".join(f"|replace('{code}', '{text}')" for code, text in TODAY.items())
               + " }}{% endmacro %}\n")
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
    last = max(i for i, message in enumerate(messages) if message.get("role") == "assistant")
    ids, mask, before = [], [], ""
    for text, is_response in _segments(tokenizer, messages[:last + 1], open_ended=False):
        piece = _encode(tokenizer, text, before)
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
        ids += _encode(tokenizer, text, before)
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
    ids = _encode(tokenizer, text, "".join(each for each, _ in before))
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
    """Ids that end a generation: end of turn first, then other ends of turns, then end of text.

    A base model's configuration names only its end of text: it would never stop after a turn. Some
    templates end inner turns with another token than the last one.
    """
    ids = [end_of_turn_id(tokenizer), *_inner_ends(tokenizer), tokenizer.eos_token_id,
           tokenizer.get_vocab().get("<|endoftext|>")]
    return list(dict.fromkeys(token for token in ids if token is not None))


def _inner_ends(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Id of the special token that ends an answer within a conversation, if one does."""
    turns = [{"role": role, "content": "a"} for role in ("user", "assistant")] * 2
    try:
        encoded = encode_conversation(tokenizer, turns, None)
    except ChatError:  # a template of one turn
        return []
    ids, mask = encoded.input_ids, [*encoded.response_mask, 0]
    ends = [token for place, token in enumerate(ids) if mask[place] and not mask[place + 1]]
    special = _special_tokens(tokenizer, len(tokenizer))
    return [end for end in ends if special.fullmatch(tokenizer.convert_ids_to_tokens(end))]


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
    read = tokenizer.decode(pieces)
    if not tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)).startswith(read):
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
        if not full.startswith(prompt):
            raise ChatError(_CANNOT_MASK.format(
                "a conversation does not start with its prompt as rendered",
                tokenizer.chat_template[:60]))
        end = _answer_end(tokenizer, messages[:index + 1], full, len(prompt),
                          is_last=index == len(messages) - 1)
        yield full[position:len(prompt)], False
        yield full[len(prompt):end], True
        position = end
    if open_ended:
        yield full[position:], False


_CANNOT_MASK = ("this chat template cannot be masked, because {}; use a ChatML-like one, "
                "not {!r}")


def _answer_end(tokenizer: PreTrainedTokenizerBase, messages: list[Message], full: str,
                begin: int, is_last: bool) -> int:
    """Where the last message's turn ends in `full`: after the special token that closes it.

    An inner turn without one ends with its text; what follows belongs to the next turn.
    """
    through = full if is_last else _render(tokenizer, messages, add_generation_prompt=False)
    turn_end = len(commonprefix((full, through)))
    content = messages[-1]["content"]
    content = content if full.find(content, begin, turn_end) >= 0 else content.strip()
    place = full.find(content, begin, turn_end)
    if place < 0:
        raise ChatError(_CANNOT_MASK.format(
            "it changes or leaves out the text of an answer", tokenizer.chat_template[:60]))
    place += len(content)
    token = _special_tokens(tokenizer, len(tokenizer)).search(full, place)
    if token and token.start() <= turn_end and (
            through.startswith(full[:token.end()])
            or token[0] not in _openers(tokenizer, len(tokenizer), tokenizer.chat_template)):
        return token.end()
    if is_last:
        raise ChatError(_CANNOT_MASK.format(
            "no special token ends an answer", tokenizer.chat_template[:60]))
    return place


@lru_cache(maxsize=8)
def _openers(tokenizer: PreTrainedTokenizerBase, size: int, template: str) -> set[str]:
    """The special tokens that stand before the text of a user's turn."""
    try:
        text = _render(tokenizer, [{"role": "user", "content": "text"}],
                       add_generation_prompt=False)
    except ChatError:  # a template that needs more than one turn
        return set()
    return set(_special_tokens(tokenizer, size).findall(text.partition("text")[0]))


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
    template = tokenizer.get_chat_template()
    if "strftime_now" in template:
        template = FIXED_CLOCK + template
    try:
        return tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, date_string=TODAY["%d %b %Y"],
            add_generation_prompt=add_generation_prompt)
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ChatError(f"the chat template refuses turns in the order {roles or 'none'}: {error}; "
                        "start with system or user, then alternate") from error


def _encode(tokenizer: PreTrainedTokenizerBase, text: str, before: str) -> list[int]:
    """Token ids of a piece of the rendered text; `before`: the text that it follows."""
    if BREAK not in text:
        return _continued(tokenizer, text, before)
    special = _special_tokens(tokenizer, len(tokenizer))
    ids, position = [], 0
    for token in chain(special.finditer(text), [None]):
        plain = _mended(text[position:token.start() if token else len(text)])
        ids += _continued(tokenizer, plain, before, split_special_tokens=True)
        if token:
            ids.append(tokenizer.convert_tokens_to_ids(token[0]))
            position, before = token.end(), token[0]
    return ids


def _continued(tokenizer: PreTrainedTokenizerBase, text: str, before: str,
               **options: bool) -> list[int]:
    """Token ids of a text that follows another: without the space that would open a first one.

    SentencePiece tokenizers put a space before a text, and some one after each special token.
    """
    at_start, after_special = _opening_spaces(tokenizer, len(tokenizer))
    whole = tokenizer.encode(text, add_special_tokens=False, **options)
    if not text or not before or not at_start or (
            after_special and _ends_special(tokenizer, before)):
        return whole
    anchor = tokenizer.encode("\n", add_special_tokens=False)
    ids = tokenizer.encode("\n" + text, add_special_tokens=False, **options)
    return ids[len(anchor):] if ids[:len(anchor)] == anchor else whole


@lru_cache(maxsize=8)
def _opening_spaces(tokenizer: PreTrainedTokenizerBase, size: int) -> tuple[bool, bool]:
    """Whether the tokenizer opens a text with a space, and what follows a special token too."""
    alone = tokenizer.encode("a", add_special_tokens=False)
    anchor = tokenizer.encode("\n", add_special_tokens=False)
    later = tokenizer.encode("\na", add_special_tokens=False)
    token = next((token.content for token in tokenizer.added_tokens_decoder.values()
                  if token.special), "")
    after = tokenizer.encode(token + "a", add_special_tokens=False)[1:]
    return later[:len(anchor)] == anchor and later[len(anchor):] != alone, after == alone


def _ends_special(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    return any(text.endswith(token.content) for token in tokenizer.added_tokens_decoder.values()
               if token.special)


@lru_cache(maxsize=8)
def _special_tokens(tokenizer: PreTrainedTokenizerBase, size: int) -> re.Pattern[str]:
    """A pattern of all special tokens; `size` gives a larger tokenizer another cache key."""
    names = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)")
