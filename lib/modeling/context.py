"""How many tokens a model can read with one meaning of its positions."""

from typing import Any

from transformers import PretrainedConfig

CHANGING = ("dynamic", "longrope")  # rotary frequencies that depend on the longest sequence


def context_of(config: PretrainedConfig) -> int | None:
    """Tokens of the longest sequence; None where the configuration names no limit.

    Beyond the original context of dynamic and long rotary frequencies, all tokens change with each
    further one: what was sampled would have other log-probabilities in training.
    """
    text = config.get_text_config()
    return changing_from(config) or getattr(text, "max_position_embeddings", None)


def changing_from(config: PretrainedConfig) -> int | None:
    """The length beyond which rotary frequencies change; None where they never do."""
    text = config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    kinds = [kind for kind in (rope, *rope.values()) if isinstance(kind, dict)]
    lengths: list[Any] = [kind.get("original_max_position_embeddings")
                          or getattr(text, "original_max_position_embeddings", None)
                          or getattr(text, "max_position_embeddings", 0)
                          for kind in kinds if kind.get("rope_type") in CHANGING]
    return min(lengths, default=None)
