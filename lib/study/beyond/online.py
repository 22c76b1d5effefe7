"""Arms that learn from answers of their own: rounds of sampling, scoring and training.

The rounds share the budget: each prompt is answered in one of them, by the model as it then is; the
first round's answers are the SFT model's, which all arms share. RLOO and BOND weigh answers by the
policy at temperature 1 over the whole vocabulary, of which the sampler (with the profile's top_k)
leaves out the rarest tokens: there their gradient is an approximation. KL and clipping refer to the
SFT model and to the policy that sampled.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from lib.data.chat import encode_prompt
from lib.data.curation import TypedRow, curate
from lib.data.on_policy import pairs_from_scored
from lib.data.parquet import write_parquet
from lib.data.schema import ScoredRow, SftRow, is_cut_off, prompt_of
from lib.inference.best_of_n import best_of_n, random_of_n
from lib.modeling.loading import load_model, load_tokenizer
from lib.modeling.packed.divergence import whole_vocabulary
from lib.runtime.files import Row
from lib.runtime.progress import say
from lib.study.beyond.arm import ArmError, ArmRun, tokens_of
from lib.study.pools.self_generated import scored_row
from lib.study.stages.drift import divergence_rows
from lib.training.on_policy.bond import backward_scores
from lib.training.on_policy.dice import (
    length_coefficient,
    length_regularised,
    mean_length_gap,
    replay_mix,
)
from lib.training.on_policy.train import replayed
from lib.training.settings import PolicyGradientSettings, TrainingSettings

SHORTEST = 3  # characters of an answer that DICE reads, as in its authors' code


def online_dpo(run: ArmRun, rounds: int) -> Path:
    """Rounds of DPO on the best against the worst answer; a round's start is its reference."""
    return _in_rounds(run, rounds, lambda rows, start, name: run.train(
        "dpo", best_against_worst(run, rows), run.settings(), start, name, 1 / rounds))


def dice(run: ArmRun, replay: float) -> Path:
    """DPO on fixed pairs, then on its own answers, ranked by what that DPO gained over SFT.

    No reward model is asked. Answers that ran into the token limit or are nearly empty are left
    out, and a share `replay` of the second round's pairs are fixed ones again.
    """
    first = run.train("dpo", run.pairs(), run.settings(), name="first", share=0.5)
    rows = run.sample(first, run.prompts, "second")
    pairs = curated(run, pairs_from_scored(implicitly_scored(run, rows, first), min_gap=0.0))
    mixed = replay_mix(pairs, run.pairs(), replay, run.study.profile.seed)
    return run.train("dpo", mixed, run.settings(), first, "second", 0.5)


def raft(run: ArmRun, rounds: int, picked: str) -> Path:
    """Rounds of SFT on one answer of each prompt: the best one, or (the control) a random one.

    The best of each prompt and not the best of all: scores do not compare across prompts, and the
    highest of all would mostly be answers to easy ones.
    """
    return _in_rounds(run, rounds, lambda rows, start, name: run.train(
        "sft", curated(run, picked_conversations(run, rows, picked)), run.sft_settings(), start,
        name, 1 / rounds))


def bonbon(run: ArmRun) -> Path:
    """SFT on the best answer, and the gap of best and worst drawn to that of Best-of-N."""
    return run.train("dpo", best_against_worst(run, run.first_answers()),
                     run.settings("bonbon", best_of=run.study.profile.beyond.samples))


def bond(run: ArmRun, backward: float) -> Path:
    """Both parts of the Jeffreys divergence to Best-of-N, on the SFT model's answers.

    An answer's quantile is that among its prompt's answers, itself included. The forward part is a
    mean over prompts, the loss one over answers: so the best one's weight is times their number.
    """
    n, answers = run.study.profile.beyond.samples, []
    for row in run.first_answers():
        finished = [answer for answer in scored_answers([row])
                    if not answer["cut_off"] and answer["score"] is not None]
        if len(finished) > 1:
            rewards = [answer["score"] for answer in finished]
            scores, best = backward_scores(rewards, rewards, n, backward), best_of_n(rewards)
            answers += [answer | {
                "score": float(score),
                "sft_weight": (1 - backward) * len(finished) * (place == best)}
                for place, (answer, score) in enumerate(zip(finished, scores, strict=True))]
    return policy_gradient(run, answers, policy_settings(run, kl_weight=backward), run.sft)


def rloo(run: ArmRun, rounds: int) -> Path:
    """Rounds of policy gradient with leave-one-out baselines; each replays the last one's answers.

    A replayed answer keeps its advantage and its own policy's log-probabilities.
    """
    old: list[Row] = []

    def one_round(rows: list[Row], start: Path, name: str) -> Path:
        """Train on the round's answers and the last round's."""
        fresh = scored_answers(rows)
        model = policy_gradient(run, [*fresh, *old], policy_settings(run), start, name, 1 / rounds)
        old[:] = replayed(fresh, run.folder / name)
        return model
    return _in_rounds(run, rounds, one_round)


def dpo_then_rloo(run: ArmRun) -> Path:
    """DPO on fixed pairs, then policy gradient on its own answers, with SFT as the reference."""
    first = run.train("dpo", run.pairs(), run.settings(), name="first", share=0.5)
    return policy_gradient(run, scored_answers(run.sample(first, run.prompts, "second")),
                           policy_settings(run), first, "second", 0.5)


def dpo_plus_rloo(run: ArmRun, policy_weight: float) -> Path:
    """DPO on fixed pairs plus policy gradient on the SFT model's answers, in each step.

    Ours, from no paper. policy_weight: of the answers; .1 is DPO's beta, by which a pair's pull is
    scaled too. A stated constant, which no data chose.
    """
    pairs, answers = run.pairs(), scored_answers(run.first_answers())
    write_parquet(pairs, run.folder / "pairs.parquet")
    settings = policy_settings(run, policy_weight=policy_weight,
                               pair_beta=run.settings("dpo").beta)
    return run.train("policy_gradient", answers, settings,
                     tokens=tokens_of(pairs) + answer_tokens(run, answers),
                     pairs=str(run.folder / "pairs.parquet"))


def _in_rounds(run: ArmRun, rounds: int, train: Callable[[list[Row], Path, str], Path]) -> Path:
    """Sample and train in turn, train(scored rows, the model so far, name); the last model."""
    model = run.sft
    for number, prompts in enumerate(run.rounds(rounds)):
        name = f"round{number}"
        rows = run.sample(model, prompts, name) if number else run.first_answers(prompts)
        model = train(rows, model, name)
    return model


def best_against_worst(run: ArmRun, rows: Sequence[Row]) -> list[Row]:
    """A pair of each prompt whose scores differ, with token ids; a chosen answer is finished."""
    return curated(run, pairs_from_scored([scored_row(row) for row in rows], min_gap=0.0))


def curated(run: ArmRun, rows: Sequence[TypedRow]) -> list[Row]:
    """The rows that training can use, with token ids; raises ArmError without any."""
    if not rows:
        raise ArmError(f"{run.name} has nothing to train on: the answers to each prompt have equal "
                       "scores, none, or no end; raise sampling.max_new_tokens if they are cut off")
    return curate(rows, load_tokenizer(str(run.sft)), run.study.profile.data.max_pair_length)[0]


def picked_conversations(run: ArmRun, rows: Sequence[Row], picked: str) -> list[SftRow]:
    """Each prompt with one of its finished and scored answers, the best or a random one."""
    found: list[SftRow] = []
    for row in rows:
        usable = [answer for answer in scored_answers([row])
                  if not answer["cut_off"] and answer["score"] is not None]
        if usable:
            place = (best_of_n([answer["score"] for answer in usable]) if picked == "best"
                     else random_of_n(len(usable), row["id"], run.study.profile.seed))
            assert place is not None  # as one is usable
            found.append({"id": row["id"], "source": row["source"], "messages": [
                *prompt_of(row), {"role": "assistant", "content": usable[place]["answer"]}]})
    return found


def implicitly_scored(run: ArmRun, rows: Sequence[Row], policy: Path) -> list[ScoredRow]:
    """Rows of scored answers, by log(policy / SFT) less the length coefficient times the tokens.

    Raises ArmError where no prompt has two usable answers.
    """
    ratios = log_ratios(run, rows, policy)
    left_out = [[is_cut_off(answer) or len(answer["text"]) < SHORTEST
                 for answer in row["candidates"]] for row in rows]
    ratios[np.array(left_out)] = np.nan
    usable = (~np.isnan(ratios)).sum(-1) > 1
    if not usable.any():
        raise ArmError(f"{run.name} has no prompt with two finished answers; raise "
                       "sampling.max_new_tokens or beyond.samples")
    rows, ratios = [row for row, kept in zip(rows, usable, strict=True) if kept], ratios[usable]
    lengths = [[answer["tokens"] for answer in row["candidates"]] for row in rows]
    alpha = length_coefficient(ratios, lengths)
    scores = length_regularised(ratios, lengths, alpha)
    say(f"{run.name}: with {alpha:.3f} nats a token off the implicit rewards the best answers are "
        f"{mean_length_gap(scores, lengths):+.1f} tokens longer than the worst, "
        f"{mean_length_gap(ratios, lengths):+.1f} without; {len(rows)} of {len(usable)} prompts "
        "have two finished answers")
    return [{"id": row["id"], "prompt": row["prompt"], "source": row["source"], "answers": [
        {"text": answer["text"], "score": float(score), "flaws": []}
        for answer, score in zip(row["candidates"], own, strict=True) if not np.isnan(score)]}
        for row, own in zip(rows, scores, strict=True)]


def log_ratios(run: ArmRun, rows: Sequence[Row], policy: Path) -> np.ndarray:
    """log(policy / SFT) of every answer at temperature 1, [prompts, samples]."""
    each = [{**row, "candidates": [answer]} for row in rows for answer in row["candidates"]]
    device, tokenizer = run.study.device, load_tokenizer(str(run.sft))
    model, sft = (load_model(str(path), device.dtype, device.device)
                  for path in (policy, run.sft))
    found = divergence_rows(run.study, each, whole_vocabulary, model, sft, tokenizer,
                            f"implicit rewards of {run.name}")
    return np.reshape([one["logp"] - one["reference_logp"] for one in found], (len(rows), -1))


def scored_answers(rows: Sequence[Row]) -> list[Row]:
    """Every sampled answer as a row for policy gradient (`lib.training.on_policy.answers`)."""
    return [{"id": f"{row['id']}/{place}", "prompt": prompt_of(row), "answer": answer["text"],
             "score": answer["rewards"]["selector"], "cut_off": is_cut_off(answer),
             "answer_ids": answer["token_ids"]}
            for row in rows for place, answer in enumerate(row["candidates"])]


def policy_settings(run: ArmRun, **own: object) -> PolicyGradientSettings:
    """The profile's DPO rate and schedule, and as many answers in a step as there in its pairs."""
    shared = {field.name: getattr(run.study.profile.dpo, field.name)
              for field in fields(TrainingSettings)}
    return PolicyGradientSettings(**shared | {"batch_size": 2 * shared["batch_size"]} | own)


def policy_gradient(run: ArmRun, answers: Sequence[Row], settings: PolicyGradientSettings,
                    start: Path, name: str = "training", share: float = 1.0) -> Path:
    """Train on scored answers with the SFT model as the reference; the trained model's folder."""
    return run.train("policy_gradient", answers, settings, start, name, share,
                     tokens=answer_tokens(run, answers), reference=str(run.sft))


def answer_tokens(run: ArmRun, answers: Sequence[Row]) -> int:
    """Tokens of one pass over answers, each with its prompt."""
    tokenizer = load_tokenizer(str(run.sft))
    return sum(len(encode_prompt(tokenizer, answer["prompt"])) + len(answer["answer_ids"])
               for answer in answers)
