"""A pool: `samples` answers of one policy at one temperature to each of its prompts.

Its file is `<policy>@<temperature>.jsonl`, one prompt a line, at first as sampled, later with every
candidate's `rewards`. `.seconds.json` beside it holds the sampling time, null after a resume.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lib.data.splits import held_out_subset
from lib.inference.sampling_settings import SamplingSettings
from lib.inference.systems import System
from lib.runtime.files import Row, read_json, write_json
from lib.study.run import Study, stage_hash


@dataclass(frozen=True)
class Pool:
    """A policy (base, sft, dpo), its temperature, answers a prompt, and prompts (None: all)."""

    policy: str
    temperature: float
    samples: int
    prompts: int | None = None

    @property
    def name(self) -> str:
        """Name of its file: `dpo@0.6`."""
        return f"{self.policy}@{self.temperature:g}"

    @property
    def key(self) -> tuple[str, float]:
        """(policy, temperature), the key of a pool in `lib.analysis.best_of_n`."""
        return self.policy, self.temperature

    @property
    def answers(self) -> int:
        """How many answers it has, if it names the number of its prompts."""
        assert self.prompts is not None
        return self.prompts * self.samples

    def picked_by(self, rule: str, n: int) -> System:
        """The system that answers with one of the first n candidates, chosen by `rule`."""
        return System(self.policy, rule, n, self.temperature)

    def chosen_prompts(self, study: Study, prompts: Sequence[Row]) -> list[Row]:
        """Its share of the run's held-out prompts, balanced over sources; nested in larger ones."""
        if self.prompts is None or self.prompts >= len(prompts):
            return list(prompts)
        return held_out_subset(prompts, self.prompts, study.profile.data.seed)

    def file(self, folder: Path) -> Path:
        """The file of its answers."""
        return folder / f"{self.name}.jsonl"

    def settings(self, study: Study) -> SamplingSettings:
        """Its sampling settings; its own random stream keeps it independent of other pools."""
        return replace(study.profile.sampling, temperature=self.temperature, samples=self.samples,
                       seed=study.profile.seed, stream=self.name)


def begun(path: Path) -> bool:
    """Whether an interrupted run wrote some of this file's answers."""
    return any(path.parent.glob(f"{path.name}*.partial.jsonl"))


def policy_key(study: Study, policy: str) -> str:
    """The identity of a policy's weights: its stage's hash, or the base model's name."""
    model = study.profile.model
    return f"{model.name}@{model.revision}" if policy == "base" else stage_hash(study, policy)


def write_seconds(folder: Path, pool: Pool, seconds: float | None) -> None:
    """Write the sampling time of a pool."""
    write_json(_seconds_file(folder, pool), {"seconds": seconds})


def costs_of(folder: Path, pool: Pool, rows: Sequence[Row], scoring: float | None) -> Row:
    """The cost of a pool: new tokens, seconds of sampling and of scoring (null: not timed)."""
    tokens = [candidate["tokens"] for row in rows for candidate in row["candidates"]]
    path = _seconds_file(folder, pool)
    return {"policy": pool.policy, "temperature": pool.temperature, "prompts": len(rows),
            "candidates": pool.samples, "tokens": None if None in tokens else sum(tokens),
            "sampling_seconds": read_json(path)["seconds"] if path.exists() else None,
            "scoring_seconds": scoring}


def _seconds_file(folder: Path, pool: Pool) -> Path:
    return folder / f"{pool.name}.seconds.json"
