"""A long Best-of-N curve: many candidates on a few held-out prompts, off by default.

    python -m lib.study --only 04 --run runs/laptop --set evaluation.deep_samples=64

Stage `deep` writes to deep/. Random streams depend on prompt and sample number, so that the first
candidates are those of the main pools, and a longer run only adds to them.
"""

from dataclasses import replace
from pathlib import Path

from lib.analysis.best_of_n.curves import Pools, gain_rows, win_rate_rows
from lib.analysis.best_of_n.over_optimisation import over_optimisation_rows
from lib.inference.rewards import ROLES
from lib.runtime.files import Row, read_jsonl, write_json
from lib.study.policies import planned_deep_pools
from lib.study.pools.sampled import scored_pools
from lib.study.profiles import EvaluationSettings
from lib.study.run import Study, run_stage
from lib.study.stages.responses import prompts_of
from lib.study.stages.rewards import fit_rewards


def sample_deep_pools(study: Study) -> None:
    """Sample and score the deep pools, unless they are finished or the profile has none."""
    profile, wanted = study.profile, planned_deep_pools(study.profile)
    if not wanted:
        return
    fit_rewards(study, says=False)
    run_stage(study, "deep", {
        "sampling": profile.sampling.in_force(), "rewards": profile.rewards.scoring,
        "samples": profile.evaluation.deep_samples, "prompts": profile.evaluation.deep_prompts},
        outputs=[*(f"pools/{pool.name}.jsonl" for pool in wanted), "costs.json"],
        work=lambda folder: _sample(study, folder))


def load_deep_pools(study: Study) -> Pools:
    """The deep pools of the run; empty if the profile has none."""
    return {pool.key: read_jsonl(pool.file(study.path("deep", "pools")))
            for pool in planned_deep_pools(study.profile)}


def deep_curves(pools: Pools, resamples: int = 10_000, seed: int = 0) -> dict[str, list[Row]]:
    """{"win_rates", "gains", "over_optimisation"} up to half the pool; all empty without pools.

    At n = 1, 2, 4, ...; beyond half, each prompt averages over too few picks; at n = N over a
    single one. resamples, seed: of the fit's bootstrap.
    """
    if not pools:
        return {"win_rates": [], "gains": [], "over_optimisation": []}
    opponents = next(rows for (policy, _), rows in pools.items() if policy == "sft")
    most = max(2, len(opponents[0]["candidates"]) // 2)
    return {"win_rates": win_rate_rows(pools, opponents, ROLES, most),
            "gains": gain_rows(pools, ROLES, most),
            "over_optimisation": over_optimisation_rows(pools, ROLES, most, resamples, seed)}


def without_deep(settings: EvaluationSettings) -> EvaluationSettings:
    """The other evaluation settings: a long curve may be added to a finished run."""
    default = EvaluationSettings()
    return replace(settings, deep_samples=default.deep_samples, deep_prompts=default.deep_prompts)


def _sample(study: Study, folder: Path) -> None:
    wanted = planned_deep_pools(study.profile)
    write_json(folder / "costs.json", [cost for _, _, cost in scored_pools(
        study, wanted, prompts_of(study), folder.name)])
