"""A model prepared for sampling, and restored afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel

from lib.inference.engine.lean_decoder import lean_decoder
from lib.inference.engine.prepacked_weights import prepacked_weights


@contextmanager
def sampling_mode(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model attends over slots, with lean decoder and prepacked weights if it can."""
    before, training = model.config._attn_implementation, model.training
    model.set_attn_implementation("slots")
    model.eval()
    try:
        with lean_decoder(model), prepacked_weights(model):
            yield
    finally:
        model.train(training)
        model.set_attn_implementation(before)
