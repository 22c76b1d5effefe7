"""A model put in order for sampling, and given back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel

from lib.inference.engine.lean_decoder import lean_decoder
from lib.inference.engine.prepacked_weights import packed_weights


@contextmanager
def sampling_mode(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model attends over slots, in fewer operations, by packed weights."""
    before, training = model.config._attn_implementation, model.training
    model.set_attn_implementation("slots")
    model.eval()
    try:
        with lean_decoder(model), packed_weights(model):
            yield
    finally:
        model.train(training)
        model.set_attn_implementation(before)
