"""LoRA through peft: small trainable matrices beside frozen weights (Hu et al. 2021).

The study merges them into the weights after each stage, so that DPO's reference is always the
merged SFT model, never the base model by accident.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lib.modeling.saving import ModelError, first_line

Targets = Sequence[str] | None
ATTENTION = "attention"  # as a target: the projections of attention alone
ATTENTION_PARTS = ("attn", "attention")  # in the name of the module that holds them


def with_lora(model: PreTrainedModel, rank: int, alpha: int,
              targets: Targets = None) -> PreTrainedModel:
    """The model with LoRA, scaled by alpha / rank, on some linear layers; only LoRA trains.

    targets: names such as `q_proj`, or `attention`; None for every linear layer of the decoder.
    Raises ModelError for a rank above the model's width, and for a name that no layer has.
    """
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, task_type="CAUSAL_LM",
                        target_modules=targeted_layers(model, rank, targets))
    with warnings.catch_warnings():  # peft itself reads an old name of transformers
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        wrapped: Any = get_peft_model(model, config)  # has all attributes of the model in it
    return wrapped


def targeted_layers(model: PreTrainedModel, rank: int, targets: Targets = None) -> list[str]:
    """Full names of the linear layers that get LoRA; errors as in `with_lora`."""
    width = model.config.get_text_config().hidden_size
    if rank > width:
        raise ModelError(f"lora_rank is {rank} and the model is {width} wide, so LoRA would be no "
                         f"smaller than the weights; use at most {width}, or 0 to train them all")
    head = model.get_output_embeddings()
    linear = [name for name, module in model.named_modules()
              if isinstance(module, (nn.Linear, Conv1D)) and module is not head]
    wanted: Sequence[str | None] = targets or [None]
    chosen = {target: [name for name in linear if _is_target(name, target)] for target in wanted}
    for target, names in chosen.items():
        if not names:
            known = dict.fromkeys(name.rpartition(".")[2] for name in linear)
            raise ModelError(f"lora_targets has {target!r}, which no linear layer of the model is "
                             f"called; it has {', '.join(known)}")
    return sorted({name for names in chosen.values() for name in names})


def _is_target(name: str, target: str | None) -> bool:
    if target == ATTENTION:
        return any(part in module for module in name.split(".")[:-1] for part in ATTENTION_PARTS)
    return target is None or name == target or name.endswith(f".{target}")


def check_lora(source: str, revision: str | None, rank: int, targets: Targets) -> None:
    """Raise ModelError where a model's folder or hub id cannot have such LoRA; loads no weights."""
    try:
        config = AutoConfig.from_pretrained(source, revision=revision)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError) as error:
        raise ModelError(f"{source} cannot be had as a language model: "
                         f"{first_line(error)}") from error
    targeted_layers(model, rank, targets)


def merge_lora(model: PreTrainedModel) -> PreTrainedModel:
    """The model with LoRA's product added to its weights; a model without LoRA unchanged."""
    wrapped: Any = model
    return wrapped.merge_and_unload() if isinstance(wrapped, PeftModel) else model
