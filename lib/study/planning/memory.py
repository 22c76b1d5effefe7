"""How much memory training and sampling need, counted from the model's shape.

Training holds the model in its compute precision, float32 master weights (the model itself if it
computes in float32), float32 gradients, AdamW's two moments, and for every token of a packed row
the activations that the backward pass needs. On top come the logits of the vocabulary head, or the
gradients inside one layer. Tests hold the count to within 15 % of the measured peak of a training
process, with and without activation checkpointing.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.modeling.packed import CHUNK_ELEMENTS, KEPT_ELEMENTS, LEAST_CHUNK, WORDS_A_BLOCK
from lib.training.settings import TrainingSettings

RUNTIME_GB = {"cuda": 0.7, "cpu": 0.8, "mps": 0.8}  # CUDA context, libraries; Python, PyTorch
HEADROOM = 0.94  # the share of a memory that a plan may use; fragmentation takes the rest


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder, as its config.json names them."""

    layers: int
    width: int
    intermediate: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool = True
    head_width: int | None = None  # None: the width is divided among the heads

    @property
    def query_width(self) -> int:
        """Width of the queries of one layer."""
        return (self.head_width or self.width // self.heads) * self.heads

    @property
    def kv_width(self) -> int:
        """Width of the keys, and of the values, of one layer."""
        return self.query_width // self.heads * self.kv_heads

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer, without its few biases and norms."""
        return (2 * self.width * (self.query_width + self.kv_width)
                + 3 * self.width * self.intermediate)

    @property
    def parameters(self) -> int:
        """Weights of the whole model."""
        words = self.vocabulary * self.width * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + words


ATTENTION_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj")
SHAPES = {
    "smoke": Shape(2, 64, 128, 4, 2, 1024),
    "packaged": Shape(30, 576, 1536, 9, 3, 49152),
    "gemma": Shape(18, 640, 2048, 4, 1, 262144, head_width=256),
    "Qwen/Qwen2.5-0.5B": Shape(24, 896, 4864, 14, 2, 151936),
    "Qwen/Qwen2.5-1.5B": Shape(28, 1536, 8960, 12, 2, 151936),
    "Qwen/Qwen2.5-7B": Shape(28, 3584, 18944, 28, 4, 152064, tied=False),
    "Qwen/Qwen2.5-72B": Shape(80, 8192, 29568, 64, 8, 152064, tied=False),
}


def shape_of(name: str) -> Shape | None:
    """The shape of a model by name or by the config.json of its folder; None where unknown."""
    config = Path(name) / "config.json"
    if name in SHAPES or not config.exists():
        return SHAPES.get(name)
    found = json.loads(config.read_text(encoding="utf-8"))
    found = {**found, **found.get("text_config", {})}
    layers, width, heads, vocabulary = (_named(found, *names) for names in (
        ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        ("hidden_size", "n_embd", "d_model"),
        ("num_attention_heads", "n_head", "n_heads", "num_heads"), ("vocab_size",)))
    if layers is None or width is None or vocabulary is None:
        return None
    heads = heads or 1  # a recurrent model has none
    inner = _named(found, "intermediate_size", "n_inner", "ffn_dim") or 4 * width
    return Shape(layers, width, inner, heads, _named(found, "num_key_value_heads") or heads,
                 vocabulary, found.get("tie_word_embeddings", False), found.get("head_dim"))


def _named(config: dict[str, Any], *names: str) -> int | None:
    """The first whole number that a configuration gives under one of the names."""
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)


def trained_parameters(shape: Shape, settings: TrainingSettings) -> int:
    """Parameters that have gradients: all, or LoRA's of the targeted matrices of each layer."""
    if not settings.lora_rank:
        return shape.parameters
    sides = linear_layers(shape)
    named = [name.rpartition(".")[2] for name in settings.lora_targets or sides]
    targets = {*named, *(ATTENTION_LAYERS if "attention" in named else ())}
    return settings.lora_rank * shape.layers * sum(sides.get(name, 0) for name in targets)


def linear_layers(shape: Shape) -> dict[str, int]:
    """Inputs plus outputs of the seven linear layers of a Llama's, Qwen's or Gemma's layer."""
    outputs = shape.query_width, shape.kv_width, shape.kv_width, shape.query_width
    return dict(zip(ATTENTION_LAYERS, (shape.width + size for size in outputs), strict=True)) | \
        dict.fromkeys(("gate_proj", "up_proj", "down_proj"), shape.width + shape.intermediate)


def state_bytes(shape: Shape, half: bool, trained: float | None = None) -> float:
    """Bytes of weights, masters, gradients and moments; trained: parameters, all by default."""
    trained = shape.parameters if trained is None else trained
    return (2 if half else 4) * shape.parameters + (16 if half else 12) * trained


def activation_parts(shape: Shape, settings: TrainingSettings, half: bool,
                     cpu: bool = False) -> dict[str, float]:
    """Bytes on top of the state at the peak, by purpose; cpu: as in `_head_bytes`.

    Every layer keeps its tensors for the backward pass, or (activation checkpointing) its input
    only; after the layers come the last norm and its output. The most is then alive in the head, or
    in a gated MLP: the gradients of gate and up, beside the whole layer if it is recomputed. Head
    and layers do not run at the same time: the larger counts.
    """
    tokens, size = settings.token_budget, 2 if half else 4
    whole = _layer_bytes(shape, size, bool(settings.lora_rank))
    checkpointed = settings.activation_checkpointing
    kept = shape.layers * (size * shape.width if checkpointed else whole) + 2 * size * shape.width
    layer = (whole if checkpointed else 0) + 2 * size * (shape.intermediate + shape.width)
    return {"kept for the backward pass": tokens * kept,
            "head or layer in work": max(_head_bytes(shape, tokens, half, cpu), tokens * layer)}


def _layer_bytes(shape: Shape, size: int, lora: bool) -> int:
    """Bytes that one layer keeps for the backward pass, a token; size: of a number, in bytes.

    Two norms and the projections keep their input; attention keeps queries, keys, values and its
    output, but no weights; the gated MLP keeps gate and up, see
    `lib.modeling.packed.lean_activations`, and with LoRA also the activated gate and the product.
    """
    attention = 2 * shape.query_width + 2 * shape.kv_width
    return size * (5 * shape.width + attention + (4 if lora else 2) * shape.intermediate)


def _head_bytes(shape: Shape, tokens: int, half: bool, cpu: bool) -> int:
    """Bytes while the vocabulary head runs, forward or backward, whichever takes more.

    A CPU keeps logits for the backward, computes a block of the others again, and has the hidden
    states' gradient in float32. Another device, forward: a chunk's logits and their float32
    log-softmax; backward: logits, their gradient, and the hidden states' gradient.
    """
    size = 2 if half else 4
    if cpu:
        logits, block = tokens * shape.vocabulary, tokens * min(shape.vocabulary, WORDS_A_BLOCK)
        alive = logits if logits <= KEPT_ELEMENTS else KEPT_ELEMENTS + block
        return size * alive + 4 * tokens * shape.width
    logits = min(tokens, max(LEAST_CHUNK, CHUNK_ELEMENTS // shape.vocabulary)) * shape.vocabulary
    return max(logits * (4 + size), 2 * size * logits + tokens * shape.width * size)


def training_bytes(shape: Shape, settings: TrainingSettings, half: bool, processes: int = 1,
                   sharded: bool = False, cpu: bool = False) -> float:
    """Peak bytes of one process that trains, without Python, PyTorch and CUDA themselves."""
    state = state_bytes(shape, half, trained_parameters(shape, settings))
    if sharded:  # FSDP gathers a layer and the embedding while it uses them
        state = state / processes + 4 * (shape.layer_parameters + shape.vocabulary * shape.width)
    return state + sum(activation_parts(shape, settings, half, cpu).values())


def sampling_bytes(shape: Shape, rows: int, tokens: int) -> float:
    """Bytes of a half-precision model and the keys and values of `rows` answers of `tokens`."""
    return 2 * shape.parameters + 4 * rows * tokens * shape.layers * shape.kv_width
