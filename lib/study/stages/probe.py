"""DPO's answers to validation prompts during training, scored by the judge.

Reward accuracy and margin can rise while the answers get worse (notebook 03 looks for it), so each
evaluation also samples answers and logs the judge's scores and their repetition. Every evaluation
uses the same prompts and random numbers, so that changes are paired. The probe never uses the
held-out prompts or the audit.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from lib.analysis.texts.metrics import text_metrics
from lib.analysis.texts.repetition import seq_rep
from lib.data.parquet import read_parquet
from lib.data.schema import prompt_text
from lib.data.splits import held_out_subset
from lib.inference.sampling import sample
from lib.runtime.files import Row
from lib.runtime.settings import build
from lib.study.profiles import Profile
from lib.study.run import Study
from lib.study.stages.rewards import Scorer, score_rows

Probe = Callable[[nn.Module, int], Row]


def probe_of_run(options: Mapping[str, Any], tokenizer: Any) -> Probe | None:
    """The probe of a training job; options: the run's "profile" as a mapping, and its "folder".

    An option "start" is what the probe says at step 0, where it is known already.
    """
    return validation_probe(Study(build(Profile, options["profile"]), Path(options["folder"])),
                            tokenizer, options.get("start"))


def validation_probe(study: Study, tokenizer: Any, start: Row | None = None) -> Probe | None:
    """A function (model, step) -> metrics of fresh answers; None without probe prompts."""
    prompts = probe_prompts(study)
    if not prompts:
        return None
    scorer = Scorer(study, ["judge"])
    settings = replace(study.profile.sampling, samples=1, stream="probe",
                       engine="own")  # weights that change would be converted again and again

    def probe(model: nn.Module, step: int) -> Row:
        """The judge's mean score of n fresh answers (None without any), repetition and length."""
        if step == 0 and start:
            return start
        rows = [{**row, "chosen": 0} for row in sample(model, tokenizer, prompts, settings)]
        rows = score_rows(scorer, rows)
        scores = [row["candidates"][0]["rewards"]["judge"] for row in rows]
        known = [score for score in scores if score is not None]
        metrics = text_metrics(rows)
        return {"judge_score": sum(known) / len(known) if known else None, "n": len(known),
                "judge_scores": scores,
                "repetition": metrics["seq_rep_4"] or 0.0, "loop_rate": metrics["loop_rate"],
                "mean_tokens": metrics["mean_tokens"],
                "repetitions": [seq_rep(row["candidates"][0]["text"], 4) for row in rows]}
    return probe


def probe_prompts(study: Study) -> list[dict[str, Any]]:
    """A seeded choice of distinct validation prompts, balanced by source."""
    rows = read_parquet(study.path("data", "preferences_validation.parquet"))  # before any pairing
    distinct = {prompt_text(row): row for row in rows}
    prompts = [{"id": row["id"], "prompt": text, "source": row["source"]}
               for text, row in distinct.items()]
    count = min(study.profile.evaluation.probe_prompts, len(prompts))
    return held_out_subset(prompts, count, study.profile.data.seed) if count else []
