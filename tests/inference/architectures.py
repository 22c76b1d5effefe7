"""Tiny random models of many architectures, each with what sets it apart from a plain decoder."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

VOCABULARY = 96
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "initializer_range": 0.3, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
OLD: dict[str, Any] = {  # of configurations with GPT-2's names
    "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256,
    "initializer_range": 0.3, "bos_token_id": None, "eos_token_id": 1}
WINDOWS = ["sliding_attention", "full_attention"]
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}

# name -> model type, what sets it apart
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", SHAPE),
    "llama, biases": ("llama", {**SHAPE, "attention_bias": True, "mlp_bias": True}),
    "llama, yarn": ("llama", {**SHAPE, "rope_parameters": {
        "rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4,
        "original_max_position_embeddings": 64}}),
    "llama, dynamic rope": ("llama", {**SHAPE, "max_position_embeddings": 64, "rope_parameters": {
        "rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}}),
    "llama3 rope": ("llama", {**SHAPE, "rope_parameters": {
        "rope_type": "llama3", "factor": 8.0, "rope_theta": 1e4, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}),
    "qwen2": ("qwen2", SHAPE),
    "qwen2, window": ("qwen2", {**SHAPE, "use_sliding_window": True, "sliding_window": 12,
                                "max_window_layers": 1}),
    "qwen3": ("qwen3", {**SHAPE, "head_dim": 16}),
    "qwen3 moe": ("qwen3_moe", {**SHAPE, **EXPERTS, "head_dim": 16}),
    "qwen2 moe": ("qwen2_moe", {**SHAPE, **EXPERTS, "shared_expert_intermediate_size": 16}),
    "mixtral": ("mixtral", {**SHAPE, "num_local_experts": 4}),
    "gemma": ("gemma", {**SHAPE, "head_dim": 16}),
    "gemma2, soft caps": ("gemma2", {
        **SHAPE, "head_dim": 16, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0,
        "sliding_window": 12, "query_pre_attn_scalar": 8}),
    "gemma3": ("gemma3_text", {**SHAPE, "head_dim": 16, "sliding_window": 12,
                               "query_pre_attn_scalar": 8, "layer_types": WINDOWS}),
    "mistral, window": ("mistral", {**SHAPE, "sliding_window": 12}),
    "phi, parallel": ("phi", {**SHAPE, "partial_rotary_factor": 0.5}),
    "phi3": ("phi3", SHAPE),
    "phi3, long rope": ("phi3", {
        **SHAPE, "original_max_position_embeddings": 64, "rope_parameters": {
            "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4,
            "long_factor": [4.0] * 4, "original_max_position_embeddings": 64}}),
    "gpt2": ("gpt2", OLD),
    "gpt_neo, windows": ("gpt_neo", {
        "vocab_size": VOCABULARY, "hidden_size": 32, "num_layers": 2, "num_heads": 4,
        "attention_types": [[["global", "local"], 1]], "window_size": 8,
        "max_position_embeddings": 256, "initializer_range": 0.3}),
    "gptj": ("gptj", {**OLD, "rotary_dim": 4}),
    "gpt_neox, parallel": ("gpt_neox", SHAPE),
    "gpt_bigcode": ("gpt_bigcode", OLD),
    "opt": ("opt", {**SHAPE, "ffn_dim": 48, "word_embed_proj_dim": 16}),
    "bloom, ALiBi": ("bloom", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2,
                               "n_head": 4, "initializer_range": 0.3}),
    "mpt, ALiBi": ("mpt", {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 2, "n_heads": 4,
                           "max_seq_len": 256, "initializer_range": 0.3}),
    "falcon, ALiBi": ("falcon", {**SHAPE, "alibi": True}),
    "falcon, parallel": ("falcon", {**SHAPE, "new_decoder_architecture": True,
                                    "num_kv_heads": 2}),
    "cohere, scaled logits": ("cohere", {**SHAPE, "logit_scale": 0.25}),
    "cohere2": ("cohere2", {**SHAPE, "logit_scale": 0.25, "sliding_window": 12,
                            "layer_types": WINDOWS}),
    "granite, multipliers": ("granite", {
        **SHAPE, "logits_scaling": 8.0, "embedding_multiplier": 4.0, "residual_multiplier": 0.4,
        "attention_multiplier": 0.3}),
    "olmo": ("olmo", {**SHAPE, "clip_qkv": 1.0}),
    "olmo2": ("olmo2", SHAPE),
    "stablelm": ("stablelm", {**SHAPE, "partial_rotary_factor": 0.5}),
    "starcoder2": ("starcoder2", {**SHAPE, "sliding_window": 12}),
    "smollm3": ("smollm3", {**SHAPE, "no_rope_layers": [1, 0]}),
    "gpt-oss, sinks": ("gpt_oss", {**SHAPE, "head_dim": 8, "num_local_experts": 4,
                                   "num_experts_per_tok": 2, "sliding_window": 12,
                                   "layer_types": WINDOWS}),
    "deepseek, latent attention": ("deepseek_v3", {
        **SHAPE, "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16,
        "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 6, "n_routed_experts": 4,
        "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 16,
        "first_k_dense_replace": 1}),
    "glm": ("glm", {**SHAPE, "head_dim": 8}),
    "ernie": ("ernie4_5", {**SHAPE, "head_dim": 8}),
    "nemotron": ("nemotron", SHAPE),
    "exaone4": ("exaone4", {**SHAPE, "sliding_window": 12, "layer_types": WINDOWS}),
    "helium": ("helium", {**SHAPE, "head_dim": 8}),
    "mamba, recurrent": ("mamba", {"vocab_size": VOCABULARY, "hidden_size": 32, "state_size": 8,
                                   "num_hidden_layers": 2, "initializer_range": 0.3}),
    "mamba2, recurrent": ("mamba2", {"vocab_size": VOCABULARY, "hidden_size": 32, "state_size": 8,
                                     "num_hidden_layers": 2, "num_heads": 8, "head_dim": 8,
                                     "n_groups": 1, "initializer_range": 0.3}),
    "lfm2, convolutions": ("lfm2", {**SHAPE, "layer_types": ["conv", "full_attention"]}),
    "llama4, chunks": ("llama4_text", {
        **SHAPE, "head_dim": 8, "num_local_experts": 2, "intermediate_size_mlp": 48,
        "attention_chunk_size": 12, "num_experts_per_tok": 1, "no_rope_layers": [1, 0]}),
    "qwen3 next, linear attention": ("qwen3_next", {
        **SHAPE, **EXPERTS, "head_dim": 16, "shared_expert_intermediate_size": 16,
        "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
        "linear_value_head_dim": 8, "layer_types": ["linear_attention", "full_attention"]}),
    "jamba, hybrid": ("jamba", {
        **SHAPE, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
        "num_experts": 2, "mamba_d_state": 8, "mamba_dt_rank": 4, "use_mamba_kernels": False}),
    "granite moe": ("granitemoe", {**SHAPE, "num_local_experts": 4, "num_experts_per_tok": 2,
                                   "logits_scaling": 6.0}),
    "recurrent gemma": ("recurrent_gemma", {**SHAPE, "attention_window_size": 12,
                                            "lru_width": 32, "num_hidden_layers": 3}),
}


def tiny_model(name: str) -> PreTrainedModel:
    """The model with random weights, large enough to be sure of its tokens."""
    kind, settings = ARCHITECTURES[name]
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings),
                                             dtype=torch.float32)
    for parameter in model.parameters():  # biases and sinks that begin at zero would prove nothing
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.2)
    return model.eval()
