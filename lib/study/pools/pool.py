"""A pool: `samples` answers of one policy at one temperature to each prompt.

It lies in `<policy>@<temperature>.jsonl`, one prompt a line: first as sampled, then with the
`rewards` of every candidate. Beside it `.seconds.json` says how long sampling took; null where it
was not one uninterrupted sitting.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lib.inference.sampling_settings import SamplingSettings
from lib.inference.systems import System
from lib.runtime.files import Row, read_json, write_json
from lib.study.run import Study, stage_hash


@dataclass(frozen=True)
class Pool:
    """Which answers: a policy (base, sft, dpo), its temperature, how many for each prompt."""

    policy: str
    temperature: float
    samples: int

    @property
    def name(self) -> str:
        """Name of its file: `dpo@0.6`."""
        return f"{self.policy}@{self.temperature:g}"

    @property
    def key(self) -> tuple[str, float]:
        """(policy, temperature), as `lib.analysis.best_of_n` tells pools apart."""
        return self.policy, self.temperature

    def picked_by(self, rule: str) -> System:
        """The system that answers with one of these candidates, chosen by `rule`."""
        return System(self.policy, rule, self.samples, self.temperature)


def pool_file(folder: Path, pool: Pool) -> Path:
    """Where a pool's answers lie."""
    return folder / f"{pool.name}.jsonl"


def begun(path: Path) -> bool:
    """Whether an earlier start left answers of this file."""
    return any(path.parent.glob(f"{path.name}*.partial.jsonl"))


def settings_of(study: Study, pool: Pool) -> SamplingSettings:
    """How a pool's answers are sampled."""
    return replace(study.profile.sampling, temperature=pool.temperature, samples=pool.samples,
                   seed=study.profile.seed)


def policy_key(study: Study, policy: str) -> str:
    """What tells a policy's weights from others': its stage's hash, or the base model's name."""
    model = study.profile.model
    return f"{model.name}@{model.revision}" if policy == "base" else stage_hash(study, policy)


def write_seconds(folder: Path, pool: Pool, seconds: float | None) -> None:
    """Keep how long sampling a pool took."""
    write_json(_seconds_file(folder, pool), {"seconds": seconds})


def costs_of(folder: Path, pool: Pool, rows: Sequence[Row], scoring: float | None) -> Row:
    """What a pool took: new tokens in all, seconds of sampling and of scoring (null: not timed)."""
    tokens = [candidate["tokens"] for row in rows for candidate in row["candidates"]]
    path = _seconds_file(folder, pool)
    return {"policy": pool.policy, "temperature": pool.temperature, "prompts": len(rows),
            "candidates": pool.samples, "tokens": None if None in tokens else sum(tokens),
            "sampling_seconds": read_json(path)["seconds"] if path.exists() else None,
            "scoring_seconds": scoring}


def _seconds_file(folder: Path, pool: Pool) -> Path:
    return folder / f"{pool.name}.seconds.json"
