"""Writing a model folder, and the error for models that cannot be loaded.

A model that has terms of its own keeps them in a text file `NOTICE` and in documents beside it, and
what is trained from it has to keep them too.
"""

import shutil
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.data.chat import stop_token_ids
from lib.runtime.files import write_text

TERMS = "NOTICE"
DOCUMENTS = ("GEMMA_TERMS.html", "NOTICE.md")  # the terms in full, and where the file comes from


class ModelError(ValueError):
    """A model or tokenizer that cannot be loaded or used, in one sentence."""


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write safetensors, tokenizer and a generation_config that stops at both stop tokens."""
    model.generation_config.eos_token_id = stop_token_ids(tokenizer)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


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
