"""From logits to a token and its log-probabilities: temperature, top-k, top-p, repetition penalty.

Filters apply in the order of transformers' `generate`: penalty, temperature, top-k, top-p. A token
is drawn by inverting the cumulative distribution at one uniform number a row, so that the same
number and distribution give the same token in any batch.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from lib.modeling.packed.head_blocks import log_sum_exp

BLOCK = 64  # vocabulary entries a block in the search for the largest


def largest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, descending: values and vocabulary indices, each [rows, k].

    They lie in the k blocks with the largest maxima, so that only k * BLOCK entries are sorted:
    exact, and a little faster on CPU than `topk` over a vocabulary.
    """
    rows, vocabulary = logits.shape
    k = min(k, vocabulary)
    if vocabulary < 2 * k * BLOCK:
        return logits.topk(k)
    spare = -vocabulary % BLOCK
    padded = pad(logits, (0, spare), value=-torch.inf) if spare else logits
    blocks = padded.view(rows, -1, BLOCK)
    best = blocks.amax(-1).topk(k).indices  # [rows, k]
    candidates = blocks.gather(1, best[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    values, where = candidates.topk(k)
    return values, best.gather(1, where // BLOCK) * BLOCK + where % BLOCK


def filtered(logits: Tensor, temperature: float, top_k: int | None,
             top_p: float) -> tuple[Tensor, Tensor | None]:
    """The sampling distribution: probabilities and their tokens, each [rows, kept].

    A filter sorts them, descending; without one tokens are None and columns are the vocabulary.
    top_p keeps the smallest set of tokens that reaches it, the first one always.
    """
    if top_k is None and top_p >= 1:
        return torch.softmax(logits.float() / temperature, -1), None
    values, tokens = largest(logits, top_k or logits.shape[-1])
    probabilities = torch.softmax(values.float() / temperature, -1)
    if top_p < 1:
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= top_p, 0.0)
        probabilities = probabilities / probabilities.sum(-1, keepdim=True)
    return probabilities, tokens


def sampling_logps(logits: Tensor, temperature: float, top_k: int | None, top_p: float) -> Tensor:
    """Log-probability of every token under the sampling distribution, float32 [rows, vocabulary].

    -inf for a token that a filter drops. The temperature is above 0.
    """
    probabilities, tokens = filtered(logits, temperature, top_k, top_p)
    logps = probabilities.log()
    if tokens is None:
        return logps
    return torch.full(logits.shape, -torch.inf, device=logits.device).scatter(1, tokens, logps)


def draw(logits: Tensor, uniforms: Tensor, temperature: float, top_k: int | None,
         top_p: float) -> tuple[Tensor, Tensor]:
    """One token a row and its log-probability under the sampling distribution, each [rows].

    logits [rows, vocabulary]; uniforms [rows] in [0, 1). Temperature 0 takes the most probable
    token, of equal ones the first, with log-probability 0.
    """
    if temperature == 0:
        return logits.argmax(-1), torch.zeros(len(logits), device=logits.device)
    probabilities, tokens = filtered(logits, temperature, top_k, top_p)
    # float64: in float32 the cumulative sum over a vocabulary is off by more than its rare tokens.
    reached = probabilities.double().cumsum(-1)
    target = uniforms[:, None] * reached[:, -1:]
    choice = torch.searchsorted(reached, target, right=True).clamp_(max=reached.shape[1] - 1)
    logps = probabilities.gather(1, choice)[:, 0].log()
    return (choice if tokens is None else tokens.gather(1, choice))[:, 0], logps


def policy_logps(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of each row's token at temperature 1 and unfiltered, float32 [rows]."""
    return logits.gather(1, tokens[:, None])[:, 0].float() - log_sum_exp(logits)


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits with those of tokens in `seen` [rows, n] made less likely (Keskar et al. 2019).

    Positive logits are divided by the penalty, negative ones multiplied, as in transformers.
    """
    values = logits.gather(1, seen)
    return logits.scatter(1, seen, torch.where(values < 0, values * penalty, values / penalty))
