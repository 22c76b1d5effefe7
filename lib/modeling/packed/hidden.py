"""Hidden states of chosen layers on packed rows; layers above the highest one are not run."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lib.modeling.packed.logps import decoder_of
from lib.modeling.packed.own_forward import has_own_forward, sequences
from lib.modeling.packed.packing import PackedBatch


class _Reached(Exception):
    """Ends a forward pass after the highest layer that is read."""


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers: its longest list of modules, whatever its name."""
    return max((part for part in decoder_of(model).children() if isinstance(part, nn.ModuleList)),
               key=len, default=nn.ModuleList())


def hidden_states(model: PreTrainedModel, batch: PackedBatch,
                  layers: Sequence[int]) -> dict[int, Tensor]:
    """Output of the given layers (1 = first decoder layer), each [T, width], without gradients.

    Raises ValueError for a layer that the model does not have.
    """
    decoder, stack = decoder_of(model), layers_of(model)
    deepest = len(stack)
    wrong = [layer for layer in layers if not 1 <= layer <= deepest]
    if wrong or not layers:
        raise ValueError(f"layers are {list(layers)}; use numbers from 1 to {deepest}")
    seen: dict[int, Tensor] = {}
    hooks = [stack[layer - 1].register_forward_hook(_keep(seen, layer, max(layers)))
             for layer in set(layers)]
    if has_own_forward(model):
        try:
            return _own_states(decoder, batch, seen)
        finally:
            for hook in hooks:
                hook.remove()
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


def _own_states(decoder: PreTrainedModel, batch: PackedBatch,
                seen: dict[int, Tensor]) -> dict[int, Tensor]:
    """The same by the model's own forward, a sequence at a time; zero where the row is padded."""
    states: dict[int, Tensor] = {}
    for index in sequences(batch):
        with torch.no_grad(), suppress(_Reached):
            decoder(input_ids=batch.input_ids[:, index], use_cache=False)
        for layer, state in seen.items():
            whole = states.setdefault(layer, state.new_zeros(batch.tokens, state.shape[1]))
            whole[index] = state
    return states


def _keep(seen: dict[int, Tensor], layer: int, last: int) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, inputs: Any, output: Tensor | tuple[Tensor, ...]) -> None:
        """Keep this layer's output, [T, width]; end the pass after the highest layer."""
        seen[layer] = (output[0] if isinstance(output, tuple) else output)[0]
        if layer == last:
            raise _Reached
    return hook
