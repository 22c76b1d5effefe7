"""DPO's answers to validation prompts during training, scored by the judge.

Reward accuracy and margin can rise while the answers get worse (notebook 03 looks for it), so each
evaluation also samples answers and logs the judge's scores and their repetition. Every evaluation
uses the same prompts and random numbers, so that changes are paired. With `dpo.kl_target` it also
measures KL from the reference. The probe never uses the held-out prompts or the audit.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from lib.analysis.policies.divergence import kl_divergence
from lib.analysis.texts.metrics import text_metrics
from lib.analysis.texts.repetition import seq_rep
from lib.data.parquet import read_parquet
from lib.data.schema import prompt_text
from lib.data.splits import held_out_subset
from lib.inference.sampling import sample
from lib.inference.sampling_settings import SamplingSettings
from lib.modeling.loading import load_model
from lib.modeling.packed.divergence import answer_divergence
from lib.modeling.packed.packing import collate, pack
from lib.runtime.files import Row
from lib.runtime.progress import about
from lib.runtime.settings import build
from lib.study.profiles import Profile
from lib.study.run import Study
from lib.study.stages.drift import prompt_and_answer
from lib.study.stages.rewards import Scorer, score_rows

Probe = Callable[[PreTrainedModel, int], Row]
KL_TOKENS = 2048  # read at once


def probe_of_run(options: Mapping[str, Any], tokenizer: Any) -> Probe | None:
    """The probe of a training job; options: the run's "profile" as a mapping, and its "folder".

    An option "start" is what the probe says at step 0, where it is known already; "reference" the
    model from which it measures KL, if any.
    """
    return validation_probe(Study(build(Profile, options["profile"]), Path(options["folder"])),
                            tokenizer, options.get("start"), options.get("reference"))


def kl_probe_of_run(options: Mapping[str, Any], tokenizer: Any) -> Probe | None:
    """A probe that measures KL from the model "reference" and nothing else, as `fresh_kl` does."""
    study = Study(build(Profile, options["profile"]), Path(options["folder"]))
    prompts = probe_prompts(study)
    return (lambda model, step: fresh_kl(model, options["reference"], tokenizer, prompts,
                                         study.profile.sampling)) if prompts else None


def validation_probe(study: Study, tokenizer: Any, start: Row | None = None,
                     reference: str | None = None) -> Probe | None:
    """A function (model, step) -> metrics of fresh answers; None without probe prompts."""
    prompts = probe_prompts(study)
    if not prompts:
        return None
    scorer = Scorer(study, ["judge"])
    settings = replace(study.profile.sampling, samples=1, stream="probe",
                       engine="own")  # weights that change would be converted again and again

    def probe(model: PreTrainedModel, step: int) -> Row:
        """The judge's mean score of n fresh answers (None without any), repetition and length."""
        if step == 0 and start:
            return start
        with about(f"fresh answers at step {step}"):
            rows = [{**row, "chosen": 0} for row in sample(model, tokenizer, prompts, settings)]
            rows = score_rows(scorer, rows)
        scores = [row["candidates"][0]["rewards"]["judge"] for row in rows]
        known = [score for score in scores if score is not None]
        metrics = text_metrics(rows)
        kl = fresh_kl(model, reference, tokenizer, prompts, settings) if reference else {}
        return {**kl, "judge_score": sum(known) / len(known) if known else None, "n": len(known),
                "judge_scores": scores,
                "repetition": metrics["seq_rep_4"], "loop_rate": metrics["loop_rate"],
                "mean_tokens": metrics["mean_tokens"],
                "repetitions": [seq_rep(row["candidates"][0]["text"], 4) for row in rows]}
    return probe


def fresh_kl(policy: PreTrainedModel, reference: str, tokenizer: Any, prompts: list[dict[str, Any]],
             sampling: SamplingSettings) -> Row:
    """KL(policy || reference) on one fresh answer to each prompt, in nats an answer.

    The answers are drawn at temperature 1 from the whole vocabulary, whatever `sampling` says. `kl`
    sums the exact KL at each token and has its interval, `k1` and `k3` use the drawn tokens alone.
    """
    drawn = sample(policy, tokenizer, prompts, replace(
        sampling, samples=1, temperature=1.0, top_k=None, top_p=1.0, repetition_penalty=1.0,
        stream="probe kl"), description="answers for KL")
    answers = [prompt_and_answer(row, tokenizer, sampling.max_prompt_tokens) for row in drawn]
    device = next(policy.parameters()).device
    frozen = load_model(reference, policy.dtype, device)
    found = [answer_divergence(policy, frozen, collate([answers[i] for i in row], device))
             for row in pack(list(map(len, answers)), KL_TOKENS)]
    sums = [torch.cat(values).tolist() for values in zip(*found, strict=True)]
    made = kl_divergence(sums[0], sums[1], sums[2])
    return {"kl": made["kl"], "kl_low": made["ci_low"], "kl_high": made["ci_high"],
            "kl_n": made["n"], "k1": made["k1"], "k3": made["k3"]}


def probe_prompts(study: Study) -> list[dict[str, Any]]:
    """A seeded choice of distinct validation prompts, balanced by source."""
    rows = read_parquet(study.path("data", "preferences_validation.parquet"))  # before any pairing
    distinct = {prompt_text(row): row for row in rows}
    prompts = [{"id": row["id"], "prompt": text, "source": row["source"]}
               for text, row in distinct.items()]
    count = min(study.profile.evaluation.probe_prompts, len(prompts))
    return held_out_subset(prompts, count, study.profile.data.seed) if count else []
