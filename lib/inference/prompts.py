"""Prompts as token ids: chat format, the limit on length, and the model's context.

A prompt that is too long loses the end of its last message. It keeps its beginning (a system
message, the task) and the tokens that open the assistant's turn.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from lib.data.chat import Message, encode_prompt
from lib.inference.sampling_settings import SamplingSettings
from lib.modeling.context import context_of

Prompt = dict[str, Any]  # {"id": str, "prompt": str or list of messages, "source": str}


def messages_of(prompt: Prompt) -> list[Message]:
    """The messages of a prompt row; a string is one user message."""
    content = prompt["prompt"]
    return [{"role": "user", "content": content}] if isinstance(content, str) else list(content)


def check_ids(prompts: Sequence[Prompt]) -> None:
    """Raise ValueError for two prompts with one id: their answers could not be told apart."""
    twice = [name for name, count in Counter(prompt["id"] for prompt in prompts).items()
             if count > 1]
    if twice:
        raise ValueError(f"two prompts have the id {twice[0]!r}; give each another id, because "
                         "seeds and resuming depend on it")


def encode_within(tokenizer: PreTrainedTokenizerBase, prompt: Prompt,
                  limit: int) -> tuple[list[int], bool]:
    """Token ids of at most `limit` tokens, and whether the last message was cut to get there.

    Raises ValueError when the chat format alone takes more than the limit.
    """
    messages = messages_of(prompt)
    tokens = encode_prompt(tokenizer, messages)
    if len(tokens) <= limit:
        return tokens, False
    closing = _closing(tokenizer, messages)
    if len(closing) >= limit:
        raise ValueError(f"max_prompt_tokens is {limit}, but the chat format alone takes "
                         f"{len(closing)} tokens after prompt {prompt['id']!r}; use more")
    return tokens[:limit - len(closing)] + closing, True


def _closing(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> list[int]:
    """What the template writes after any text of the last message."""
    first, second = (
        encode_prompt(tokenizer, [*messages[:-1], messages[-1] | {"content": content}])
        for content in ("a", "1"))
    same = 0
    while same < min(len(first), len(second)) and first[-1 - same] == second[-1 - same]:
        same += 1
    return first[len(first) - same:]


def check_context(config: PretrainedConfig, prompts: Sequence[Prompt], lengths: Sequence[int],
                  settings: SamplingSettings) -> None:
    """Raise ValueError, naming the first such prompt, where an answer could outgrow the context."""
    context = context_of(config)
    if context is None:
        return
    for prompt, length in zip(prompts, lengths, strict=True):
        if length + settings.max_new_tokens > context:
            raise ValueError(
                f"prompt {prompt['id']!r} has {length} tokens and may get "
                f"{settings.max_new_tokens} new ones, but the model's context is {context}; "
                "lower max_prompt_tokens or max_new_tokens")
