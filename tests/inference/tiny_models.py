"""Random models of three families, small enough to sample from in milliseconds, and prompts."""

import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from lib.runtime.files import Row

QUESTIONS = ["How do oysters make pearls?", "", "Name three rivers, and say where they end.", "Hi",
             "Write one sentence about a violin that was left on a bus in the rain."]
PROMPTS = [{"id": f"p{number}", "prompt": text, "source": "test"}
           for number, text in enumerate(QUESTIONS)]
SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
         "initializer_range": 0.3, "bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
FAMILIES = {
    "llama": (LlamaForCausalLM, LlamaConfig, {"tie_word_embeddings": True}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {}),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig,
               {"sliding_window": 8, "head_dim": 16, "query_pre_attn_scalar": 8,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
}


def tiny(family: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A model of the family with random weights, large enough to be sure of its tokens."""
    model, config, more = FAMILIES[family]
    torch.manual_seed(1)
    return model(config(vocab_size=len(tokenizer), **SHAPE, **more)).eval()


def texts(rows: list[Row]) -> dict[str, list[str]]:
    """The answers' texts by prompt id."""
    return {row["id"]: [answer["text"] for answer in row["candidates"]] for row in rows}
