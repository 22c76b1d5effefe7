"""SFT and DPO in their simplest form: one padded batch, the model's own forward, no tricks.

Notebooks 02 and 03 walk through these functions. The tests hold the packed engine, which trains the
models of the study, to the log-probabilities, losses and gradients that come out here.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from torch.optim import Optimizer

Tokens = tuple[Sequence[int], Sequence[int]]  # token ids and response mask, one entry a token


def pad(sequences: Sequence[Tokens], device: torch.device | str) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, response mask and attention mask of one right-padded batch, [batch, tokens]."""
    width = max(len(ids) for ids, _ in sequences)
    ids = [[*ids, *[0] * (width - len(ids))] for ids, _ in sequences]
    response = [[*mask, *[0] * (width - len(mask))] for _, mask in sequences]
    attention = [[int(place < len(ids)) for place in range(width)] for ids, _ in sequences]
    return tuple(torch.tensor(rows, device=device) for rows in (ids, response, attention))


def token_logps(model: nn.Module, sequences: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
    """log p of every token given the tokens before it, and the response mask: [batch, tokens - 1].

    The first token has nothing before it, so it has no log-probability.
    """
    ids, response, attention = pad(sequences, model.device)
    logits = model(ids, attention_mask=attention).logits      # [batch, tokens, vocabulary]
    logps = logits[:, :-1].float().log_softmax(-1)            # position t predicts token t + 1
    return logps.gather(2, ids[:, 1:, None]).squeeze(2), response[:, 1:]


def answer_logps(model: nn.Module, sequences: Sequence[Tokens]) -> Tensor:
    """log p(answer | prompt): the log-probabilities of the response tokens, summed, [batch]."""
    logps, response = token_logps(model, sequences)
    return (logps * response).sum(1)


def sft_batch_loss(model: nn.Module, sequences: Sequence[Tokens]) -> Tensor:
    """The SFT loss: mean of -log p over all response tokens of the batch, in nats a token."""
    logps, response = token_logps(model, sequences)
    return -(logps * response).sum() / response.sum()


def dpo_batch_loss(policy: nn.Module, reference: nn.Module, chosen: Sequence[Tokens],
                  rejected: Sequence[Tokens], beta: float) -> Tensor:
    """The DPO loss (Rafailov et al. 2023, Eq. 7): mean of -log sigmoid(beta * margin) over pairs.

    chosen[i] and rejected[i] answer the same prompt. The reference gets no gradient.
    """
    with torch.no_grad():
        reference_gap = answer_logps(reference, chosen) - answer_logps(reference, rejected)
    policy_gap = answer_logps(policy, chosen) - answer_logps(policy, rejected)
    margin = policy_gap - reference_gap                       # [pairs]
    return -logsigmoid(beta * margin).mean()


def sft_step(model: nn.Module, optimizer: Optimizer, sequences: Sequence[Tokens]) -> float:
    """One step of supervised fine-tuning; returns the loss before it."""
    return descend(sft_batch_loss(model, sequences), optimizer)


def dpo_step(policy: nn.Module, reference: nn.Module, optimizer: Optimizer,
             chosen: Sequence[Tokens], rejected: Sequence[Tokens], beta: float) -> float:
    """One step of Direct Preference Optimization; returns the loss before it."""
    return descend(dpo_batch_loss(policy, reference, chosen, rejected, beta), optimizer)


def descend(loss: Tensor, optimizer: Optimizer) -> float:
    """Take one optimizer step down the gradient of the loss; returns the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
