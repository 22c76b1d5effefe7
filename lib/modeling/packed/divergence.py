"""KL(policy || reference) at every response token of a packed row, exact over the vocabulary.

Summed over an answer sampled from the policy, it estimates the KL of whole answers as the sum of
the sampled tokens' log-ratios does, but with far less noise and never below zero: only the prefixes
are random, not the token at each of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lib.modeling.packed.logps import response_logits, sequence_sums
from lib.modeling.packed.packing import PackedBatch

CHUNK_ELEMENTS = 2**24  # logits of a chunk of tokens

# Logits -> log-probabilities, [rows, vocabulary] each; -inf for a token that is never written.
Distribution = Callable[[Tensor], Tensor]


class Divergence(NamedTuple):
    """Sums over the tokens of each answer, float32 [S] each.

    `logp`, `reference_logp` and `kl` (nats) are of tokens that policy and reference both can write:
    where top-k leaves one of them out, the KL of the whole would be infinite. `kl` renormalises
    both distributions over these. `outside` counts the answer's tokens that are not of them.
    """

    logp: Tensor
    reference_logp: Tensor
    kl: Tensor
    outside: Tensor


def whole_vocabulary(logits: Tensor) -> Tensor:
    """The model's own distribution, at temperature 1: every token can be written."""
    return logits.float().log_softmax(-1)


def answer_divergence(policy: PreTrainedModel, reference: PreTrainedModel, batch: PackedBatch,
                      distribution: Distribution = whole_vocabulary) -> Divergence:
    """How far the policy is from the reference on each answer, both under `distribution`.

    Both models share one vocabulary; no gradients are kept.
    """
    with torch.no_grad():
        policy_logits, reference_logits = (response_logits(model, batch)
                                           for model in (policy, reference))
        chunk = max(64, CHUNK_ELEMENTS // policy.config.get_text_config().vocab_size)
        parts = []
        for begin in range(0, len(batch.targets), chunk):
            piece = slice(begin, begin + chunk)
            parts.append(_token_values(distribution(policy_logits(piece)),
                                       distribution(reference_logits(piece)),
                                       batch.targets[piece]))
    return Divergence(*(sequence_sums(torch.cat(values), batch)
                        for values in zip(*parts, strict=True)))


def _token_values(policy: Tensor, reference: Tensor, targets: Tensor) -> Divergence:
    """The values of each token [R] from log-probabilities [R, vocabulary]."""
    both = policy.isfinite() & reference.isfinite()
    p, q = (logps.masked_fill(~both, -torch.inf).log_softmax(-1) for logps in (policy, reference))
    kl = torch.where(both, p.exp() * (p - q), 0.0).sum(-1)
    place = targets[:, None]
    inside = both.gather(1, place)[:, 0]
    logp, reference_logp = (torch.where(inside, logps.gather(1, place)[:, 0], 0.0)
                            for logps in (policy, reference))
    return Divergence(logp, reference_logp, kl, (~inside).float())
