"""Hidden states of chosen layers on packed rows; layers above the highest one are not run."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lib.modeling.packed.logps import decoder_of
from lib.modeling.packed.packing import PackedBatch


class _Reached(Exception):
    """Ends a forward pass after the highest layer that is read."""


def hidden_states(model: nn.Module, batch: PackedBatch, layers: Sequence[int]) -> dict[int, Tensor]:
    """Output of the given layers (1 = first decoder layer), each [T, width], without gradients.

    Raises ValueError for a layer that the model does not have.
    """
    decoder = decoder_of(model)
    deepest = len(decoder.layers)
    wrong = [layer for layer in layers if not 1 <= layer <= deepest]
    if wrong or not layers:
        raise ValueError(f"layers are {list(layers)}; use numbers from 1 to {deepest}")
    seen: dict[int, Tensor] = {}
    hooks = [decoder.layers[layer - 1].register_forward_hook(_keep(seen, layer, max(layers)))
             for layer in set(layers)]
    try:
        with torch.no_grad():
            decoder(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False,
                    layout=batch.layout)
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _keep(seen: dict[int, Tensor], layer: int, last: int):  # noqa: ANN202
    def hook(module: nn.Module, inputs: tuple, output: Tensor | tuple) -> None:
        """Keep this layer's output, [T, width]; end the pass after the highest layer."""
        seen[layer] = (output[0] if isinstance(output, tuple) else output)[0]
        if layer == last:
            raise _Reached
    return hook
