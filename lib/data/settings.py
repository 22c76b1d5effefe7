"""The data settings of a run: sources, numbers of rows, lengths, pairs.

`PAPER` holds the values of Qin & Garcia (2025): 8,000 random rows of SmolTalk and the whole of
UltraFeedback, at fixed revisions of the hub's repositories. Validation takes nothing from them:
further rows of SmolTalk, and pairs of UltraFeedback's test split without the held-out prompts.
"""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lib.data.layouts.recognise import Format
from lib.data.pair_selection.settings import PairSelection
from lib.runtime.places import is_path
from lib.runtime.settings import checked

Source = Literal["sample", "hub", "local"]
Pairs = Literal["on_policy", "written", "self_generated"]
Keep = Literal["best_worst", "all"]
CHOICES = tuple(field.name for field in fields(PairSelection))  # they change no row that is read


@checked
class DataSettings(PairSelection):
    """The `data` part of a profile."""

    source: Source = "sample"  # sample: data/sample; hub: Hugging Face; local: your own files
    sft_path: str = ""  # hub id, file or folder; empty: the sample's rows, whatever the source
    preferences_path: str = ""  # of preferences (scored answers for on_policy)
    heldout_path: str = ""  # of evaluation prompts
    sft_config: str = ""  # hub configuration; SmolTalk needs one of its 14 ("all")
    preferences_config: str = ""  # empty: the only one
    heldout_config: str = ""
    sft_split: str = "train"  # split, of the hub or of a folder that has several
    preferences_split: str = "train"  # UltraFeedback: train_prefs
    validation_split: str = ""  # split of validation pairs; empty: a share of preferences_split
    heldout_split: str = "test"  # UltraFeedback: test_prefs
    sft_revision: str = ""  # hub commit, tag or branch; empty: newest, and not repeatable
    preferences_revision: str = ""
    heldout_revision: str = ""
    format: Format = "auto"  # of the rows; auto: as their columns say, which notebook 01 prints
    score_column: str = ""  # dotted: annotations.honesty.Rating; of written pairs: scores.{side}
    references_path: str = ""  # another model's answers to the held-out prompts, the references
    streaming: bool = False  # for data larger than the disk
    seed: int = 0  # of row choices and splits; --seeds repeats training, not this
    sft_rows: int | None = Field(None, ge=1)  # random choice of so many to train on; null: all
    preference_rows: int | None = Field(None, ge=1)  # the same for pairs
    # on_policy: the model's own scored answers, from a file; written: pairs by others;
    # self_generated: answers that the run's SFT model gives, scored by the run's selector
    pairs: Pairs = "on_policy"
    pair_samples: int = Field(4, ge=2)  # self_generated: answers to each prompt of the preferences
    pair_temperature: float = Field(1.0, gt=0)  # self_generated: at which they are sampled
    min_gap: float = Field(1.0, ge=0)  # smallest score difference of a pair: 1-10, or of rewards
    pairs_per_prompt: Keep = "all"  # all: every pair with min_gap; or the best against the worst
    max_length: int = Field(512, ge=2)  # tokens of a conversation; longer ones are truncated
    max_pair_length: int = Field(1024, ge=2)  # tokens of a prompt with one of its answers
    validation_share: float = Field(0.2, ge=0, lt=1)  # of prompts, for choices; beside a set number
    drop_near_duplicates: bool = False  # also drop rows with a near-duplicate prompt

    def __post_init__(self) -> None:
        PairSelection.__post_init__(self)
        named = (self.sft_path, self.preferences_path, self.heldout_path)
        if self.source != "sample" and not any(named):
            raise ValueError(f"data.source is {self.source!r} and no place is named; use sample, "
                             "or give one of data.sft_path, preferences_path and heldout_path")
        unread = [path for path in named if is_path(path) or path and Path(path).exists()]
        if self.source == "sample" and unread:
            raise ValueError(f"data.source is 'sample', which reads nothing of {unread[0]}; set "
                             "data.source=local")
        if self.score_column and ("{side}" in self.score_column) == (self.pairs == "on_policy"):
            raise ValueError(f"data.score_column is {self.score_column!r} with data.pairs="
                             f"{self.pairs}; scored answers (on_policy) need a plain dotted name, "
                             "pairs one with {side} for chosen and rejected: scores.{side}")

    def read(self) -> dict[str, Any]:
        """The settings by name on which rows and pairs depend before any pair is chosen."""
        return {name: value for name, value in asdict(self).items() if name not in CHOICES}

    def choice(self) -> str:
        """The choice of pairs in words: the settings that are not at their defaults."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in CHOICES
                         if getattr(self, name) != getattr(PairSelection(), name))


PAPER: dict[str, Any] = {
    "source": "hub",
    "sft_path": "HuggingFaceTB/smoltalk",
    "sft_config": "all",
    "sft_split": "train",
    "sft_revision": "5feaf2fd3ffca7c237fc38d1861bc30365d48ffa",
    "sft_rows": 8000,
    "preferences_path": "HuggingFaceH4/ultrafeedback_binarized",
    "preferences_split": "train_prefs",
    "validation_split": "test_prefs",
    "preferences_revision": "3949bf5f8c17c394422ccfab0c31ea9c20bdeb85",
    "heldout_path": "HuggingFaceH4/ultrafeedback_binarized",
    "heldout_split": "test_prefs",
    "heldout_revision": "3949bf5f8c17c394422ccfab0c31ea9c20bdeb85",
    "pairs": "written",
    "max_length": 512,
    "max_pair_length": 1024,
    "validation_share": 0.02,
}
