"""How fast this machine trains: two layers of a model's width, for a second."""

import time

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from lib.modeling.packed.attention import choose_method, use_packed_attention
from lib.modeling.packed.logps import response_logps
from lib.modeling.packed.packing import SharedPrompt, collate
from lib.runtime.devices import Device
from lib.study.planning.memory import Shape

LAYERS, VOCABULARY, TOKENS = 2, 512, 1024
SECONDS = 1.0


def training_rate(shape: Shape, device: Device, seconds: float = SECONDS) -> float:
    """Operations a second of forward and backward (6 a weight and token), on this device."""
    model = _model(shape, device)
    tree = SharedPrompt((), (tuple(range(3, 3 + TOKENS // 4)),))
    batch = collate([tree] * 4, device.device)
    operations = 6 * sum(p.numel() for p in model.parameters()) * batch.tokens
    _step(model, batch)  # kernels are chosen and compiled here
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        _step(model, batch)
        steps += 1
    return operations * steps / (time.perf_counter() - started)


def _step(model: torch.nn.Module, batch: object) -> None:
    response_logps(model, batch).sum().backward()
    model.zero_grad(set_to_none=False)
    if batch.input_ids.is_cuda:
        torch.cuda.synchronize()


def _model(shape: Shape, device: Device) -> Qwen2ForCausalLM:
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=shape.width, intermediate_size=shape.intermediate,
        num_hidden_layers=LAYERS, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads, tie_word_embeddings=True))
    use_packed_attention(model, choose_method(device.device)[0])
    return model.to(device.device, device.dtype)
