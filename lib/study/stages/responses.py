"""Notebook 04's stage: candidates of each policy, scored, and the systems picked from them.

For each policy and temperature one pool of N candidates a prompt is sampled and scored by selector
and judge. Three systems read the same pool: the policy itself (first candidate), Best-of-N (argmax
of the selector) and the control (a random candidate). responses/<system>.jsonl holds each, and
responses/costs.json what each pool took.
"""

from collections.abc import Iterator
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.inference.best_of_n import best_of_n, random_of_n
from lib.modeling.loading import load_model, load_tokenizer
from lib.runtime.files import Row, read_jsonl, write_json, write_jsonl
from lib.study.pools.sampled import Pool, sample_pools, scored_pools
from lib.study.run import Study, run_stage, stage_hash
from lib.study.stages.data import load_part
from lib.study.stages.rewards import fit_rewards

POLICIES = ("base", "sft", "dpo")


def answer_prompts(study: Study) -> dict[str, list[Row]]:
    """Sample, score and select; or find what is there. Returns response rows by system."""
    profile = study.profile
    fit_rewards(study)
    inputs = {name: stage_hash(study, name) for name in ("data", "sft", "dpo")}
    if "embedded" in (profile.rewards.selector, profile.rewards.judge):
        inputs["rewards"] = stage_hash(study, "rewards")
    run_stage(study, "responses", {
        "model": profile.model, "sampling": profile.sampling, "rewards": profile.rewards,
        "temperatures": profile.evaluation.temperatures, "prompts": profile.evaluation.prompts,
        "rerank_base": profile.evaluation.rerank_base},
        inputs, outputs=[*(f"{system}.jsonl" for system in system_names(study)), "costs.json"],
        work=lambda folder: _answer(study, folder))
    return load_systems(study)


def pools(study: Study) -> list[tuple[str, float]]:
    """(policy, temperature) of every pool: DPO at each temperature, the others at the main one."""
    main = study.profile.sampling.temperature
    extra = [t for t in study.profile.evaluation.temperatures if t != main]
    return [*((policy, main) for policy in POLICIES), *(("dpo", t) for t in extra)]


def reranked_pools(study: Study) -> list[tuple[str, float]]:
    """The pools from which a best candidate is picked."""
    return [pool for pool in pools(study) if candidates_of(study, pool[0]) > 1]


def candidates_of(study: Study, policy: str) -> int:
    """Candidates a prompt: N, and one for the base unless the profile reranks it too."""
    alone = policy == "base" and not study.profile.evaluation.rerank_base
    return 1 if alone else study.profile.sampling.samples


def system_names(study: Study) -> list[str]:
    """Names of all systems of the run, in the order of the story."""
    n = study.profile.sampling.samples
    plain = list(POLICIES)
    picked = [f"{policy}+{kind}{n}@{temperature:g}" for policy, temperature in pools(study)
              if candidates_of(study, policy) > 1 for kind in ("bon", "random")]
    return [*plain, *picked]


def load_systems(study: Study) -> dict[str, list[Row]]:
    """Response rows by system, from the run's files."""
    return {name: read_jsonl(study.path("responses", f"{name}.jsonl"))
            for name in system_names(study)}


def load_policy(study: Study, policy: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A policy's model in the run's compute precision, and the tokenizer."""
    profile, device = study.profile, study.device
    trained = policy != "base"
    name = str(study.path(policy, "model")) if trained else profile.model.name
    revision = None if trained else profile.model.revision
    return load_model(name, device.dtype, device.device, revision), load_tokenizer(name, revision)


def prompts_of(study: Study) -> list[Row]:
    """The held-out prompts as sampling takes them."""
    return [{key: row[key] for key in ("id", "prompt", "source")}
            for row in load_part(study, "heldout")]


def _answer(study: Study, folder: Path) -> None:
    wanted = [Pool(policy, temperature, candidates_of(study, policy))
              for policy, temperature in pools(study)]
    sample_pools(study, wanted, prompts_of(study), folder / "pools", load_policy)
    costs = []
    for pool, rows, cost in scored_pools(study, wanted, folder / "pools"):
        costs.append(cost)
        for name, chosen_rows in _systems_of(study, pool.policy, pool.temperature, rows):
            write_jsonl(folder / f"{name}.jsonl", chosen_rows)
    write_json(folder / "costs.json", costs)


def _systems_of(study: Study, policy: str, temperature: float,
                rows: list[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The systems that read one pool; the plain policy only at the main temperature."""
    n = study.profile.sampling.samples
    if temperature == study.profile.sampling.temperature:
        yield policy, [{**row, "candidates": row["candidates"][:1], "chosen": 0} for row in rows]
    if candidates_of(study, policy) == 1:
        return
    yield f"{policy}+bon{n}@{temperature:g}", [pick_best(row) for row in rows]
    yield f"{policy}+random{n}@{temperature:g}", [
        {**row, "chosen": random_of_n(len(row["candidates"]), row["id"], study.profile.seed)}
        for row in rows]


def pick_best(row: Row) -> Row:
    """The row with the selector's pick; where it scored nothing there is none.

    Then the first candidate stands in for readers, and no score is left, so that no judge counts
    it: see `lib.analysis.comparisons.scoreboard`.
    """
    picked = best_of_n([candidate["rewards"]["selector"] for candidate in row["candidates"]])
    if picked is not None:
        return {**row, "chosen": picked}
    unscored = [{**candidate, "rewards": dict.fromkeys(candidate["rewards"])}
                for candidate in row["candidates"]]
    return {**row, "candidates": unscored, "chosen": 0}
