"""Models, small tables and exercise checks for the notebooks.

A `check_...` function calls a student's function on real numbers, compares the result with the
study's function, and says in a sentence whether it is right or which mistake it shows.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from math import ceil
from typing import Any

import numpy as np
import torch
from IPython.display import Markdown
from numpy.typing import ArrayLike
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.analysis.statistics import cohen_kappa, win_rate
from lib.data.chat import encode_conversation
from lib.inference.best_of_n import best_of_n_curve
from lib.modeling.lora import with_lora
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.logps import response_logps
from lib.modeling.packed.packing import SharedPrompt, collate
from lib.runtime.files import Row
from lib.study.policies import load_policy
from lib.study.run import Study
from lib.study.stages.data import load_part
from lib.training.losses import dpo_loss, sft_loss
from lib.training.objective import step_batches
from lib.training.plain import Tokens, answer_logps
from lib.training.settings import REFERENCE_FREE, DPOSettings, TrainingSettings

Pieces = list[tuple[str, list[int]]]  # ("prompt" | "answer" | "end of turn", token ids)
UNANSWERED = Markdown("*Yours to write: put code in place of the three dots, run that cell, then "
                      "this one.*")
CONVERSATION = [{"role": "user", "content": "Name a prime number."},
                {"role": "assistant", "content": "Seven."},
                {"role": "user", "content": "And a larger one?"},
                {"role": "assistant", "content": "Eleven is larger than seven."}]


def load_plain_model(study: Study, policy: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A policy (base, sft or dpo) in float32 with transformers' own attention, and its tokenizer.

    `lib.training.plain` needs it so, for its padded batches.
    """
    exact = replace(study.profile.model, precision="float32")
    model, tokenizer = load_policy(
        replace(study, profile=replace(study.profile, model=exact)), policy)
    model.set_attn_implementation("eager")
    return model, tokenizer


def learner_of(model: PreTrainedModel, settings: TrainingSettings) -> PreTrainedModel:
    """A copy of the model whose weights, or LoRA matrices, train as the stage's settings say."""
    learner = copy.deepcopy(model)
    return with_lora(learner, settings.lora_rank, settings.lora_alpha,
                     settings.lora_targets) if settings.lora_rank else learner


def packed_answer_logps(model: PreTrainedModel, sequences: Sequence[Tokens]) -> Tensor:
    """`plain.answer_logps`, computed on one packed row as in training, [batch]."""
    row = collate([SharedPrompt((), (tuple(ids),), (tuple(mask),)) for ids, mask in sequences],
                  model.device)
    use_packed_attention(model)
    try:
        return response_logps(model, row)
    finally:
        model.set_attn_implementation("eager")


def token_rows(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], mask: Sequence[int],
               **columns: Sequence[float]) -> list[Row]:
    """One row a token: its place, id, text, mask, and further columns of the same length."""
    values = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [{"place": place, "id": token, "token": repr(tokenizer.decode([token])), "mask": learned}
            | more for place, (token, learned, more) in enumerate(zip(
                ids, mask, values or [{}] * len(ids), strict=True))]


def log_ratios(policy: PreTrainedModel, reference: PreTrainedModel,
               answers: Mapping[str, Tokens]) -> list[Row]:
    """Log-probability of each answer under policy and reference, and their difference."""
    with torch.no_grad():
        both = {name: [answer_logps(model, [answer]).item() for model in (policy, reference)]
                for name, answer in answers.items()}
    return [{"answer": name, "policy": ours, "reference": theirs, "gained": ours - theirs}
            for name, (ours, theirs) in both.items()]


def training_rows(study: Study, stage: str, part: str) -> list[Row]:
    """The hyper-parameters of a stage: {"setting", "value", "meaning"}.

    stage: sft or dpo. part: its training data.
    """
    settings, rows = getattr(study.profile, stage), len(load_part(study, part))
    steps = len(step_batches([[row] for row in range(rows)], settings, study.profile.seed))
    shown = [
        ("training rows", f"{rows:,} ({part})", "conversations (SFT) or pairs (DPO)"),
        ("passes", f"{settings.epochs:g}", "how often each row is seen (epochs)"),
        ("rows a step", settings.batch_size, "the batch behind one optimizer step"),
        ("optimizer steps", steps, "rows x passes / rows a step, rounded up in each pass"),
        ("learning rate", f"{settings.learning_rate:g}", "AdamW's, at its peak"),
        ("schedule", f"up for {ceil(settings.warmup_share * steps)} of {steps} steps, then "
                     f"{settings.schedule}", "small changes first, and small ones last"),
        ("gradient norm", f"at most {settings.max_grad_norm:g}", "longer gradients are cut to it"),
        ("weights", f"LoRA of rank {settings.lora_rank}" if settings.lora_rank else "all",
         "what is trained; master weights stay in float32")]
    if isinstance(settings, DPOSettings):
        own = ", ".join([settings.loss, *(f"{name} {value}" for name, value in
                                          settings.of_loss().items() if name != "beta")])
        scale = "scale of the rewards" if settings.loss in REFERENCE_FREE else \
            "pull towards the reference"
        shown += [("beta", f"{settings.reward_scale:g}", scale),
                  ("loss", own, "which member of the DPO family, and what else it reads")]
    return [dict(zip(("setting", "value", "meaning"), row, strict=True)) for row in shown]


def check_response_mask(function: Callable[[Pieces], Sequence[int] | None],
                        tokenizer: PreTrainedTokenizerBase) -> Markdown:
    """Exercise of notebook 01: the response mask of a conversation, from its pieces."""
    encoded = encode_conversation(tokenizer, CONVERSATION, None)
    expected = encoded.response_mask
    pieces = _pieces(encoded.input_ids, expected)
    found = function(pieces)
    if found is None:
        return UNANSWERED
    found = [int(value) for value in found]
    if len(found) != len(expected):
        return _wrong(f"the mask has {len(found)} entries, the conversation {len(expected)} tokens")
    endless = [int(kind == "answer") for kind, ids in pieces for _ in ids]
    if found == endless:
        return _wrong("the end-of-turn token is not learned; such a model never stops")
    if found == [1 - value for value in expected]:
        return _wrong("it is the other way round: the prompt is read, the answer is learned")
    if found != expected:
        place = next(i for i, value in enumerate(expected) if found[i] != value)
        token = tokenizer.decode([encoded.input_ids[place]])
        return _wrong(f"token {place}, {token!r}, should have {expected[place]}")
    return _right(f"{sum(expected)} of {len(expected)} tokens carry the loss, as in training")


def _pieces(ids: Sequence[int], mask: Sequence[int]) -> Pieces:
    """A conversation cut into prompts, answers and end-of-turn tokens."""
    pieces: Pieces = []
    for learned, run in groupby(zip(ids, mask, strict=True), key=lambda pair: pair[1]):
        tokens = [token for token, _ in run]
        pieces += ([("answer", tokens[:-1]), ("end of turn", tokens[-1:])] if learned
                   else [("prompt", tokens)])
    return pieces


def check_window_loss(
        function: Callable[[list[tuple[np.ndarray, np.ndarray]]], float | None]) -> Markdown:
    """Exercise of notebook 02: one loss of several micro-batches; tokens weigh equally."""
    batches = [(np.array([-2.3, -1.7, -3.1, -9.9]), np.array([1, 1, 1, 0])),
               (np.array([-9.9, -0.4]), np.array([0, 1]))]
    logps, mask = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    right = sft_loss(logps, mask).item()
    praise = "as in training, a token weighs the same wherever it stands"
    return _compared(function(batches), right, praise, {
        "it averages the micro-batches' averages, so that the lonely token counts as three":
            np.mean([sft_loss(*batch) for batch in batches]),
        "the sign is wrong: the loss is minus the log-probability": -right,
        "it is the sum; divide by the number of response tokens": right * mask.sum(),
        "it averages over all tokens; prompt tokens carry no loss": right * mask.mean()})


def check_dpo_loss(function: Callable[..., ArrayLike | None]) -> Markdown:
    """Exercise of notebook 03: the loss of each of four pairs from log-probabilities and beta."""
    chosen, rejected = np.array([-20.0, -18.0, -22.0, -30.0]), np.array([-20.0, -22, -18, -45])
    four = (chosen, rejected, np.array([-20.0, -19, -21, -24]), np.array([-21.0, -20, -20, -26]))
    beta, zeros = 0.1, np.zeros(4)
    right = dpo_loss(*four, beta)
    return _compared(function(*four, beta), right, "as in training, one loss a pair", {
        "the reference is left out; take what the policy gained over it":
            dpo_loss(chosen, rejected, zeros, zeros, beta),
        "chosen and rejected are exchanged": dpo_loss(*(four[i] for i in (1, 0, 3, 2)), beta),
        "beta is left out": dpo_loss(*four, 1.0),
        "the logarithm is left out": np.exp(-right),
        "the sign is wrong: the loss is minus the log-sigmoid": -right,
        "it is the mean; give one loss a pair": right.mean()})


def check_curve(function: Callable[[np.ndarray, np.ndarray], ArrayLike | None]) -> Markdown:
    """Exercise of notebook 04: the unbiased curve of the best of n, from scores of six answers."""
    proxy = np.array([0.4, -1.2, 2.0, 0.1, -0.3, 1.1])
    gold = np.array([0.2, -0.4, 1.3, 0.9, -1.5, 0.3])
    right = best_of_n_curve(proxy, gold)
    return _compared(function(proxy, gold), right, "the mean over all subsets of each n", {
        "gold is not sorted by the proxy": best_of_n_curve(np.arange(6.0), gold),
        "it is sorted by gold; the selector sees the proxy only": best_of_n_curve(gold, gold),
        "it picks the lowest proxy; sort from the lowest to the highest":
            best_of_n_curve(-proxy, gold),
        "it takes the first n answers; average over all subsets":
            [gold[:n][proxy[:n].argmax()] for n in range(1, 7)]})


def check_win_rate(function: Callable[[np.ndarray, np.ndarray], float | None]) -> Markdown:
    """Exercise of notebook 05: a win rate with a tie and with missing scores."""
    ours = np.array([2.1, 0.3, 1.0, -0.2, np.nan, 0.8])
    theirs = np.array([1.4, 0.9, 1.0, np.nan, -0.5, 0.1])
    kept = ~np.isnan(ours + theirs)
    wins, ties = (ours > theirs).sum(), (ours == theirs).sum()
    right = win_rate(ours, theirs)
    return _compared(function(ours, theirs), right, "two wins, one tie and a loss of four", {
        "a tie counts half a win, not nothing": wins / kept.sum(),
        "a tie counts half a win, not a whole one": (wins + ties) / kept.sum(),
        "prompts without both scores are missing; it counts them as losses":
            (wins + ties / 2) / len(ours),
        "a score that is missing makes the mean missing; leave such prompts out": np.nan,
        "it is the other system's win rate": win_rate(theirs, ours)})


def check_advantages(function: Callable[[np.ndarray], np.ndarray | None]) -> Markdown:
    """Exercise of notebook 06: RLOO's advantages of four answers to one prompt."""
    rewards = np.array([1.0, 0.2, -0.5, 0.9])
    others = (rewards.sum() - rewards) / (len(rewards) - 1)
    from_mean, spread = rewards - rewards.mean(), rewards.std(ddof=1)
    return _compared(function(rewards), rewards - others,
                     "they add up to zero: an answer is pushed up at the cost of the others", {
        "the baseline is the mean of the *other* answers, without its own": from_mean,
        "it is the baseline itself; take it off the reward": others,
        "the sign: an answer above the others has a positive advantage": others - rewards,
        "RLOO divides by no standard deviation (that is GRPO)": from_mean / spread,
        "divide the sum of the others by their number, one less than all":
            rewards - (rewards.sum() - rewards) / len(rewards)})


def check_kappa(function: Callable[[np.ndarray, np.ndarray], float | None]) -> Markdown:
    """Exercise of notebook 07: agreement of two judges beyond chance, from their verdicts."""
    first = np.array(["win", "win", "win", "loss", "win", "tie", "loss", "win"])
    second = np.array(["win", "win", "loss", "loss", "win", "win", "win", "win"])
    agree = (first == second).mean()
    chance = sum((first == label).mean() * (second == label).mean() for label in set(first))
    return _compared(function(first, second), cohen_kappa(first.tolist(), second.tolist()),
                     "0 is guessing, 1 is perfect", {
        "it is the plain agreement; take off what chance gives": agree,
        "divide by what chance leaves, 1 - chance": agree - chance,
        "chance is not one third: judges do not use the labels equally often":
            (agree - 1 / 3) / (1 - 1 / 3)})


def _compared(found: Any, right: Any, praise: str,
              mistakes: Mapping[str, ArrayLike]) -> Markdown:
    """Right, a mistake recognised by its numbers, or the numbers; None is unanswered."""
    if found is None:
        return UNANSWERED
    try:
        found = np.asarray(found, dtype=float)
    except (TypeError, ValueError):
        return _wrong(f"it gives {found!r}, which is no number or list of numbers")
    if _same(found, right):
        return _right(f"{np.round(right, 3)}; {praise}")
    for mistake, value in mistakes.items():
        if _same(found, value):
            return _wrong(mistake)
    return _wrong(f"it gives {found.round(3)}, the study's own function {np.round(right, 3)}")


def _same(found: np.ndarray, other: Any) -> bool:
    return found.shape == np.shape(other) and np.allclose(found, other, atol=1e-6, equal_nan=True)


def _right(why: str) -> Markdown:
    return Markdown(f"**Right:** {why}.")


def _wrong(why: str) -> Markdown:
    return Markdown(f"**Not yet:** {why}.")
