"""Writing a model folder, and the error for models that cannot be loaded."""

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.data.chat import stop_token_ids


class ModelError(ValueError):
    """A model or tokenizer that cannot be loaded or used, in one sentence."""


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write safetensors, tokenizer and a generation_config that stops at both stop tokens."""
    model.generation_config.eos_token_id = stop_token_ids(tokenizer)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
