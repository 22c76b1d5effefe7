"""Whether packed rows give the numbers of the model's own forward, tried on a few tokens at load.

Packed attention and our vocabulary head know what most decoders do; what a model does beyond that
(other positions, other scales of its logits) would be lost without an error. So a few short
sequences, packed into one row, pass through every computation of training in float32 and are
compared with the model's own forward, one sequence at a time. Where they differ, the plain path
(`lib.modeling.packed.own_forward`) takes over. Verdicts are kept by the model's hash, the versions
of the libraries and our code.
"""

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
import transformers
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from lib import ROOT
from lib.modeling.context import context_of
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.divergence import answer_divergence
from lib.modeling.packed.gradients import set_master
from lib.modeling.packed.lean_activations import recompute_norms_and_mlps
from lib.modeling.packed.logps import (
    decoder_of,
    packed_hidden,
    response_token_logps,
    sequence_sums,
)
from lib.modeling.packed.own_forward import own_hidden, own_response_logps
from lib.modeling.packed.packing import PackedBatch, SharedPrompt, collate
from lib.modeling.saving import ModelError
from lib.runtime.files import FileError, read_json, sha256_of_value, write_json

VERDICTS = ROOT / "data" / "cache" / "load_checks"
TOLERANCE = 1e-4  # nats a token
CHEAP_LOGITS = 2**24  # of the longest sequence that is tried


def packed_fault(model: PreTrainedModel, identity: str) -> str:
    """What packed rows compute wrongly, or "" where they equal the model's own forward.

    The model is on CPU and stays as it is. Raises ModelError for one that sees later tokens.
    """
    def judged() -> str:
        return _fault(exact_copy(model))
    return verdict("packed", identity, judged)


def verdict(kind: str, identity: str, judge: Callable[[], str]) -> str:
    """The kept verdict on a model, or a new one that is kept; an empty identity keeps none."""
    if not identity:
        return judge()
    path = VERDICTS / f"{sha256_of_value([kind, identity, *_versions()])[:32]}.json"
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


def exact_copy(model: PreTrainedModel) -> PreTrainedModel:
    """The model in float32 on CPU; a copy only where it is not so already."""
    if model.device.type == "cpu" and all(p.dtype == torch.float32 for p in model.parameters()):
        return model
    return copy.deepcopy(model).cpu().float()


def window_of(config: PretrainedConfig) -> int:
    """Tokens of the model's sliding window, by the names that configurations give it; 0: none."""
    return next((value for name in ("sliding_window", "attention_window_size", "window_size")
                 if isinstance(value := getattr(config, name, None), int)), 0)


def trial_row(model: PreTrainedModel) -> PackedBatch:
    """Short sequences in one row: prompts with two answers, one alone, one beyond the window."""
    config = model.config.get_text_config()
    vocabulary = decoder_of(model).get_input_embeddings().weight.shape[0]
    generator = torch.Generator().manual_seed(0)

    def tokens(number: int) -> tuple[int, ...]:
        return tuple(torch.randint(vocabulary, (number,), generator=generator).tolist())
    rows = [SharedPrompt(tokens(5), (tokens(4), tokens(3))), SharedPrompt((), (tokens(9),))]
    window = window_of(config)
    context = context_of(config) or window + 6
    if 0 < window <= context - 6 and (window + 6) * vocabulary <= CHEAP_LOGITS:
        rows.append(SharedPrompt(tokens(window + 2), (tokens(4), tokens(2))))
    return collate(rows)


def _fault(model: PreTrainedModel) -> str:
    batch, training = trial_row(model), model.training
    head, attention = model.get_output_embeddings(), model.config._attn_implementation
    language = head is not None or not hasattr(model, "score")
    model.eval()
    try:
        own = _own(model, batch, language)
        use_packed_attention(model, "segments")
        return _difference(model, batch, own, language)
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - anything that our computation meets in a model
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
    finally:
        model.set_attn_implementation(attention)
        model.train(training)


@torch.no_grad()
def _own(model: PreTrainedModel, batch: PackedBatch, language: bool) -> tuple[Tensor, Tensor]:
    """The model's own hidden states and log-probabilities; raises ModelError, see above."""
    try:
        hidden = own_hidden(decoder_of(model), batch)
        logps = own_response_logps(model, batch) if language else hidden.new_zeros(0)
        ids = batch.input_ids[:, :9]
        decoder = decoder_of(model)
        whole, prefix = (decoder(input_ids=part, use_cache=False).last_hidden_state[0, :4]
                         for part in (ids, ids[:, :5]))
    except Exception as error:  # noqa: BLE001
        raise ModelError(f"{type(model).__name__} cannot compute hidden states and logits of a "
                         f"few tokens ({type(error).__name__}: {error}); use a decoder such as "
                         "Llama, Qwen2 or Gemma 3") from error
    if _apart(whole, prefix) > 10 * TOLERANCE:
        raise ModelError(f"{type(model).__name__} predicts a token from later ones, so that it "
                         "cannot write; use a causal decoder such as Llama, Qwen2 or Gemma 3")
    return hidden, logps


def _difference(model: PreTrainedModel, batch: PackedBatch, own: tuple[Tensor, Tensor],
                language: bool) -> str:
    """The first computation that is not the model's own, or ""."""
    own_states, own_logps = own
    real = own_states.abs().sum(1) > 0
    with torch.no_grad():
        apart = _apart(packed_hidden(model, batch)[real], own_states[real])
        if not apart <= TOLERANCE:
            return f"its hidden states on packed rows differ by {apart:.2g}"
        if not language:
            return ""
        apart = _apart(response_token_logps(model, batch), own_logps)
        if not apart <= TOLERANCE:
            return f"its log-probabilities from our head differ by {apart:.2g} nats a token"
        sums = answer_divergence(model, model, batch).logp
        if not _apart(sums, sequence_sums(own_logps, batch)) <= 10 * TOLERANCE:
            return "its divergence on packed rows differs"
    apart = _apart(_training_logps(model, batch), own_logps)
    return "" if apart <= TOLERANCE else f"its training differs by {apart:.2g} nats a token"


def _training_logps(model: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """Log-probabilities as a training step computes them: lean layers, embeddings by a master."""
    table = decoder_of(model).get_input_embeddings().weight
    before = {module: vars(module).get("forward") for module in model.modules()}
    set_master(table, table.detach())
    recompute_norms_and_mlps(model)
    try:
        return response_token_logps(model, batch).detach()
    finally:
        set_master(table, None)
        for module, forward in before.items():
            vars(module).pop("forward", None)
            if forward is not None:
                module.forward = forward


def _apart(ours: Tensor, own: Tensor) -> float:
    """The largest difference, in units of the numbers' own size where that is above 10."""
    if not own.numel():
        return 0.0
    return ((ours - own).abs().max() / max(1.0, own.abs().max().item() / 10)).item()
