"""The playground of notebook 05: the run's policies answer a typed prompt, step by step.

The panel (`lib.viewers.playground_panel`) asks for a stream of answers and for their scores; here
both come from the run's own models, each loaded when it is first wanted and kept from then on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from lib.inference.sampling import generate_stream
from lib.study.policies import POLICIES, load_policy
from lib.study.run import Study
from lib.study.stages.rewards import ROLES, Scorer, conversation
from lib.viewers.playground_panel import show_playground


def show_play(study: Study) -> None:
    """Show the playground with the profile's sampling settings; headless, one sentence."""
    players, sampling = Players(study), study.profile.sampling
    show_playground(players.stream, players.score, POLICIES, temperature=sampling.temperature,
                    top_k=sampling.top_k or 0, n=sampling.samples)


class Players:
    """The run's policies and reward models, ready to answer and to score."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.policies: dict[str, tuple] = {}
        self.scorer: Scorer | None = None
        self.seeds = count(study.profile.seed)  # asking again draws other answers

    def stream(self, prompt: str, policy: str, temperature: float, top_k: int, n: int
               ) -> Iterator[tuple[int, str]]:
        """Yield (candidate, its text so far) after each step; top_k 0 is the whole vocabulary."""
        settings = replace(self.study.profile.sampling, temperature=temperature,
                           top_k=top_k or None, samples=n, seed=next(self.seeds))
        if policy not in self.policies:
            self.policies[policy] = load_policy(self.study, policy)
        typed = {"id": "playground", "prompt": prompt, "source": "playground"}
        return generate_stream(*self.policies[policy], typed, settings)

    def score(self, prompt: str, texts: Sequence[str]) -> dict[str, list[float | None]]:
        """Scores of each answer, the selector's first: it chooses."""
        if self.scorer is None:
            self.scorer = Scorer(self.study)
        scores = self.scorer.score([conversation(prompt, text) for text in texts])
        return {role: scores[role] for role in ROLES}
