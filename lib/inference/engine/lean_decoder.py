"""The decoder of a Llama-like model, written for sampling: the same result in fewer operations.

A decoding step takes a few rows through every layer, so its cost, beside reading weights and cache,
is the number of operations, not their size. Here one product gives queries, keys and values, which
are rotated together, another gives gate and up, and a norm is one call. Models of another form keep
transformers' forward.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm, silu
from transformers import PreTrainedModel
from transformers.activations import SiLUActivation
from transformers.modeling_outputs import BaseModelOutputWithPast

from lib.inference.engine.slot_attention import Masks, slot_attention
from lib.modeling.packed.logps import decoder_of

DECODERS = ("LlamaModel", "Qwen2Model")


@contextmanager
def lean_decoder(model: PreTrainedModel) -> Iterator[None]:
    """Inside, a Llama or Qwen2 decoder runs by `LeanForward`; it is restored afterwards."""
    decoder = decoder_of(model)
    if not has_known_form(decoder):
        yield
        return
    with merged_products(decoder):
        decoder.forward = LeanForward(decoder)
        try:
            yield
        finally:
            decoder.__dict__.pop("forward", None)


@contextmanager
def merged_products(decoder: Any) -> Iterator[None]:
    """Inside, every layer has `self_attn.qkv_proj` and `mlp.gate_up_proj` instead of their parts.

    decoder: one that `has_known_form`. The parts get their weights back, bit for bit.
    """
    merged = []
    try:
        for layer in decoder.layers:
            for name, (module, parts) in _parts(layer).items():
                _merge(module, name, parts)
                merged.append((module, name, parts))
        yield
    finally:
        for module, name, parts in merged:
            _split(module, name, parts)


def has_known_form(decoder: Any) -> bool:
    """Whether the decoder has the layers that `LeanForward` writes out, none of them replaced."""
    return type(decoder).__name__ in DECODERS and all(
        isinstance(layer.mlp.act_fn, (nn.SiLU, SiLUActivation))
        and all(type(part) is nn.Linear for _, parts in _parts(layer).values() for part in parts)
        for layer in decoder.layers)


def _parts(layer: Any) -> dict[str, tuple[nn.Module, list[nn.Linear]]]:
    """Name of each merged layer, the module that gets it, and the layers that it replaces."""
    attention, mlp = layer.self_attn, layer.mlp
    return {"qkv_proj": (attention, [attention.q_proj, attention.k_proj, attention.v_proj]),
            "gate_up_proj": (mlp, [mlp.gate_proj, mlp.up_proj])}


def _merge(module: nn.Module, name: str, parts: list[nn.Linear]) -> None:
    """Give a module one linear layer with the outputs of `parts`, and empty these."""
    with torch.inference_mode(False), torch.no_grad():  # parameters stay trainable
        weight = torch.cat([part.weight for part in parts])
        biases: list[Tensor] = [part.bias for part in parts if part.bias is not None]
        merged = nn.Linear(weight.shape[1], weight.shape[0], bool(biases), device="meta")
        merged.weight = nn.Parameter(weight, requires_grad=False)
        if biases:
            merged.bias = nn.Parameter(torch.cat(biases), requires_grad=False)
        for part in parts:
            part.weight.data = part.weight.new_empty(0)
    setattr(module, name, merged)


def _split(module: nn.Module, name: str, parts: list[nn.Linear]) -> None:
    """Give the parts of a merged layer their weights back, bit for bit."""
    with torch.inference_mode(False), torch.no_grad():
        pieces = getattr(module, name).weight.split([part.out_features for part in parts])
        for part, piece in zip(parts, pieces, strict=True):
            part.weight.data = piece.clone()
    delattr(module, name)


class LeanForward:
    """The forward pass of a Llama or Qwen2 decoder over slots or over one prompt."""

    def __init__(self, decoder: Any) -> None:
        self.decoder = decoder

    def __call__(self, input_ids: Tensor, position_ids: Tensor, past_key_values: Any,
                 masks: Masks | None = None, **_: object) -> BaseModelOutputWithPast:
        """Last hidden states of tokens [rows, tokens] at positions [rows, tokens].

        masks: of a decoding pass over the slots of `past_key_values`; None for a prompt's pass.
        """
        decoder = self.decoder
        hidden = decoder.embed_tokens(input_ids)  # [rows, tokens, width]
        cos, sin = decoder.rotary_emb(hidden, position_ids)  # [rows, tokens, head_dim]
        sin = torch.cat((-sin[..., :sin.shape[-1] // 2], sin[..., sin.shape[-1] // 2:]), -1)
        rotation = cos[:, :, None], sin[:, :, None]
        for index, layer in enumerate(decoder.layers):
            hidden = hidden + self._attention(
                layer.self_attn, _normed(layer.input_layernorm, hidden), rotation, index,
                past_key_values, masks)
            normed = _normed(layer.post_attention_layernorm, hidden)
            gate, up = layer.mlp.gate_up_proj(normed).chunk(2, -1)
            hidden = hidden + layer.mlp.down_proj(silu(gate).mul_(up))
        return BaseModelOutputWithPast(_normed(decoder.norm, hidden))

    def _attention(self, attention: Any, normed: Tensor, rotation: tuple[Tensor, Tensor],
                   index: int, cache: Any, masks: Masks | None) -> Tensor:
        """One layer's attention, [rows, tokens, width]; rotation as in Su et al. 2021, eq. 34."""
        dim, (cos, sin) = attention.head_dim, rotation
        heads = attention.qkv_proj(normed).unflatten(-1, (-1, dim))  # [rows, tokens, heads, dim]
        kv_heads = heads.shape[2] // (attention.num_key_value_groups + 2)
        rotated, value = heads[:, :, :-kv_heads], heads[:, :, -kv_heads:]
        rotated = torch.addcmul(rotated * cos, rotated.roll(dim // 2, -1), sin)
        query, key = rotated[:, :, :-kv_heads], rotated[:, :, -kv_heads:]
        key, value = cache.update(key.transpose(1, 2), value.transpose(1, 2), index)
        out, _ = slot_attention(attention, query.transpose(1, 2), key, value, None,
                                attention.scaling, masks,
                                getattr(attention, "sliding_window", None))
        return attention.o_proj(out.flatten(2))


def _normed(norm: Any, hidden: Tensor) -> Tensor:
    return rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)
