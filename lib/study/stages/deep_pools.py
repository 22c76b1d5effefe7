"""A long Best-of-N curve: many candidates on a few held-out prompts, off unless asked for.

    python -m lib.study --only 04 --run runs/laptop --set evaluation.deep_samples=64

Stage `deep`, with its own manifest, in deep/. Seeds go by prompt and sample number, so the first
candidates are those of the main pools, and a longer run only adds to them.
"""

from dataclasses import replace
from pathlib import Path

from lib.data.splits import held_out_subset
from lib.runtime.files import Row, read_json, read_jsonl, write_json, write_jsonl
from lib.study.pools.sampled import Pool, sample_pools, scored_pools
from lib.study.profiles import EvaluationSettings
from lib.study.run import Study, run_stage, stage_hash
from lib.study.stages.curves import Pools, gain_rows, win_rate_rows
from lib.study.stages.responses import load_policy, prompts_of
from lib.study.stages.rewards import fit_rewards

POLICIES = ("sft", "dpo")


def deep_pools(study: Study) -> Pools:
    """Sample and score the long pools, or find them; empty where the profile asks for none."""
    profile, wanted = study.profile, _wanted(study)
    if not wanted:
        return {}
    fit_rewards(study)
    names = ("data", "sft", "dpo") + (
        ("rewards",) if "embedded" in (profile.rewards.selector, profile.rewards.judge) else ())
    run_stage(study, "deep", {
        "sampling": profile.sampling, "rewards": profile.rewards,
        "samples": profile.evaluation.deep_samples, "prompts": profile.evaluation.deep_prompts},
        {name: stage_hash(study, name) for name in names},
        outputs=[*(f"{pool.policy}.jsonl" for pool in wanted), "costs.json"],
        work=lambda folder: _sample(study, folder))
    return load_deep_pools(study)


def load_deep_pools(study: Study) -> Pools:
    """The long pools that deep/ holds; empty where the profile asks for none."""
    return {(pool.policy, pool.temperature): read_jsonl(study.path("deep", f"{pool.policy}.jsonl"))
            for pool in _wanted(study)}


def deep_curves(pools: Pools) -> dict[str, list[Row]]:
    """{"win_rates", "gains"} at n = 1, 2, 4, ... up to half the pool; both empty without pools.

    Half, because at n = N each prompt gives a single pick and nothing is averaged any more.
    """
    if not pools:
        return {"win_rates": [], "gains": []}
    opponents = next(rows for (policy, _), rows in pools.items() if policy == "sft")
    most = max(2, len(opponents[0]["candidates"]) // 2)
    return {"win_rates": win_rate_rows(pools, opponents, most), "gains": gain_rows(pools, most)}


def deep_inputs(study: Study) -> dict[str, str]:
    """The long pools as an input of a later stage; none where the profile asks for none."""
    return {"deep": stage_hash(study, "deep")} if _wanted(study) else {}


def without_deep(settings: EvaluationSettings) -> EvaluationSettings:
    """The other evaluation settings: adding a long curve to a run makes no other study of it."""
    default = EvaluationSettings()
    return replace(settings, deep_samples=default.deep_samples, deep_prompts=default.deep_prompts)


def deep_costs(study: Study) -> list[Row]:
    """What the long pools took, in all: tokens, seconds of sampling and of scoring."""
    return read_json(study.path("deep", "costs.json")) if _wanted(study) else []


def _wanted(study: Study) -> list[Pool]:
    samples = study.profile.evaluation.deep_samples
    temperature = study.profile.sampling.temperature
    return [Pool(policy, temperature, samples) for policy in POLICIES] if samples else []


def _sample(study: Study, folder: Path) -> None:
    prompts = prompts_of(study)
    count = min(study.profile.evaluation.deep_prompts, len(prompts))
    prompts, wanted = held_out_subset(prompts, count, study.profile.data.seed), _wanted(study)
    sample_pools(study, wanted, prompts, folder / "pools", load_policy)
    costs = []
    for pool, rows, cost in scored_pools(study, wanted, folder / "pools"):
        write_jsonl(folder / f"{pool.policy}.jsonl", rows)
        costs.append(cost)
    write_json(folder / "costs.json", costs)
