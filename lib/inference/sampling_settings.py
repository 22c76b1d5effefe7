"""The settings of sampling, checked when they are built."""

from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field

from lib.runtime.settings import checked

CANDIDATE = ("text", "token_ids", "tokens", "finish", "logprob", "sampling_logprob")


@checked
class SamplingSettings:
    """The `sampling` part of a profile.

    `rows` and `memory_gb` do not change the answers. {policy} in `server` becomes base, sft or dpo,
    which is also the model's name there.
    """

    samples: int = Field(4, ge=1)  # answers a prompt, the N of Best-of-N
    temperature: float = Field(0.6, ge=0, description="0 is greedy decoding")
    top_k: int | None = Field(50, ge=1, description="null samples from the whole vocabulary")
    top_p: float = Field(1.0, gt=0, le=1, description="probability of the tokens kept; 1: all")
    repetition_penalty: float = Field(1.0, gt=0, description="1 turns it off")
    max_prompt_tokens: int = Field(1024, ge=1)  # longer prompts lose the end of the last message
    max_new_tokens: int = Field(128, ge=1)  # an answer that has not ended by then is cut
    seed: int = 0
    stream: str = ""  # name of a random stream: with another one, equal models answer otherwise
    rows: int = Field(64, ge=1)  # answers written at the same time
    memory_gb: float | None = Field(None, gt=0)  # most for keys and values; null: as rows need
    engine: Literal["own", "openvino"] = Field("own", description=(
        "openvino: OpenVINO's forward pass on CPU, if the package openvino is installed"))
    server: str | None = Field(None, pattern="^https?://", description=(
        "an address such as http://localhost:8000/v1 of an OpenAI-compatible server"))

    def in_force(self) -> dict[str, Any]:
        """The settings in force, by name: an engine that is ours is not named."""
        return {key: value for key, value in asdict(self).items()
                if (key, value) != ("engine", "own")}

    def deciding(self) -> dict[str, Any]:
        """The settings on which the text of the answers depends."""
        return {key: value for key, value in self.in_force().items()
                if key not in ("rows", "memory_gb")}
