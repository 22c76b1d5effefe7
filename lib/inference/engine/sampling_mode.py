"""A model prepared for sampling, and restored afterwards."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from transformers import PreTrainedModel

from lib.inference.engine.lean_decoder import lean_decoder
from lib.inference.engine.prepacked_weights import prepacked_weights
from lib.modeling.packed.own_forward import without_adapter


@contextmanager
def sampling_mode(model: PreTrainedModel, slots: bool = True) -> Iterator[None]:
    """Inside, the model attends over slots, with lean decoder and prepacked weights if it can.

    slots: without them it runs its own forward, with the attention that it was loaded with.
    """
    before, training = model.config._attn_implementation, model.training
    attention = "slots" if slots else _own_attention(model, before)
    if attention != before:
        model.set_attn_implementation(attention)
    model.eval()
    try:
        with ExitStack() as prepared:
            if slots:
                prepared.enter_context(lean_decoder(model))
                prepared.enter_context(prepacked_weights(model))
            yield
    finally:
        model.train(training)
        if attention != before:
            model.set_attn_implementation(before)


def _own_attention(model: PreTrainedModel, now: str) -> str:
    """The attention that the model was loaded with."""
    ours = now == "slots" or now.startswith("packed_")
    return getattr(without_adapter(model), "own_attention", "eager" if ours else now)
