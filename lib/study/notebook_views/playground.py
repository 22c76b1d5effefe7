"""The playground: the run's policies answer a typed prompt, step by step.

The panel (`lib.viewers.playground`) asks for answers and scores; the run's models give both. Each
model loads at its first use.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.inference.prompts import encode_within
from lib.inference.rewards import ROLES, conversation
from lib.inference.sampling import generate_stream
from lib.study.policies import POLICIES, load_policy
from lib.study.run import Study
from lib.study.stages.rewards import Scorer
from lib.viewers.playground import Answer, Question, show_playground


def show_play(study: Study) -> None:
    """Show the playground with the profile's sampling settings; headless, print a sentence."""
    sampling = study.profile.sampling
    show_playground(Players(study), POLICIES, temperature=sampling.temperature,
                    top_k=sampling.top_k or 0, n=sampling.samples)


class Players:
    """The run's policies and reward models, ready to answer and to score."""

    def __init__(self, study: Study) -> None:
        self.study, self.sampling = study, study.profile.sampling
        self.policies: dict[str, tuple[PreTrainedModel, PreTrainedTokenizerBase]] = {}
        self.scorer: Scorer | None = None
        self.seeds = count(study.profile.seed)  # the same question again samples other answers

    def load(self, system: str) -> None:
        """Load the policy, once."""
        if system not in self.policies:
            self.policies[system] = load_policy(self.study, system)

    def limit(self, system: str, prompt: str) -> int | None:
        """The limit in tokens to which the prompt is cut; None if it fits."""
        limit = self.sampling.max_prompt_tokens
        return limit if encode_within(self.policies[system][1], _row(prompt), limit)[1] else None

    def stream(self, system: str, question: Question, stopped: Callable[[], bool]
               ) -> Iterator[tuple[int, str, bool]]:
        """Yield (candidate, its text so far, whether it was cut) until `stopped()`."""
        settings = replace(self.sampling, temperature=question.temperature, samples=question.n,
                           top_k=question.top_k or None, seed=next(self.seeds))
        return generate_stream(*self.policies[system], _row(question.prompt), settings, stopped)

    def score(self, prompt: str, answers: Sequence[Answer]) -> dict[str, list[float | None]]:
        """Scores of each answer, the selector's first, which chooses."""
        if self.scorer is None:
            self.scorer = Scorer(self.study)
        scores = self.scorer.score([conversation(prompt, *answer) for answer in answers])
        return {role: scores[role] for role in ROLES}


def _row(prompt: str) -> dict[str, str]:
    return {"id": "playground", "prompt": prompt, "source": "playground"}
