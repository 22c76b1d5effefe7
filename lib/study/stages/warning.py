"""Notebook 03's warning: two kinds of pairs times two learning rates, four short DPO runs.

Reward accuracy and margin can rise while the answers get worse. Which of the two does the harm? The
four runs differ in nothing else: the same prompts with one pair each, the same steps, start, seed,
validation prompts and random stream of fresh answers. Their models are not kept.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lib.analysis.policies.warning import factor_effects, warning_cell
from lib.data.parquet import write_parquet
from lib.data.schema import prompt_text
from lib.data.splits import held_out_subset
from lib.runtime.files import Row, read_jsonl
from lib.runtime.manifest import read_manifest
from lib.runtime.progress import say
from lib.study.run import Study, run_stage
from lib.study.stages.data import load_part
from lib.study.stages.dpo import probe_parameters
from lib.study.stages.probe import probe_of_run, probe_prompts
from lib.study.stages.rewards import fit_rewards
from lib.study.workers.training import train_job, training_job
from lib.training import dpo
from lib.training.job import ProbeMaker
from lib.training.settings import DPOSettings

FILES = ("metrics.jsonl", "validation_rewards.jsonl")


def run_warning(study: Study) -> Row:
    """Train the four cells into warning/<cell>/, unless they are finished; `warning_results`.

    Empty without probe prompts, without pairs and validation pairs of both kinds of some prompt, or
    if `evaluation.warning_run` is off.
    """
    settings, evaluation = study.profile.warning, study.profile.evaluation
    if not (evaluation.warning_run and probe_prompts(study)
            and all(all(both) for both in _both_kinds(study).values())):
        return {}
    fit_rewards(study, says=False)  # the judge scores the probe's answers
    run_stage(study, "warning",
              {"model": study.profile.model, "warning": settings.in_force(),
               "low_rate": study.profile.dpo.learning_rate, "pairs": evaluation.warning_pairs,
               "max_length": study.profile.data.max_pair_length,
               "probe": probe_parameters(study)},
              outputs=[f"{cell}/{file}" for cell in warning_cells(study) for file in FILES],
              work=lambda folder: _train_cells(study, folder))
    return warning_results(study)


def warning_cells(study: Study) -> dict[str, tuple[str, float]]:
    """Name of a cell -> its kind of pairs (on_policy, written) and its learning rate."""
    rates = {"low": study.profile.dpo.learning_rate, "high": study.profile.warning.learning_rate}
    return {f"{kind}_{name}": (kind, rate) for kind in _kinds(study)
            for name, rate in rates.items()}


def warning_results(study: Study) -> Row:
    """{"cells", "effects"} of the finished stage, as `lib.analysis.policies.warning` gives them.

    Empty where it is not finished, and where the judge scored no answer of some run.
    """
    folder = study.path("warning")
    if read_manifest(folder) is None:
        return {}
    rows = {name: [read_jsonl(folder / name / file) for file in FILES]
            for name in warning_cells(study)}
    if not all(row["n"] for metrics, _ in rows.values() for row in metrics
               if row["split"] == "samples"):
        say("warning: the judge scored no fresh answer of some run, so the four show nothing")
        return {}
    cells = [warning_cell(name, kind, rate, *rows[name])
             for name, (kind, rate) in warning_cells(study).items()]
    return {"cells": cells, "effects": factor_effects(cells)}


def pairs_of_same_prompts(first: Sequence[Row], second: Sequence[Row], count: int | None,
                          seed: int) -> tuple[list[Row], list[Row]]:
    """One pair of each kind for `count` prompts (None: all) that both have, in the same order.

    Of several pairs of a prompt it is the one with the largest gap of scores. Prompts are balanced
    by source.
    """
    by_prompt = [_widest(rows) for rows in (first, second)]
    shared = [row for prompt, row in by_prompt[0].items() if prompt in by_prompt[1]]
    if count is not None and shared:
        shared = held_out_subset(shared, min(count, len(shared)), seed)
    one, other = ([pairs[prompt_text(row)] for row in shared] for pairs in by_prompt)
    return one, other


def _widest(rows: Sequence[Row]) -> dict[str, Row]:
    """Prompt -> its pair with the largest gap of scores, the first of equal ones."""
    found: dict[str, Row] = {}
    for row in rows:
        prompt = prompt_text(row)
        if prompt not in found or _gap(row) > _gap(found[prompt]):
            found[prompt] = row
    return found


def _gap(row: Row) -> float:
    """How far a pair's scores lie apart; 0, which no scored pair is, where one is missing."""
    high, low = row["score_chosen"], row["score_rejected"]
    return 0.0 if high is None or low is None else high - low


def _kinds(study: Study) -> tuple[str, str]:
    """The kind of the profile's pairs, and the other one."""
    kinds = "on_policy", "written"
    return kinds[::-1] if study.profile.data.pairs == "written" else kinds


def _both_kinds(study: Study) -> dict[str, tuple[list[Row], list[Row]]]:
    """Pairs of both kinds of the same prompts, by the end of their files' names."""
    count, seed = study.profile.evaluation.warning_pairs, study.profile.data.seed
    parts = {"": ("preferences", "other_pairs", count),
             "_validation": ("preferences_validation", "other_validation", None)}
    return {suffix: pairs_of_same_prompts(load_part(study, own, chosen=False),
                                          load_part(study, other), wanted, seed)
            for suffix, (own, other, wanted) in parts.items()}


def _train_cells(study: Study, folder: Path) -> None:
    for suffix, both in _both_kinds(study).items():
        for kind, rows in zip(_kinds(study), both, strict=True):
            write_parquet(rows, folder / f"{kind}{suffix}.parquet",
                          like=load_part(study, "preferences"))
    start: Row | None = None
    for name, (kind, rate) in warning_cells(study).items():
        cell = folder / name
        if not all((cell / file).exists() for file in FILES) or (cell / "model").exists():
            _share_reference(folder, name, kind)
            _train(study, cell, folder / kind, replace(study.profile.warning, learning_rate=rate),
                   start)
            shutil.rmtree(cell / "model")
            shutil.rmtree(cell / "checkpoints", ignore_errors=True)
        start = next(row for row in read_jsonl(cell / FILES[0]) if row["split"] == "samples")


def _share_reference(folder: Path, name: str, kind: str) -> None:
    """The reference's log-probabilities of the same pairs, where another cell has them."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    for file in sorted(folder.glob(f"{kind}_*/reference_*.jsonl")):
        if not (folder / name / file.name).exists():
            shutil.copy(file, folder / name / file.name)


def _train(study: Study, cell: Path, pairs: Path, settings: DPOSettings,
           start: Row | None) -> None:
    """start: what the probe says of the SFT model, the start of every cell; None: not known yet."""
    job = training_job(study, "dpo", cell, ("preferences", "preferences_validation"),
                       model=str(study.path("sft", "model")), settings=settings,
                       max_length=study.profile.data.max_pair_length)
    options: dict[str, Any] = {"profile": asdict(study.profile), "folder": str(study.folder),
                               "start": start}
    train_job(dpo.train_dpo, replace(job, rows=f"{pairs}.parquet",
                                     validation=f"{pairs}_validation.parquet"),
              ProbeMaker(probe_of_run, options))
