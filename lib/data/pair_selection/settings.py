"""The settings that choose and order the pairs of DPO, a part of a profile's `data`."""

from typing import Literal

from pydantic import Field

from lib.runtime.settings import checked

SAMPLES, SHARE = 1, 0.5  # defaults of settings that belong to a switch


@checked
class PairSelection:
    """What is done to the training pairs, in this order; validation pairs stay as they are."""

    label_noise: float = Field(0.0, ge=0, le=1)  # share of training pairs whose label is flipped
    margin: float | None = Field(None, gt=0)  # a pair stays if its scores differ by so much or more
    # Filtered DPO: a pair stays if the SFT model's own answer to its prompt scores less than so
    # much above the chosen one, by the selector; the authors' is 0, null filters nothing
    fdpo_threshold: float | None = None
    fdpo_samples: int = Field(SAMPLES, ge=1)  # own answers to each prompt, whose mean score counts
    clusters: int | None = Field(None, ge=2)  # of prompts, from which equally many pairs are taken
    cluster_share: float = Field(SHARE, gt=0, lt=1)  # of the pairs, taken from the clusters
    # Easy pairs first: by the gap of scores, or of the SFT model's log-probabilities. It needs
    curriculum: Literal["score_gap", "reference_gap"] | None = None  # dpo.order=file
    random_control: bool = False  # as many pairs, or the same in another order, by chance instead

    def __post_init__(self) -> None:
        for name, switch, default in (("fdpo_samples", "fdpo_threshold", SAMPLES),
                                      ("cluster_share", "clusters", SHARE)):
            value = getattr(self, name)
            if getattr(self, switch) is None and value != default:
                raise ValueError(f"data.{name} is {value:g} without data.{switch}; set that too, "
                                 f"or leave {name} out")
        if self.random_control and not self.chooses:
            raise ValueError("data.random_control is true, and nothing is chosen that chance could "
                             "choose instead; set data.margin, fdpo_threshold, clusters or "
                             "curriculum, or leave it out")

    @property
    def chooses(self) -> bool:
        """Whether pairs are left out or put in an order."""
        return any(value is not None for value in (
            self.margin, self.fdpo_threshold, self.clusters, self.curriculum))

    @property
    def changes_pairs(self) -> bool:
        """Whether DPO trains on other pairs, or in another order, than were read or made."""
        return self.chooses or self.label_noise > 0
