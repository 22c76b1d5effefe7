"""How much memory a model takes to train and to sample from, counted and not guessed.

Training holds, in bytes a parameter P: the model in its compute precision, float32 masters (the
model itself if it computes in float32), float32 gradients and AdamW's two moments; and for every
token of the row in work what autograd keeps for the backward pass. On top comes what is alive only
for a moment: logits of the vocabulary head, or the gradients inside one layer. `tests/study` holds
the count to within 15 % of the peak of a process that trains, with and without recomputation.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from lib.modeling.packed import CHUNK_ELEMENTS
from lib.training.settings import TrainingSettings

RUNTIME_GB = {"cuda": 0.7, "cpu": 0.8}  # CUDA context and libraries; Python with PyTorch
HEADROOM = 0.94  # of a memory that may be planned for; fragments take the rest


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

    @property
    def kv_width(self) -> int:
        """Width of the keys, and of the values, of one layer."""
        return self.width // self.heads * self.kv_heads

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer; the few of biases and norms are left out."""
        return 2 * self.width * (self.width + self.kv_width) + 3 * self.width * self.intermediate

    @property
    def parameters(self) -> int:
        """Weights of the whole model."""
        words = self.vocabulary * self.width * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + words


SHAPES = {
    "smoke": Shape(2, 64, 128, 4, 2, 1024),
    "packaged": Shape(30, 576, 1536, 9, 3, 49152),
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
    heads = found["num_attention_heads"]
    return Shape(found["num_hidden_layers"], found["hidden_size"], found["intermediate_size"],
                 heads, found.get("num_key_value_heads", heads), found["vocab_size"],
                 found.get("tie_word_embeddings", False))


def state_bytes(shape: Shape, half: bool, trained: float | None = None) -> float:
    """Bytes of weights, masters, gradients and moments; trained: parameters, all by default."""
    trained = shape.parameters if trained is None else trained
    return (2 if half else 4) * shape.parameters + (16 if half else 12) * trained


def layer_bytes(shape: Shape, half: bool) -> float:
    """Bytes that one layer keeps for the backward pass, a token.

    Two norms and the projections keep their input; attention keeps queries, keys, values and its
    output, but no weights; the gated MLP keeps gate and up, see
    `lib.modeling.packed.lean_activations`.
    """
    size = 2 if half else 4
    norms = 2 * shape.width * size
    attention = size * (4 * shape.width + 2 * shape.kv_width)
    return norms + attention + size * (shape.width + 2 * shape.intermediate)


def kept_bytes(shape: Shape, tokens: int, half: bool, checkpointed: bool) -> float:
    """Bytes that the backward pass finds: all of every layer, or (checkpointed) only its input.

    After the layers come the last norm and its output where a response token is predicted.
    """
    size = 2 if half else 4
    layer = size * shape.width if checkpointed else layer_bytes(shape, half)
    return tokens * (shape.layers * layer + shape.width * 2 * size)


def head_bytes(shape: Shape, tokens: int, half: bool, cpu: bool = False) -> float:
    """Bytes while the vocabulary head runs, forward or backward, whichever takes more.

    Forward: a chunk's logits, their float32 copy and its exponentials. Backward: logits, their
    slope, and the hidden states' gradient. A CPU works a few rows at a time and puts the slope
    where the logits were.
    """
    size = 2 if half else 4
    logits = min(tokens, max(64, CHUNK_ELEMENTS // shape.vocabulary)) * shape.vocabulary
    gradient = tokens * shape.width * size
    if cpu:
        return size * logits + gradient
    return max(logits * (8 + (size if half else 0)), 2 * size * logits + gradient)


def backward_bytes(shape: Shape, tokens: int, half: bool, checkpointed: bool) -> float:
    """Bytes while a layer's gradients are computed, on top of what is kept.

    The most is alive in the gated MLP: the gradients of gate and up beside all that the layer kept.
    A recomputed layer is there whole.
    """
    size = 2 if half else 4
    again = layer_bytes(shape, half) if checkpointed else 0.0
    return tokens * (again + 2 * size * (shape.intermediate + shape.width))


def embedding_gradient_bytes(shape: Shape, half: bool) -> float:
    """Bytes of the tied embedding's dense gradient, alive from the head's backward to the lookup's.

    With float32 masters both uses of the embedding add to the master's gradient at once.
    """
    return 0.0 if half else 4 * shape.vocabulary * shape.width


def training_bytes(shape: Shape, settings: TrainingSettings, half: bool, processes: int = 1,
                   sharded: bool = False, cpu: bool = False) -> float:
    """Peak bytes of one process that trains, without the runtime's own.

    Head and layers do not run at the same time: the larger counts. cpu: as in `head_bytes`.
    """
    lora = settings.lora_rank * 2 * 7 * shape.layers * shape.width  # about: seven matrices a layer
    state = state_bytes(shape, half, lora if settings.lora_rank else None)
    if sharded:  # a layer and the words are put together while they are used
        state = state / processes + 4 * (shape.layer_parameters + shape.vocabulary * shape.width)
    return state + sum(activation_parts(shape, settings, half, cpu).values())


def activation_parts(shape: Shape, settings: TrainingSettings, half: bool,
                     cpu: bool = False) -> dict[str, float]:
    """Bytes on top of the state at the peak, by what they are for."""
    tokens, again = settings.token_budget, settings.activation_checkpointing
    words = embedding_gradient_bytes(shape, half)
    return {"kept for the backward pass": kept_bytes(shape, tokens, half, again),
            "head or layer in work": words + max(head_bytes(shape, tokens, half, cpu),
                                                 backward_bytes(shape, tokens, half, again))}


def sampling_bytes(shape: Shape, rows: int, tokens: int) -> float:
    """Bytes of a half-precision model and the keys and values of `rows` answers of `tokens`."""
    return 2 * shape.parameters + 4 * rows * tokens * shape.layers * shape.kv_width
