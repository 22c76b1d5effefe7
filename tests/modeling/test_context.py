"""How long a sequence may be before a model's positions mean something else."""

import pytest
from transformers import AutoConfig

from lib.modeling.context import changing_from, context_of
from tests.inference.architectures import ARCHITECTURES


@pytest.mark.parametrize(("name", "context", "changing"), [
    ("llama", 256, None), ("llama, yarn", 256, None), ("llama3 rope", 256, None),
    ("llama, dynamic rope", 64, 64), ("phi3, long rope", 64, 64), ("gpt2", 256, None),
    ("gemma3", 256, None), ("bloom, ALiBi", None, None)])
def test_a_context_ends_where_rotary_frequencies_change(
        name: str, context: int | None, changing: int | None) -> None:
    kind, settings = ARCHITECTURES[name]
    config = AutoConfig.for_model(kind, **settings)
    assert (context_of(config), changing_from(config)) == (context, changing)
