"""Settings of a chat model that judges: any server with OpenAI's chat completions."""

from typing import Literal

from pydantic import Field

from lib.inference.api.address import Url
from lib.inference.api.transport import ServerSettings
from lib.runtime.settings import checked

LLM = "llm"  # the judge's name in settings and tables
ANY_PACE = 60_000.0  # calls a minute where the server sets the pace


@checked
class ChatJudgeSettings:
    """The model, where it is served, how it is asked and what it costs."""

    model: str = ""  # its name on the server
    base_url: Url = "http://localhost:8000/v1"  # llama.cpp, vLLM, or a hosted one
    key_variable: str = "OPENAI_API_KEY"  # environment variable that holds the key, if any
    style: Literal["pairwise", "alpaca_eval", "arena_hard"] = "pairwise"
    prompts: int | None = Field(None, ge=1)  # the first of the held-out prompts; null: all
    max_tokens: int | None = Field(None, ge=1)  # of a reply; null: the style's
    requests_per_minute: float | None = Field(None, gt=0)  # null: the server sets the pace
    concurrency: int = Field(8, ge=1)  # calls in flight
    input_price: float = Field(0.0, ge=0)  # of a million tokens read, in your currency
    output_price: float = Field(0.0, ge=0)  # of a million tokens written
    cache: str | None = None  # file that keeps the replies; null: chat_judge.sqlite in the run

    @property
    def server(self) -> ServerSettings:
        """The same as the client of the API reads it."""
        return ServerSettings(self.model, self.base_url, self.key_variable,
                              self.requests_per_minute or ANY_PACE, self.concurrency)
