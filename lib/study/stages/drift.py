"""How far training moved the policy, and what that cost on text outside the training data.

Stage `movement` computes log-probabilities, once: base, SFT and DPO on the SFT validation
conversations (is general ability kept?) and on a multiple choice among their answers' openings;
DPO and SFT on DPO's samples (how far apart are the two, and their samplers?). Each goes to its own
file, so that an interrupted stage resumes.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from lib.analysis.policies.divergence import kl_divergence, sampler_divergence
from lib.analysis.policies.retention import choice_accuracy, retention
from lib.data.chat import encode_response
from lib.data.schema import is_cut_off, is_missing
from lib.inference.best_of_n import kl_bound
from lib.inference.engine.distributions import sampling_logps
from lib.inference.prompts import encode_within, messages_of
from lib.modeling.packed.divergence import Distribution, answer_divergence, whole_vocabulary
from lib.modeling.packed.logps import response_logps
from lib.modeling.packed.packing import PackedBatch, SharedPrompt, collate, pack
from lib.runtime.files import Row, read_jsonl, write_jsonl
from lib.runtime.progress import track
from lib.runtime.threads import leave_taken_cores
from lib.study.policies import POLICIES, load_policy, planned_pools
from lib.study.pools.pool import Pool
from lib.study.run import Study, run_stage
from lib.study.stages.data import load_part
from lib.study.stages.multiple_choice import continuation_prompts
from lib.training.sft import encode_sft

DRAWN = ("answers", "sampler_answers")  # DPO's samples near temperature 1, and at the main one


def measure_drift(study: Study) -> Row:
    """Measure drift, unless it is finished: "conversations", "choices" by policy, and `DRAWN`.

    A conversation has `tokens` (of responses) and `logp` (summed, nats) under its policy; a choice
    has `logps`, nats a token of each opening, the conversation's own first; an answer has `tokens`,
    `logp` under DPO, `reference_logp` under SFT, `kl` of DPO from SFT, `outside`, and `sampled`:
    true for the sampled tokens, false for its text tokenised again. "answers" compares whole
    vocabularies at temperature 1, "sampler_answers" the run's samplers, which leave tokens out
    (`lib.modeling.packed.divergence.Divergence`); it is empty where they have no such distribution.
    """
    names = [*POLICIES, *map(_choices, POLICIES), *DRAWN]
    folder = run_stage(study, "movement", {"model": study.profile.model,
                                           "max_length": study.profile.data.max_length},
                       outputs=[f"{name}.jsonl" for name in names],
                       work=lambda folder: _measure(study, folder))
    rows = {name: read_jsonl(folder / f"{name}.jsonl") for name in names}
    return {**{name: rows[name] for name in DRAWN},
            "conversations": {policy: rows[policy] for policy in POLICIES},
            "choices": {policy: rows[_choices(policy)] for policy in POLICIES}}


def drift_results(study: Study, measured: Row) -> Row:
    """KL of DPO from SFT, and between their samplers; each policy's loss and choices in validation.

    Best-of-N's bound stands beside the samplers' KL alone, because it is relative to a sampler.
    """
    resamples, seed = study.profile.evaluation.resamples, study.profile.seed
    answers, held = measured["answers"], measured["conversations"]
    logps, reference_logps, kl = _columns(answers, "logp", "reference_logp", "kl")
    return {"kl": kl_divergence(logps, reference_logps, kl, resamples, seed)
            | _drawn(study, answers, pool_nearest_temperature_1(study)),
            "sampler_kl": _sampler_kl(study, measured["sampler_answers"]),
            "retention": retention({policy: [-row["logp"] for row in rows]
                                    for policy, rows in held.items()},
                                   [row["tokens"] for row in held["base"]], resamples, seed),
            "choices": choice_accuracy({policy: [row["logps"] for row in rows]
                                        for policy, rows in measured["choices"].items()})}


def _sampler_kl(study: Study, answers: Sequence[Row]) -> Row | None:
    if not answers:
        return None
    logps, reference_logps, kl, outside = _columns(answers, "logp", "reference_logp", "kl",
                                                   "outside")
    found = sampler_divergence(logps, reference_logps, kl, outside,
                               study.profile.evaluation.resamples, study.profile.seed)
    n = study.profile.sampling.samples
    return found | _drawn(study, answers, _main_pool(study)) | {
        "best_of_n": n, "best_of_n_bound": kl_bound(n)}


def _drawn(study: Study, answers: Sequence[Row], pool: Pool) -> Row:
    """How the answers were drawn and how long they are."""
    kl, tokens = (sum(values) for values in _columns(answers, "kl", "tokens"))
    return {"temperature": pool.temperature, "top_k": study.profile.sampling.top_k,
            "mean_tokens": tokens / len(answers), "kl_per_token": kl / tokens,
            "retokenised": sum(not row.get("sampled") for row in answers)}


def _columns(rows: Sequence[Row], *keys: str) -> list[list[float]]:
    return [[row[key] for row in rows] for key in keys]


def _main_pool(study: Study) -> Pool:
    """DPO's pool at the main temperature, where Best-of-N draws its candidates."""
    return next(pool for pool in planned_pools(study.profile) if pool.policy == "dpo"
                and pool.temperature == study.profile.sampling.temperature)


def pool_nearest_temperature_1(study: Study) -> Pool:
    """DPO's pool nearest to temperature 1, at which its KL is defined."""
    return min((pool for pool in planned_pools(study.profile) if pool.policy == "dpo"),
               key=lambda pool: abs(pool.temperature - 1))


def _measure(study: Study, folder: Path) -> None:
    for policy in POLICIES:
        reads = {policy: _read_conversations, _choices(policy): _read_choices}
        missing = [name for name in reads if not (folder / f"{name}.jsonl").exists()]
        loaded = load_policy(study, policy) if missing else ()
        for name in missing:
            write_jsonl(folder / f"{name}.jsonl", reads[name](study, policy, *loaded))
    missing = [name for name in DRAWN if not (folder / f"{name}.jsonl").exists()]
    for name, rows in _compare_answers(study, missing):
        write_jsonl(folder / f"{name}.jsonl", rows)


def _choices(policy: str) -> str:
    """Name of the file of a policy's choices."""
    return f"{policy}_choices"


def _read_conversations(study: Study, policy: str, model: Any, tokenizer: Any) -> list[Row]:
    prompts = encode_sft(load_part(study, "sft_validation"), tokenizer,
                         study.profile.data.max_length)
    logps = _answer_logps(study, model, prompts, f"{policy} reads conversations")
    return [{"tokens": sum(shared.mask(0)), "logp": logp}
            for shared, [logp] in zip(prompts, logps, strict=True)]


def _read_choices(study: Study, policy: str, model: Any, tokenizer: Any) -> list[Row]:
    prompts = continuation_prompts(load_part(study, "sft_validation"), tokenizer)
    logps = _answer_logps(study, model, prompts, f"{policy} reads multiple-choice answers")
    return [{"logps": [logp / len(answer) for logp, answer in zip(found, shared.answers,
                                                                  strict=True)]}
            for shared, found in zip(prompts, logps, strict=True)]


def _answer_logps(study: Study, model: Any, prompts: Sequence[SharedPrompt],
                  description: str) -> list[list[float]]:
    """Summed log-probability of each prompt's answers, in nats."""
    found: list[list[float]] = [[] for _ in prompts]
    for places, batch in _packed(study, prompts, description):
        with torch.no_grad():
            logps = iter(response_logps(model, batch).tolist())
        for place in places:
            found[place] = list(islice(logps, len(prompts[place].answers)))
    return found


def _compare_answers(study: Study, names: Sequence[str]) -> Iterator[tuple[str, list[Row]]]:
    """Each file of `DRAWN` that is asked for, and its rows."""
    if not names:
        return
    (dpo, tokenizer), (sft, _) = load_policy(study, "dpo"), load_policy(study, "sft")
    compared = {"answers": (pool_nearest_temperature_1(study), whole_vocabulary),
                "sampler_answers": (_main_pool(study), _sampler(study))}
    for name in names:
        pool, distribution = compared[name]
        rows = read_jsonl(pool.file(study.path("responses", "pools"))) if distribution else []
        yield name, divergence_rows(study, rows, distribution or whole_vocabulary, dpo, sft,
                                    tokenizer, f"DPO and SFT read answers of {pool.name}")


def _sampler(study: Study) -> Distribution | None:
    """The run's sampling distribution, if it has one that the logits alone decide.

    None for greedy decoding, and with a repetition penalty, which looks at the tokens before.
    """
    settings = study.profile.sampling
    if settings.temperature == 0 or settings.repetition_penalty != 1:
        return None
    return partial(sampling_logps, temperature=settings.temperature, top_k=settings.top_k,
                   top_p=settings.top_p)


def divergence_rows(study: Study, rows: Sequence[Row], distribution: Distribution, policy: Any,
                    reference: Any, tokenizer: Any, description: str) -> list[Row]:
    """Log-probabilities and KL of each prompt's first candidate, under a policy and its reference.

    {"tokens", "sampled", and the fields of `lib.modeling.packed.divergence.Divergence`} a row.
    """
    drawn = [row for row in rows if not is_missing(row["candidates"][0])]
    limit = study.profile.sampling.max_prompt_tokens
    prompts = [prompt_and_answer(row, tokenizer, limit) for row in drawn]
    values: list[Row] = [{} for _ in prompts]
    for places, batch in _packed(study, prompts, description):
        found = answer_divergence(policy, reference, batch, distribution)
        for place, line in zip(places, torch.stack(found, 1).tolist(), strict=True):
            values[place] = {"tokens": len(prompts[place].answers[0]),
                             "sampled": _sampled_ids(drawn[place]) is not None,
                             **dict(zip(found._fields, line, strict=True))}
    return values


def prompt_and_answer(row: Row, tokenizer: Any, limit: int) -> SharedPrompt:
    """A pool row's prompt, cut to `limit` tokens as in sampling, and its first candidate.

    It uses the candidate's token ids, because its text may tokenise otherwise. An answer without
    ids, from a server, is tokenised, without a stop token if it was cut off.
    """
    answer, ids = row["candidates"][0], _sampled_ids(row)
    if ids is None:
        ids = encode_response(tokenizer, messages_of(row), answer["text"], is_cut_off(answer))
    return SharedPrompt(tuple(encode_within(tokenizer, row, limit)[0]), (tuple(ids),))


def _sampled_ids(row: Row) -> list[int] | None:
    return row["candidates"][0].get("token_ids")


def _packed(study: Study, prompts: Sequence[SharedPrompt],
            description: str) -> Iterator[tuple[list[int], PackedBatch]]:
    """Packed rows of prompts: (their indices, the batch), with progress."""
    lengths = [len(shared) for shared in prompts]
    rows = pack(lengths, study.profile.sft.token_budget)
    works = [sum(lengths[index] for index in row) for row in rows]
    for row in track(rows, description, len(rows), "packed row", works):
        leave_taken_cores()
        yield row, collate([prompts[i] for i in row], study.device.device)
