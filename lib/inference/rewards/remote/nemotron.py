"""NVIDIA's reward models behind an OpenAI-shaped API: hosted, or a NIM of one's own.

A conversation goes out as messages and one number comes back. The hosted trial allows about 40
calls a minute and the model may be retired any day, so: `estimate` before a run, `probe` first (it
raises EndpointGoneError where one should fall back), and a cache around it (`cache.cached`).
Rewards compare answers to the same prompt only (model card).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from lib.inference.api.rate_limit import RateLimit
from lib.inference.api.transport import (
    ApiStoppedError,
    NoReplyError,
    RequestRefusedError,
    ServerSettings,
    Transport,
)
from lib.inference.rewards import Conversation
from lib.inference.rewards.remote.replies import parse_reward
from lib.inference.rewards.score_results import ScoreResult, scores_in_order
from lib.runtime.progress import Progress, say

HOSTED = "https://integrate.api.nvidia.com/v1"
PROBE = [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": "2"}]
CHARACTERS_A_TOKEN = 4  # English text in Llama 3's vocabulary; the server has the last word


@dataclass(frozen=True)
class ApiSettings(ServerSettings):
    """How to reach the reward API."""

    model: str = "nvidia/llama-3.1-nemotron-70b-reward"
    base_url: str = HOSTED
    key_variable: str = "NVIDIA_API_KEY"
    calls_per_minute: float = 40.0
    concurrency: int = 4
    timeout: float = 180.0
    context: int = 4096  # tokens of prompt and answer together


class NemotronRewardModel:
    """Scores conversations through the API."""

    name = "nemotron"

    def __init__(self, settings: ApiSettings = ApiSettings()) -> None:
        self.settings = settings
        self.limit = RateLimit(settings.calls_per_minute)

    @property
    def identity(self) -> str:
        """What a cache keys scores on: the model, wherever it runs."""
        return f"api:{self.settings.model}"

    def estimate(self, conversations: Sequence[Conversation]) -> str:
        """Calls, minutes and tokens (by the number of characters), without any call."""
        tokens = [count for count in map(_tokens, conversations) if count <= self.settings.context]
        minutes = len(tokens) / self.settings.calls_per_minute
        return (f"{len(tokens)} calls, about {minutes:.0f} min at the rate limit, about "
                f"{sum(tokens)} tokens")

    def probe(self) -> float:
        """The reward of a tiny conversation, by one call before a run.

        Raises EndpointGoneError where another model must take the role, else ApiStoppedError.
        """
        self._require_key()
        try:
            return self._post(Transport(self.settings, self.limit), PROBE)[0]
        except (NoReplyError, RequestRefusedError) as error:
            raise ApiStoppedError(f"the probe of {self.settings.model} failed: {error}; try later "
                                  "or use another judge") from None

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """Rewards in order; None where one could not be had. Raises ApiStoppedError."""
        return scores_in_order(self.stream(conversations), len(conversations))

    def stream(self, conversations: Sequence[Conversation]) -> Iterator[tuple[int, ScoreResult]]:
        """Yield (index, result) as replies come, `concurrency` calls at a time.

        Raises ApiStoppedError when no call can succeed, after those in flight have been yielded.
        """
        if not conversations:
            return
        self._require_key()
        say(f"{self.name}: {self.estimate(conversations)}")
        transport, missing = Transport(self.settings, self.limit), 0
        with Progress(f"scoring with {self.name}", len(conversations), "answer") as progress:
            for index, result in transport.map(lambda each: self._result(transport, each),
                                                conversations):
                missing += result.score is None
                progress.advance(note=f"{missing} missing" if missing else "")
                yield index, result
        if missing:
            say(f"{self.name}: {missing} of {len(conversations)} answers have no score; they are "
                "left out of every comparison")

    def _result(self, transport: Transport, conversation: Conversation) -> ScoreResult:
        if problem := self._problem(conversation):
            return ScoreResult(None, problem)
        try:
            reward, reply = self._post(transport, conversation)
            return ScoreResult(reward, reply=reply)
        except RequestRefusedError as error:
            return ScoreResult(None, str(error))
        except NoReplyError as error:
            return ScoreResult(None, str(error), transient=True)

    def _problem(self, conversation: Conversation) -> str:
        """Why the API would refuse a conversation, or nothing."""
        roles = [message["role"] for message in conversation]
        if roles != ["user", "assistant"] * (len(roles) // 2) or not roles:
            return f"roles are {', '.join(roles) or 'none'}; the API wants user, assistant in turn"
        if not all(message["content"].strip() for message in conversation):
            return "a message is empty"
        if (tokens := _tokens(conversation)) > self.settings.context:
            return f"about {tokens} tokens, and the API reads {self.settings.context}"
        return ""

    def _post(self, transport: Transport, conversation: Conversation) -> tuple[float, str]:
        messages = [{"role": message["role"], "content": message["content"]}
                    for message in conversation]
        return transport.post({"model": self.settings.model, "messages": messages}, parse_reward)

    def _require_key(self) -> None:
        if not self.settings.key and is_hosted(self.settings.base_url):
            raise ApiStoppedError(f"{self.settings.key_variable} is not set; export the API key "
                                  "under that name, or use the classifier or the embedded judge")


def is_hosted(base_url: str) -> bool:
    """Whether an address is NVIDIA's own, which wants a key and has a trial's rate limit."""
    return urlsplit(base_url).hostname == urlsplit(HOSTED).hostname


def _tokens(conversation: Conversation) -> int:
    return sum(len(message["content"]) // CHARACTERS_A_TOKEN for message in conversation)
