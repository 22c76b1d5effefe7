"""How far training moved the policy, and what that cost on text it was not trained on.

Stage `movement` reads texts with the policies, once: the SFT validation conversations with base,
SFT and DPO (is general ability kept?), and DPO's own samples with DPO and SFT together (how far
apart are the two?). One file each, so that an interrupted stage goes on; nothing is sampled.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lib.analysis.divergence import kl_divergence
from lib.analysis.retention import retention
from lib.data.chat import encode_prompt, encode_response
from lib.inference.best_of_n import kl_bound
from lib.modeling.divergence import answer_divergence
from lib.modeling.logps import response_logps
from lib.modeling.packing import PackedBatch, Tree, collate, pack
from lib.runtime.files import Row, read_jsonl, write_jsonl
from lib.runtime.progress import track
from lib.study.prepare import load_part
from lib.study.rerank import POLICIES, load_policy, pools
from lib.study.run import Study, run_stage, stage_hash
from lib.training.sft import encode_sft


def measure_movement(study: Study) -> Row:
    """Make or find the measurements: {"conversations": {policy: rows}, "answers": rows}.

    A conversation's row has `tokens` (response tokens) and `logp` (summed, nats) under its policy;
    an answer's `tokens`, `logp` under DPO, `reference_logp` under SFT and `kl` of DPO from SFT.
    """
    inputs = {name: stage_hash(study, name) for name in ("data", "sft", "dpo", "responses")}
    names = [*POLICIES, "answers"]
    folder = run_stage(study, "movement", {"model": study.profile.model,
                                           "max_length": study.profile.data.max_length}, inputs,
                       outputs=[f"{name}.jsonl" for name in names],
                       work=lambda folder: _measure(study, folder))
    rows = {name: read_jsonl(folder / f"{name}.jsonl") for name in names}
    return {"answers": rows.pop("answers"), "conversations": rows}


def movement_results(study: Study, measured: Row) -> Row:
    """KL of DPO from SFT beside what Best-of-N may add, and the loss that each policy keeps."""
    resamples, seed = study.profile.evaluation.resamples, study.profile.seed
    answers, held = measured["answers"], measured["conversations"]
    n = study.profile.sampling.samples
    found = kl_divergence(*([row[key] for row in answers] for key in ("logp", "reference_logp")),
                          [row["kl"] for row in answers], resamples, seed)
    tokens = sum(row["tokens"] for row in answers)
    return {"kl": found | {"temperature": warmest(study), "top_k": study.profile.sampling.top_k,
                           "mean_tokens": tokens / len(answers),
                           "kl_per_token": found["kl"] * len(answers) / tokens,
                           "best_of_n": n, "best_of_n_bound": kl_bound(n)},
            "retention": retention({policy: [-row["logp"] for row in rows]
                                    for policy, rows in held.items()},
                                   [row["tokens"] for row in held["base"]], resamples, seed)}


def warmest(study: Study) -> float:
    """The temperature of DPO's pool that lies nearest to 1, at which a KL is defined."""
    return min((t for policy, t in pools(study) if policy == "dpo"), key=lambda t: abs(t - 1))


def _measure(study: Study, folder: Path) -> None:
    work = {policy: partial(_read_conversations, study, policy) for policy in POLICIES}
    for name, read in (work | {"answers": partial(_compare_answers, study)}).items():
        path = folder / f"{name}.jsonl"
        if not path.exists():
            write_jsonl(path, read())


def _read_conversations(study: Study, policy: str) -> list[Row]:
    model, tokenizer = load_policy(study, policy)
    trees = encode_sft(load_part(study, "sft_validation"), tokenizer,
                       study.profile.data.max_length)
    rows: list[Row] = [{} for _ in trees]
    for places, batch in _packed(study, trees, f"conversations under {policy}"):
        with torch.no_grad():
            logps = response_logps(model, batch).tolist()
        for place, logp in zip(places, logps, strict=True):
            rows[place] = {"tokens": sum(trees[place].masks[0]), "logp": logp}
    return rows


def _compare_answers(study: Study) -> list[Row]:
    (dpo, tokenizer), (sft, _) = load_policy(study, "dpo"), load_policy(study, "sft")
    trees = _answers(study, tokenizer)
    rows: list[Row] = [{} for _ in trees]
    for places, batch in _packed(study, trees, "DPO's answers under DPO and SFT"):
        found = [values.tolist() for values in answer_divergence(dpo, sft, batch)]
        for place, logp, reference, kl in zip(places, *found, strict=True):
            rows[place] = {"tokens": len(trees[place].branches[0]), "logp": logp,
                           "reference_logp": reference, "kl": kl}
    return rows


def _packed(study: Study, trees: Sequence[Tree],
            description: str) -> Iterator[tuple[list[int], PackedBatch]]:
    """Trees as packed rows: (their numbers, the batch), with progress."""
    rows = pack([len(tree) for tree in trees], study.profile.sft.token_budget)
    for row in track(rows, description, len(rows), "row"):
        yield row, collate([trees[i] for i in row], study.device.device)


def _answers(study: Study, tokenizer: Any) -> list[Tree]:
    """The first candidate of every prompt in DPO's warmest pool, as token ids."""
    pool = read_jsonl(study.path("responses", "pools", f"dpo@{warmest(study):g}.jsonl"))
    trees = []
    for row in pool:
        prompt, answer = [{"role": "user", "content": row["prompt"]}], row["candidates"][0]
        ids = encode_response(tokenizer, prompt, answer["text"])
        ids = ids[:-1] if answer["finish"] == "length" and len(ids) > 1 else ids  # it never stopped
        trees.append(Tree(tuple(encode_prompt(tokenizer, prompt)), (tuple(ids),)))
    return trees
