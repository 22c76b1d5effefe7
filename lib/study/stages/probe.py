"""DPO's answers to validation prompts during training, scored by the judge.

Reward accuracy and margin can rise while the answers get worse (notebook 03 shows it), so each
evaluation also samples answers and logs the judge's mean score and their repetition. The probe
never uses the held-out prompts or the audit.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from lib.analysis.texts.metrics import text_metrics
from lib.data.schema import prompt_text
from lib.data.splits import held_out_subset
from lib.inference.sampling import sample
from lib.runtime.settings import build
from lib.study.profiles import Profile
from lib.study.run import Study
from lib.study.stages.data import load_part
from lib.study.stages.rewards import Scorer, score_rows

Probe = Callable[[nn.Module, int], dict[str, float]]


def probe_of_run(options: Mapping[str, Any], tokenizer: Any) -> Probe | None:
    """The probe of a training job; options: the run's "profile" as a mapping, and its "folder"."""
    return validation_probe(Study(build(Profile, options["profile"]), Path(options["folder"])),
                            tokenizer)


def validation_probe(study: Study, tokenizer: Any) -> Probe | None:
    """A function (model, step) -> metrics of fresh answers; None without probe prompts."""
    prompts = probe_prompts(study)
    if not prompts:
        return None
    scorer = Scorer(study, ["judge"])
    settings = replace(study.profile.sampling, samples=1)

    def probe(model: nn.Module, step: int) -> dict[str, float]:
        """The judge's mean score of n fresh answers, their repetition and length."""
        rows = [{**row, "chosen": 0} for row in sample(model, tokenizer, prompts, settings)]
        rows = score_rows(scorer, rows)
        scores = [row["candidates"][0]["rewards"]["judge"] for row in rows]
        known = [score for score in scores if score is not None]
        metrics = text_metrics(rows)
        return {"judge_score": sum(known) / len(known), "n": len(known),
                "repetition": metrics["seq_rep_4"] or 0.0, "loop_rate": metrics["loop_rate"],
                "mean_tokens": metrics["mean_tokens"]}
    return probe


def probe_prompts(study: Study) -> list[dict[str, Any]]:
    """A seeded choice of distinct validation prompts, balanced by source."""
    rows = load_part(study, "preferences_validation")
    distinct = {prompt_text(row): row for row in rows}
    prompts = [{"id": row["id"], "prompt": text, "source": row["source"]}
               for text, row in distinct.items()]
    count = min(study.profile.evaluation.probe_prompts, len(prompts))
    return held_out_subset(prompts, count, study.profile.data.seed) if count else []
