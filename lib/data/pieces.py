"""Token ids of the pieces of a rendered conversation, each as it stands in the whole.

A piece is tokenised by itself, so that no merge crosses its border, and without the space that some
tokenizers put before a text. Special tokens that a message holds were broken by `BREAK`, and are
read as plain text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BREAK = "\ue000"  # a private-use character that makes plain text of the special token around it


def encode_piece(tokenizer: PreTrainedTokenizerBase, text: str, before: str) -> list[int]:
    """Token ids of a piece of the rendered text; `before`: the text that it follows."""
    if BREAK not in text:
        return _continued(tokenizer, text, before)
    special = special_tokens(tokenizer, len(tokenizer))
    ids: list[int] = []
    position = 0
    for token in chain(special.finditer(text), [None]):
        plain = _mended(text[position:token.start() if token else len(text)])
        ids += _continued(tokenizer, plain, before, split_special_tokens=True)
        if token:
            ids += token_ids(tokenizer, [token[0]])
            position, before = token.end(), token[0]
    return ids


def token_ids(tokenizer: PreTrainedTokenizerBase, tokens: list[str]) -> list[int]:
    """Ids of whole tokens of the vocabulary."""
    ids: Any = tokenizer.convert_tokens_to_ids(tokens)  # its type is also that of one token's id
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
def special_tokens(tokenizer: PreTrainedTokenizerBase, size: int) -> re.Pattern[str]:
    """A pattern of all special tokens; `size` gives a larger tokenizer another cache key."""
    names = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)")


def _mended(text: str) -> str:
    return re.sub(f"{BREAK}({BREAK}?)", r"\1", text)
