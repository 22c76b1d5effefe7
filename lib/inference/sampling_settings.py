"""The settings of sampling, checked when they are built."""

from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class SamplingSettings:
    """The `sampling` part of a profile; a value that cannot be used raises ValueError.

    `rows` and `memory_gb` do not change what is sampled. {policy} in `server` becomes base, sft or
    dpo, which is also the name of the model that is asked for there.
    """

    samples: int = 4  # answers a prompt, the N of Best-of-N
    temperature: float = 0.6  # 0 is greedy
    top_k: int | None = 50  # the k most probable tokens; null: the whole vocabulary
    top_p: float = 1.0  # the smallest set of tokens that has this probability; 1: all
    repetition_penalty: float = 1.0  # above 1 makes tokens already seen less likely; 1: off
    max_prompt_tokens: int = 1024  # longer prompts lose the end of their last message
    max_new_tokens: int = 128  # an answer that has not ended by then is cut
    seed: int = 0
    rows: int = 64  # answers written at the same time
    memory_gb: float | None = None  # most that keys and values may take; null: as rows need
    server: str | None = None  # URL of an OpenAI-compatible server to sample from; null: this model

    def __post_init__(self) -> None:
        for key in ("samples", "max_new_tokens", "max_prompt_tokens", "rows"):
            _require(getattr(self, key) >= 1, key, getattr(self, key), "use at least 1")
        _require(self.temperature >= 0, "temperature", self.temperature,
                 "use 0 for greedy decoding, or a positive number")
        _require(self.top_k is None or self.top_k >= 1, "top_k", self.top_k,
                 "use at least 1, or null to sample from the whole vocabulary")
        _require(0 < self.top_p <= 1, "top_p", self.top_p,
                 "use a probability above 0 and at most 1, which turns it off")
        _require(self.repetition_penalty > 0, "repetition_penalty", self.repetition_penalty,
                 "use a positive number; 1 turns it off")
        _require(self.memory_gb is None or self.memory_gb > 0, "memory_gb", self.memory_gb,
                 "use a positive number of gigabytes, or null")
        _require(self.server is None or urlsplit(self.server).scheme in ("http", "https"),
                 "server", self.server,
                 "use an address such as http://localhost:8000/v1, or null to sample here")

    def deciding(self) -> dict[str, Any]:
        """The settings on which the text of the answers depends."""
        return {key: value for key, value in asdict(self).items()
                if key not in ("rows", "memory_gb")}


def _require(holds: bool, key: str, value: object, instead: str) -> None:
    if not holds:
        raise ValueError(f"{key} is {value}; {instead}")
