"""SFT and DPO in their simplest form: one padded batch, the model's own forward, no tricks.

Notebooks 02 and 03 walk through these functions. Tests hold the packed engine, which trains the
models of the study, to the log-probabilities, losses and gradients of this module.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.nn.utils.rnn import pad_sequence
from torch.optim import Optimizer
from transformers import PreTrainedModel

Tokens = tuple[Sequence[int], Sequence[int]]  # token ids and response mask, one entry a token


def token_logps(model: PreTrainedModel, sequences: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
    """log p of each token given the tokens before it, and the response mask: [batch, tokens - 1].

    The first token has none before it and therefore no log-probability. Padding stands on the
    right, where causal attention never looks, and its mask is 0.
    """
    ids, mask = (pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
                 .to(model.device) for rows in zip(*sequences, strict=True))  # [batch, tokens]
    logits = model(ids).logits                                # [batch, tokens, vocabulary]
    logps = logits[:, :-1].float().log_softmax(-1)            # position t predicts token t + 1
    return logps.gather(2, ids[:, 1:, None]).squeeze(2), mask[:, 1:]


def answer_logps(model: PreTrainedModel, sequences: Sequence[Tokens]) -> Tensor:
    """log p(answer | prompt): the log-probabilities of the response tokens, summed, [batch]."""
    logps, mask = token_logps(model, sequences)
    return (logps * mask).sum(1)


def sft_batch_loss(model: PreTrainedModel, sequences: Sequence[Tokens]) -> Tensor:
    """The SFT loss: mean of -log p over all response tokens of the batch, in nats a token."""
    logps, mask = token_logps(model, sequences)
    return -(logps * mask).sum() / mask.sum()


def dpo_batch_loss(policy: PreTrainedModel, reference: PreTrainedModel, chosen: Sequence[Tokens],
                   rejected: Sequence[Tokens], beta: float) -> Tensor:
    """The DPO loss (Rafailov et al. 2023, Eq. 7): mean of -log sigmoid(beta * margin) over pairs.

    chosen[i] and rejected[i] answer the same prompt. The reference gets no gradient.
    """
    with torch.no_grad():
        reference_chosen = answer_logps(reference, chosen)    # [pairs]
        reference_rejected = answer_logps(reference, rejected)
    chosen_log_ratio = answer_logps(policy, chosen) - reference_chosen
    rejected_log_ratio = answer_logps(policy, rejected) - reference_rejected
    margin = chosen_log_ratio - rejected_log_ratio
    return -logsigmoid(beta * margin).mean()


def descend(loss: Tensor, optimizer: Optimizer) -> float:
    """Take one optimizer step down the gradient of the loss; returns the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def sft_step(model: PreTrainedModel, optimizer: Optimizer, sequences: Sequence[Tokens]) -> float:
    """One step of supervised fine-tuning; returns the loss before it."""
    return descend(sft_batch_loss(model, sequences), optimizer)


def dpo_step(policy: PreTrainedModel, reference: PreTrainedModel, optimizer: Optimizer,
             chosen: Sequence[Tokens], rejected: Sequence[Tokens], beta: float) -> float:
    """One step of Direct Preference Optimization; returns the loss before it."""
    return descend(dpo_batch_loss(policy, reference, chosen, rejected, beta), optimizer)
