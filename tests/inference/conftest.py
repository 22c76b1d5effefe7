"""A small tokenizer and a small random model, made once a session."""

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.modeling.smoke import smoke_tokenizer
from tests.inference.tiny_models import tiny


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return smoke_tokenizer(vocabulary=400)


@pytest.fixture(scope="session")
def qwen(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    return tiny("qwen2", tokenizer)
