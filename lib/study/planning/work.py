"""What work is counted in: tokens to train on, to read and to sample, and lengths of rows."""

from dataclasses import dataclass

from lib.study.planning import requirements
from lib.study.planning.benchmark import Rates
from lib.study.planning.memory import Shape
from lib.study.profiles import Profile


@dataclass(frozen=True)
class Lengths:
    """Mean tokens of a source's rows, and the share of them at which the vocabulary head runs."""

    sft: float
    pair: float  # of all pairs of a prompt, which share its tokens and often an answer
    lone_pair: float  # one pair a prompt
    answer: float
    prompt: float = 55  # as the chat template renders it
    reference: float = 80
    sft_head: float = 0.6
    pair_head: float = 0.8


SAMPLE = Lengths(sft=156, pair=102, lone_pair=200, answer=80)
HUB = Lengths(requirements.SFT_TOKENS, requirements.PAIR_TOKENS, requirements.PAIR_TOKENS,
              requirements.ANSWER_TOKENS, prompt=200, reference=300)


def lengths_of(profile: Profile) -> Lengths:
    """The lengths of the profile's source."""
    return SAMPLE if profile.data.source == "sample" else HUB


@dataclass(frozen=True)
class Work:
    """Tokens to train on, to read and to sample; at how many of them the head runs; seconds.

    Tokens count as often as they pass all layers: reading 19 of 30 layers counts 19/30.
    """

    trained: float = 0.0
    trained_heads: float = 0.0
    read: float = 0.0
    read_heads: float = 0.0
    sampled: float = 0.0
    updates: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(getattr(self, name) + getattr(other, name)
                      for name in self.__dataclass_fields__))

    def times(self, count: float) -> "Work":
        """The same work so many times."""
        return Work(*(count * getattr(self, name) for name in self.__dataclass_fields__))

    def takes(self, shape: Shape, rates: Rates, updated: float | None = None) -> float:
        """Seconds with a model of this shape; updated: parameters that training changes."""
        layers, head = shape.layers * shape.layer_parameters, shape.vocabulary * shape.width
        updated = shape.parameters if updated is None else updated
        return (6 * (self.trained * layers + self.trained_heads * head) / rates.training
                + 2 * (self.read * layers + self.read_heads * head) / rates.reading
                + 2 * self.sampled * (layers + head) / rates.sampling
                + self.updates * updated / rates.updating + self.seconds)


@dataclass(frozen=True)
class StageWork:
    """A stage: its notebook, its work in words and in numbers."""

    name: str
    notebook: str
    text: str
    work: Work
    updated: float | None = None  # parameters that training changes; None: all
