"""Examples of a run for notebooks: token lengths, one masked conversation, a few answers."""

from collections.abc import Sequence
from dataclasses import replace

from lib.analysis.tables.formatting import shown_answer
from lib.data.chat import encode_conversation
from lib.inference.sampling import sample
from lib.inference.sampling_settings import SamplingSettings
from lib.modeling.loading import load_tokenizer, model_hash, resolve_model
from lib.runtime.files import Row, read_json, sha256_of_value, write_json
from lib.study.policies import load_policy
from lib.study.run import Study, stage_hash
from lib.study.stages.data import load_part
from lib.study.stages.probe import probe_prompts


def token_lengths(study: Study) -> dict[str, tuple[list[int], int]]:
    """Untruncated lengths in tokens of all conversations and pairs, with their limits."""
    pairs, limits = load_part(study, "preferences"), study.profile.data
    lengths = {"SFT conversations": ([len(row["input_ids"]) for row in load_part(study, "sft")],
                                     limits.max_length)}
    for side in ("chosen", "rejected"):
        lengths[f"prompts with {side} answer"] = (
            [len(row["prompt_ids"]) + len(row[f"{side}_ids"]) for row in pairs],
            limits.max_pair_length)
    return lengths


def masked_example(study: Study, turns: int = 2) -> tuple[list[str], list[int]]:
    """Tokens as text and response mask of the shortest training row with `turns` turns."""
    tokenizer = load_tokenizer(study.profile.model.name, study.profile.model.revision)
    rows = load_part(study, "sft")
    fitting = [row for row in rows if len(row["messages"]) == turns] or rows
    row = min(fitting, key=lambda row: sum(len(m["content"]) for m in row["messages"]))
    encoded = encode_conversation(tokenizer, row["messages"], study.profile.data.max_length)
    tokens = [str(tokenizer.decode([token])) for token in encoded.input_ids]
    return tokens, encoded.response_mask


def answers_side_by_side(study: Study, policies: Sequence[str], prompts: int = 3) -> list[Row]:
    """Greedy answers of several policies to a few validation prompts: {"prompt", policy: text}.

    examples.json keeps them until the model, the prompts or the settings change. A truncated answer
    ends in an ellipsis.
    """
    chosen = probe_prompts(study)[:prompts]
    settings = replace(study.profile.sampling, samples=1, temperature=0.0, max_new_tokens=min(
        80, study.profile.sampling.max_new_tokens))
    rows = [{"prompt": prompt["prompt"]} for prompt in chosen]
    for policy in policies if chosen else ():
        for row, text in zip(rows, _answers(study, policy, chosen, settings), strict=True):
            row[policy] = text
    return rows


def _answers(study: Study, policy: str, chosen: Sequence[Row],
             settings: SamplingSettings) -> list[str]:
    """One policy's answers, sampled or from examples.json."""
    path, dtype = study.path("examples.json"), str(study.device.dtype)
    known = read_json(path) if path.exists() else {}
    key = sha256_of_value([_weights(study, policy), dtype, settings.deciding(), list(chosen)])
    if known.get(policy, {}).get("key") != key:
        model, tokenizer = load_policy(study, policy)
        rows = sample(model, tokenizer, chosen, settings, description=f"{policy} answers")
        texts = [shown_answer(answer) for row in rows for answer in row["candidates"]]
        known |= {policy: {"key": key, "texts": texts}}
        write_json(path, known)
    return known[policy]["texts"]


def _weights(study: Study, policy: str) -> str:
    """The identity of a policy's weights."""
    model = study.profile.model
    return (sha256_of_value([model_hash(resolve_model(model.name)), model.revision])
            if policy == "base" else stage_hash(study, policy))
