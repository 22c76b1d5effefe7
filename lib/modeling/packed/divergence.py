"""KL(policy || reference) at every response token of a packed row, exact over the vocabulary.

Summed over an answer sampled from the policy, it estimates the KL of whole answers as the sum of
the sampled tokens' log-ratios does, but with far less noise and never below zero: only the prefixes
are random, not the token at each of them.
"""

import torch
from torch import Tensor, nn

from lib.modeling.packed.logps import CHUNK_ELEMENTS, packed_hidden, sequence_sums, token_logps
from lib.modeling.packed.packing import PackedBatch


def answer_divergence(policy: nn.Module, reference: nn.Module,
                      batch: PackedBatch) -> tuple[Tensor, Tensor, Tensor]:
    """(log p under policy, log p under reference, KL in nats) of each answer, float32 [S] each.

    Both models share one vocabulary; no gradients are kept.
    """
    models = policy, reference
    with torch.no_grad():
        states = [packed_hidden(model, batch)[batch.predict_from] for model in models]
        heads = [model.get_output_embeddings().weight for model in models]
        values = [*(token_logps(state, head, None, batch.targets)
                    for state, head in zip(states, heads, strict=True)),
                  _token_kl(*states, *heads)]
    return tuple(sequence_sums(value, batch) for value in values)


def _token_kl(policy: Tensor, reference: Tensor, policy_head: Tensor,
              reference_head: Tensor) -> Tensor:
    """KL of the next-token distributions from hidden states [R, width], float32 [R]."""
    chunk = max(64, CHUNK_ELEMENTS // len(policy_head))
    parts = []
    for begin in range(0, len(policy), chunk):
        piece = slice(begin, begin + chunk)
        p = (policy[piece] @ policy_head.T).float().log_softmax(-1)  # [chunk, vocabulary]
        q = (reference[piece] @ reference_head.T).float().log_softmax(-1)
        parts.append((p.exp() * (p - q)).sum(-1))
    return torch.cat(parts)
