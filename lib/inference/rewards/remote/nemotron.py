"""NVIDIA's reward models behind an OpenAI-shaped API: hosted, or in a NIM.

The API takes a conversation as messages and returns one number. The hosted trial allows about 40
calls a minute and the model may be retired any day, so `estimate` tells the cost before a run,
`probe` tells whether the endpoint is still there, and `cache.cached` keeps the scores. Rewards
compare answers to the same prompt only (model card).
"""

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from pydantic import PositiveFloat, PositiveInt

from lib.inference.api.address import Url
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
from lib.inference.rewards.score_results import ScoreResult, StreamingRewardModel
from lib.runtime.progress import Progress, say
from lib.runtime.settings import checked

HOSTED = "https://integrate.api.nvidia.com/v1"
PROBE = [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": "2"}]
CHARACTERS_A_TOKEN = 4  # an estimate for English text in Llama 3's vocabulary


@checked
class ApiSettings(ServerSettings):
    """How to reach the reward API."""

    model: str = "nvidia/llama-3.1-nemotron-70b-reward"
    base_url: Url = HOSTED
    key_variable: str = "NVIDIA_API_KEY"
    calls_per_minute: PositiveFloat = 40.0
    concurrency: PositiveInt = 4
    timeout: PositiveFloat = 180.0
    context: int = 4096  # tokens of prompt and answer together


class NemotronRewardModel(StreamingRewardModel):
    """Scores conversations through the API."""

    name = "nemotron"

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self.limit = RateLimit(settings.calls_per_minute)

    @property
    def identity(self) -> str:
        """The key of its scores in a cache: the model's name, on any server."""
        return f"api:{self.settings.model}"

    def estimate(self, conversations: Sequence[Conversation]) -> str:
        """Calls, minutes and tokens (by the number of characters), without any call."""
        tokens = [count for count in map(_tokens, conversations) if count <= self.settings.context]
        minutes = len(tokens) / self.settings.calls_per_minute
        return (f"{len(tokens)} calls, about {minutes:.0f} min at the rate limit, about "
                f"{sum(tokens)} tokens")

    def probe(self) -> float:
        """The reward of a tiny conversation, by one call before a run.

        Raises EndpointGoneError where the model is not served, ApiStoppedError for other failures.
        """
        self._require_key()
        try:
            return self._post(Transport(self.settings, self.limit), PROBE)[0]
        except (NoReplyError, RequestRefusedError) as error:
            raise ApiStoppedError(f"the probe of {self.settings.model} failed: {error}; try later "
                                  "or use another judge") from None

    def stream(self, conversations: Sequence[Conversation]) -> Iterator[tuple[int, ScoreResult]]:
        """Yield (index, result) as replies come, `concurrency` calls at a time.

        Raises ApiStoppedError when no call can succeed, after the replies of calls in flight.
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
            say(f"{self.name}: {missing} of {len(conversations)} answers have no score; "
                "comparisons skip them")

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
        """Why the API would refuse a conversation; empty if it would not."""
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
    """Whether an address is NVIDIA's, which requires a key and limits the rate."""
    return urlsplit(base_url).hostname == urlsplit(HOSTED).hostname


def _tokens(conversation: Conversation) -> int:
    return sum(len(message["content"]) // CHARACTERS_A_TOKEN for message in conversation)
