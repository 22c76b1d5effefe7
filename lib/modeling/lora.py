"""LoRA through peft: small trainable matrices beside frozen weights (Hu et al. 2021).

The study merges them into the weights after each stage, so that DPO's reference is always the
merged SFT model, never the base model by accident.
"""

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel


def with_lora(model: PreTrainedModel, rank: int, alpha: int) -> PeftModel:
    """The model with LoRA on every linear layer of the decoder; only those matrices train."""
    return get_peft_model(model, LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0,
        target_modules="all-linear", task_type="CAUSAL_LM"))


def merge_lora(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The model with LoRA's product added to its weights; a model without LoRA unchanged."""
    return model.merge_and_unload() if isinstance(model, PeftModel) else model
