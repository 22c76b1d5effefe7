"""Whether packed rows give the numbers of the model's own forward, tried on a few tokens at load.

Packed attention and our vocabulary head know what most decoders do; what a model does beyond that
(other positions, other scales of its logits) would be lost without an error. So a few short
sequences, packed into one row, pass through every computation of training in float32 and are
compared with the model's own forward, one sequence at a time. Where they differ, the plain path
(`lib.modeling.packed.own_forward`) takes over. One layer of each kind is enough to tell. Verdicts
are kept by the model's files, the versions of the libraries and our code.
"""

import copy
from collections.abc import Callable, Sequence
from functools import cache, partial
from math import inf
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from lib import ROOT
from lib.modeling.context import context_of
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.divergence import answer_divergence
from lib.modeling.packed.gradients import set_master
from lib.modeling.packed.hidden import layers_of
from lib.modeling.packed.lean_activations import recompute_norms_and_mlps
from lib.modeling.packed.logps import (
    decoder_of,
    input_table,
    packed_hidden,
    response_token_logps,
    sequence_sums,
)
from lib.modeling.packed.own_forward import own_hidden, own_response_logps
from lib.modeling.packed.packing import PackedBatch, SharedPrompt, collate
from lib.modeling.saving import ModelError, first_line
from lib.runtime.files import FileError, read_json, sha256_of_value, write_json
from lib.runtime.places import kept

TOLERANCE = 1e-4  # nats a token
LEAST_LAYERS = 3  # beyond the first one, that a trial runs
BEYOND = 6  # tokens by which a trial goes beyond a window
CHEAP_PRODUCTS = 2**34  # of the longest sequence that is tried: a second on two cores


def packed_fault(model: PreTrainedModel, identity: str) -> str:
    """What packed rows compute wrongly, or "" where they equal the model's own forward.

    Raises ModelError for a model that sees later tokens.
    """
    return verdict("packed", identity, lambda: _fault(exact_copy(model)))


def verdict(kind: str, identity: str, judge: Callable[[], str]) -> str:
    """The kept verdict on a model, or a new one that is kept; an empty identity keeps none."""
    if not identity:
        return judge()
    key = sha256_of_value([kind, identity, *_versions()])
    path = kept("cache") / "load_checks" / f"{key[:32]}.json"
    try:
        return read_json(path)["verdict"]
    except (OSError, FileError, KeyError, TypeError, ValueError):
        found = judge()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"verdict": found, "kind": kind})
    except (OSError, FileError):
        pass  # a cache that cannot be written costs seconds at each start, no more
    return found


@cache
def _versions() -> tuple[str, ...]:
    """Versions of the libraries, and our code that computes with models."""
    folders = (Path(__file__).parent, ROOT / "lib" / "inference" / "engine")
    code = [path.read_text(encoding="utf-8") for folder in folders
            for path in sorted(folder.rglob("*.py"))]
    return torch.__version__, transformers.__version__, sha256_of_value(code)


@torch.inference_mode(False)
def exact_copy(model: PreTrainedModel) -> PreTrainedModel:
    """The model in float32 on CPU for a trial, with its first layers up to one of each kind.

    It shares what is in float32 on CPU already; the model stays as it is. Callers may be in
    inference mode, whose tensors could not be used here.
    """
    layers = layers_of(model)
    rest = layers[_layers_of_each_kind(layers):]
    del layers[len(layers) - len(rest):]
    try:
        exact = {id(tensor): _exact(tensor) for tensor in (*model.parameters(), *model.buffers())}
        return copy.deepcopy(model, exact).eval()
    finally:
        layers.extend(rest)


def _exact(tensor: Tensor) -> Tensor:
    kept = tensor.detach().to("cpu", torch.float32 if tensor.is_floating_point() else tensor.dtype)
    return (nn.Parameter(kept, tensor.requires_grad) if isinstance(tensor, nn.Parameter)
            else kept)


def _layers_of_each_kind(layers: nn.ModuleList) -> int:
    """How many first layers hold one of each kind (by their parts' classes and numbers)."""
    first: dict[str, int] = {}
    for index, layer in enumerate(layers):
        kind = [(name, type(part).__name__, sorted(
            (key, value) for key, value in vars(part).items()
            if isinstance(value, bool | int | float | str) and not key.startswith("layer_i")))
            for name, part in layer.named_modules()]
        first.setdefault(repr(kind), index)
    return max(LEAST_LAYERS, *first.values(), 0) + 1


def window_of(config: PretrainedConfig, most: float) -> int:
    """Tokens of the longest window or chunk of attention, of those up to `most`; 0 without one.

    Configurations have many names for it; a number that means something else does no harm.
    """
    most = min(most, (context_of(config) or inf) - BEYOND)
    return max((value for name, value in config.get_text_config().to_dict().items()
                if any(word in name for word in ("window", "chunk", "local_attention"))
                and type(value) is int and 0 < value <= most), default=0)


def _random_tokens(model: PreTrainedModel, number: int) -> tuple[int, ...]:
    vocabulary = len(input_table(decoder_of(model)))
    generator = torch.Generator().manual_seed(number)
    return tuple(torch.randint(vocabulary, (number,), generator=generator).tolist())


def _short_row(model: PreTrainedModel) -> PackedBatch:
    """Short sequences in one row: a prompt with two answers, and one without a prompt."""
    tokens = partial(_random_tokens, model)
    return collate([SharedPrompt(tokens(5), (tokens(4), tokens(3))),
                    SharedPrompt((), (tokens(9),))])


def _long_row(model: PreTrainedModel) -> PackedBatch | None:
    """A prompt beyond the window with two answers; None without a window, or where it is dear."""
    weights = sum(parameter.numel() for parameter in layers_of(model).parameters())
    window = window_of(model.config, CHEAP_PRODUCTS / max(weights, 1))
    if not window:
        return None
    prompt, *answers = (_random_tokens(model, number) for number in (window + 2, 4, 2))
    return collate([SharedPrompt(prompt, tuple(answers))])


@torch.inference_mode(False)
@torch.enable_grad()
def _fault(model: PreTrainedModel) -> str:
    """What packed rows compute wrongly, or "", of a model that this may change."""
    rows = [row for row in (_short_row(model), _long_row(model)) if row is not None]
    language = model.get_output_embeddings() is not None or not hasattr(model, "score")
    attention = model.config._attn_implementation
    states, logps = _own(model, rows, language)
    try:
        use_packed_attention(model, "segments")
        with torch.no_grad():
            apart = max(map(partial(_states_apart, model), rows, states))
        fault = ("" if apart <= TOLERANCE
                 else f"its hidden states on packed rows differ by {apart:.2g}")
        if logps is not None and not fault:
            fault = _logps_fault(model, rows[0], logps)
    except Exception as error:  # noqa: BLE001 - anything that our computation meets in a model
        fault = f"{type(error).__name__}: {first_line(error)}"
    if language and fault:
        model.set_attn_implementation(attention)
        _try_to_train(model, rows[0])
    return fault


def _try_to_train(model: PreTrainedModel, row: PackedBatch) -> None:
    """Raise ModelError for a model whose own forward has no backward (RWKV)."""
    try:
        own_response_logps(model, row).sum().backward()
    except Exception as error:  # noqa: BLE001
        raise ModelError(f"{type(model).__name__} cannot be trained: its backward ends in "
                         f"{type(error).__name__}: {first_line(error)}; use a decoder such as "
                         "Llama, Qwen2 or Gemma 3") from error


@torch.no_grad()
def _own(model: PreTrainedModel, rows: Sequence[PackedBatch],
         language: bool) -> tuple[list[Tensor], Tensor | None]:
    """The model's own hidden states of rows, and log-probabilities of the first one's responses.

    Raises ModelError for a model without them, or that sees later tokens.
    """
    decoder = decoder_of(model)
    try:
        states = [own_hidden(decoder, row) for row in rows]
        logps = own_response_logps(model, rows[0]) if language else None
        ids = rows[0].input_ids[:, :9]
        whole, prefix = (decoder(input_ids=part, use_cache=False).last_hidden_state[0, :4]
                         for part in (ids, ids[:, :5]))
    except Exception as error:  # noqa: BLE001
        raise ModelError(f"{type(model).__name__} cannot compute hidden states and logits of a "
                         f"few tokens ({type(error).__name__}: {first_line(error)}); use a "
                         "decoder such as Llama, Qwen2 or Gemma 3") from error
    if not _apart(whole, prefix) <= 10 * TOLERANCE:
        raise ModelError(f"{type(model).__name__} predicts a token from later ones, or no number "
                         "at all, so that it cannot write; use a causal decoder such as Llama, "
                         "Qwen2 or Gemma 3")
    return states, logps


def _states_apart(model: PreTrainedModel, row: PackedBatch, own: Tensor) -> float:
    real = own.abs().sum(1) > 0  # the others are padding
    return _apart(packed_hidden(model, row)[real], own[real])


def _logps_fault(model: PreTrainedModel, row: PackedBatch, own: Tensor) -> str:
    """The first computation of log-probabilities that is not the model's own, or ""."""
    with torch.no_grad():
        apart = _apart(response_token_logps(model, row), own)
        if not apart <= TOLERANCE:
            return f"its log-probabilities from our head differ by {apart:.2g} nats a token"
        sums = answer_divergence(model, model, row).logp
        if not _apart(sums, sequence_sums(own, row)) <= 10 * TOLERANCE:
            return "its divergence on packed rows differs"
    apart = _apart(_training_logps(model, row), own)
    return "" if apart <= TOLERANCE else f"its training differs by {apart:.2g} nats a token"


def _training_logps(model: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """Log-probabilities as a training step computes them: lean layers, embeddings by a master."""
    table = input_table(decoder_of(model))
    set_master(table, table.detach())
    recompute_norms_and_mlps(model)
    return response_token_logps(model, batch).detach()


def _apart(ours: Tensor, own: Tensor) -> float:
    """The largest difference, in units of the numbers' own size where that is above 10."""
    if not own.numel():
        return 0.0
    return ((ours - own).abs().max() / max(1.0, own.abs().max().item() / 10)).item()
