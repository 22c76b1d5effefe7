"""What notebooks show of a run's rows: token lengths, one masked example, a few answers."""

from collections.abc import Sequence
from dataclasses import replace

from lib.analysis.tables.formatting import shown_answer
from lib.data.chat import encode_conversation
from lib.inference.sampling import sample
from lib.modeling.loading import load_tokenizer
from lib.runtime.files import Row
from lib.study.policies import load_policy
from lib.study.run import Study
from lib.study.stages.data import load_part
from lib.study.stages.probe import probe_prompts


def token_lengths(study: Study) -> dict[str, tuple[list[int], int]]:
    """Tokens of every conversation and of every prompt with one answer, uncut, and their limit."""
    pairs, limits = load_part(study, "preferences"), study.profile.data
    lengths = {"SFT conversations": ([len(row["input_ids"]) for row in load_part(study, "sft")],
                                     limits.max_length)}
    for side in ("chosen", "rejected"):
        lengths[f"prompts with {side} answer"] = (
            [len(row["prompt_ids"]) + len(row[f"{side}_ids"]) for row in pairs],
            limits.max_pair_length)
    return lengths


def masked_example(study: Study, turns: int = 2) -> tuple[list[str], list[int]]:
    """Tokens as text and their response mask, of the shortest training row with `turns` turns."""
    tokenizer = load_tokenizer(study.profile.model.name, study.profile.model.revision)
    rows = load_part(study, "sft")
    fitting = [row for row in rows if len(row["messages"]) == turns] or rows
    row = min(fitting, key=lambda row: sum(len(m["content"]) for m in row["messages"]))
    encoded = encode_conversation(tokenizer, row["messages"], study.profile.data.max_length)
    return [tokenizer.decode([token]) for token in encoded.input_ids], encoded.response_mask


def answers_side_by_side(study: Study, policies: Sequence[str], prompts: int = 3) -> list[Row]:
    """Greedy answers of several policies to a few validation prompts: {"prompt", policy: text}."""
    asked = probe_prompts(study)[:prompts]
    settings = replace(study.profile.sampling, samples=1, temperature=0.0, max_new_tokens=min(
        80, study.profile.sampling.max_new_tokens))
    rows = [{"prompt": prompt["prompt"]} for prompt in asked]
    for policy in policies if asked else ():
        model, tokenizer = load_policy(study, policy)
        answers = sample(model, tokenizer, asked, settings, description=f"{policy} answers")
        for row, answer in zip(rows, answers, strict=True):
            row[policy] = shown_answer(answer["candidates"][0])
    return rows
