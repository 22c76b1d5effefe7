"""Writing a model folder, and the error for models that cannot be loaded.

A model that has terms of its own keeps them in a text file `NOTICE` and in documents beside it, and
what is trained from it has to keep them too.
"""

import shutil
import tempfile
from pathlib import Path

from transformers import (
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lib.data.chat import stop_token_ids
from lib.runtime.files import write_text
from lib.runtime.progress import say

TERMS = "NOTICE"
DOCUMENTS = ("GEMMA_TERMS.html", "NOTICE.md")  # the terms in full, and where the file comes from


class ModelError(ValueError):
    """A model or tokenizer that cannot be loaded or used, in one sentence."""


def first_line(error: Exception) -> str:
    """The first line of an error's message, or the error's type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write safetensors, tokenizer and a neutral generation_config that stops at all stop tokens.

    A base's sampling defaults (temperature, repetition_penalty) are dropped: they were not tuned
    for the trained model, and servers would apply them silently.
    """
    model.generation_config = _neutral(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def try_saving(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write all but the weights to a temporary folder, so that no training ends in an error.

    Says which sampling defaults the saved model will not have. Raises ModelError, one sentence.
    """
    if dropped := _sampling_defaults(model.generation_config):
        say("the saved model will sample neutrally, without its base's "
            + ", ".join(f"{name} {value}" for name, value in dropped.items()))
    try:
        with tempfile.TemporaryDirectory() as folder:
            model.config.save_pretrained(folder)
            _neutral(model, tokenizer).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"a model trained from {model.config.name_or_path or 'this one'} could "
                         f"not be saved: {' '.join(str(error).split())[:300]}; mend its "
                         "config.json or generation_config.json first") from error


def _neutral(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """The ids that open and end an answer, and no sampling values."""
    old, stops = model.generation_config, stop_token_ids(tokenizer)
    kept = {name: getattr(old, name, None)
            for name in ("bos_token_id", "decoder_start_token_id", "cache_implementation")}
    return GenerationConfig(**kept, eos_token_id=stops, pad_token_id=tokenizer.pad_token_id)


def _sampling_defaults(config: GenerationConfig) -> dict[str, object]:
    """The values of a configuration that change what is generated."""
    structural = ("token_id", "version", "cache", "max_length", "max_new_tokens", "min_length",
                  "min_new_tokens", "output_", "return_", "_from")
    return {name: value for name, value in config.to_diff_dict().items()
            if not any(part in name for part in structural)}


def keep_terms(source: Path, folder: Path) -> None:
    """Copy a model's terms to the folder of a model trained from it, if it has any."""
    notice = source / TERMS
    if not notice.exists():
        return
    for document in DOCUMENTS:
        if (source / document).exists():
            shutil.copyfile(source / document, folder / document)
    write_text(folder / TERMS, notice.read_text(encoding="utf-8").rstrip("\n")
               + "\n\nThe weights were modified again: they were trained further.\n")
