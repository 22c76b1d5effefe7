"""A tiny byte-level tokenizer with the chat templates of the models that the study uses."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\n" "SYSTEM" "<|im_end|>\\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SMOLLM = CHATML.replace("SYSTEM", "You are a helpful AI assistant named SmolLM")
QWEN = (
    "{%- if messages[0]['role'] == 'system' %}"
    "{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{%- if (message.role == 'user') or (message.role == 'system' and not loop.first)"
    " or (message.role == 'assistant' and not message.tool_calls) %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
WORDS = ["You are a helpful assistant. The user and the assistant say hello to the world."] * 9


def build_tokenizer(template: str, eos: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a few merges; pad and end of text are `eos`."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    backend.train_from_iterator([*WORDS, "\n\n\n"], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=eos, pad_token=eos,
        extra_special_tokens=["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="session")
def smollm() -> PreTrainedTokenizerFast:
    """As SmolLM2-Instruct: padding, end of text and end of turn are one token."""
    return build_tokenizer(SMOLLM, "<|im_end|>")


@pytest.fixture(scope="session")
def qwen() -> PreTrainedTokenizerFast:
    """As the base model Qwen2.5-0.5B: padding and end of text are another token."""
    return build_tokenizer(QWEN, "<|endoftext|>")


@pytest.fixture(params=["smollm", "qwen"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    """Both in turn."""
    return request.getfixturevalue(request.param)
