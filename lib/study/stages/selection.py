"""Notebook 04's numbers: what selection among the run's candidates gains.

Stage `selection` reads the pools and writes selection.json for notebook 04 and for
`lib.study.stages.results`. The code is an input: a changed formula recomputes it, in seconds.
"""

from pathlib import Path

from lib.analysis.best_of_n.curves import cost_rows, gain_rows, win_rate_rows
from lib.analysis.best_of_n.selection_effects import best_over_random_rows
from lib.analysis.best_of_n.selection_rules import rule_rows
from lib.analysis.comparisons.all_pairs import win_rates
from lib.analysis.design.components import variance_components
from lib.inference.rewards import ROLES
from lib.runtime.files import Row, read_json, sha256_of_value, write_json
from lib.runtime.manifest import code_hash
from lib.study.policies import (
    Pools,
    candidates_of_pools,
    load_pools,
    reranked_pools,
    rule_systems,
    system_at_main,
)
from lib.study.run import Study, run_stage
from lib.study.stages.deep_pools import deep_curves, load_deep_pools, sample_deep_pools


def measure_selection(study: Study) -> Row:
    """Compute Best-of-N's numbers, unless they are finished, by their names in results.json.

    {"best_of_n_curves", "best_of_n_gains", "best_of_n_rules", "rule_systems", "best_of_n_costs",
    "best_of_n_deep", "best_over_random", "variance_components"}: lists of rows; "best_of_n_deep"
    has lists by kind, from the deep pools.
    """
    sample_deep_pools(study)
    profile, sampling = study.profile, study.profile.sampling
    folder = run_stage(
        study, "selection", {}, ["selection.json"], lambda folder: _measure(study, folder),
        inputs={"code": code_hash("analysis", "inference", "study"),
                "settings": sha256_of_value([sampling.samples, sampling.temperature, profile.seed,
                                             profile.evaluation.resamples])})
    return read_json(folder / "selection.json")


def _measure(study: Study, folder: Path) -> None:
    everything = load_pools(study)
    pools = {pool.key: everything[pool] for pool in reranked_pools(study.profile)}
    main = study.profile.sampling.temperature
    opponents = pools["sft", main]
    write_json(folder / "selection.json", {
        "best_of_n_curves": win_rate_rows(pools, opponents, ROLES),
        "best_of_n_gains": gain_rows(pools, ROLES),
        "best_of_n_rules": rule_rows({key: pool for key, pool in pools.items() if key[1] == main},
                                     opponents, ROLES),
        "rule_systems": _rule_systems(study, everything),
        "best_of_n_costs": cost_rows(pools, opponents,
                                     read_json(study.path("responses", "costs.json"))),
        "best_of_n_deep": deep_curves(load_deep_pools(study), study.profile.evaluation.resamples,
                                      study.profile.seed),
        "best_over_random": best_over_random_rows(pools, ROLES,
                                                  study.profile.sampling.samples),
        "variance_components": variance_components(
            {pool.key: rows for pool, rows in everything.items()}, main, "judge", _pairs(study))})


def _rule_systems(study: Study, pools: Pools) -> list[Row]:
    """Win rates of the other rules over the best of the same draws, and over one SFT answer."""
    board = candidates_of_pools(study, pools)
    return win_rates(board, [
        (name, rival) for policy in ("sft", "dpo")
        for name in rule_systems(study.profile, board, policy)
        for rival in (system_at_main(study.profile, policy).name, "sft")])


def _pairs(study: Study) -> list[tuple[str, str]]:
    """Comparisons whose variance is taken apart: of policies, and what Best-of-N adds."""
    sft, dpo = (system_at_main(study.profile, policy).name for policy in ("sft", "dpo"))
    return [("sft", "base"), ("dpo", "sft"), (sft, "sft"), (dpo, "dpo"), (dpo, "sft")]
