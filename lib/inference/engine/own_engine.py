"""Sampling through the model's own forward and cache, for models that the slots cannot serve.

All samples of one prompt advance together, so that no row is padded: any causal model gives right
log-probabilities. Where the model has no cache that can be repeated and thinned, or one that does
not keep its promise, every step passes over whole sequences. Draws take the same random streams as
`lib.inference.engine.decoding.Engine`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lib.inference.engine.decoding import Sample, SampleRequest, random_stream
from lib.inference.engine.distributions import draw, penalised, policy_logps
from lib.inference.sampling_settings import SamplingSettings


class OwnEngine:
    """The interface of `Engine`: call `step` until `idle`. cached: use the model's own cache."""

    def __init__(self, model: PreTrainedModel, settings: SamplingSettings, stops: Sequence[int],
                 requests: Sequence[SampleRequest], cached: bool = True) -> None:
        self.model, self.settings, self.stops = model, settings, frozenset(stops)
        self.cached = cached
        self.groups = self._groups(requests)
        self.running: list[Sample] = []
        self.cache: Any = None  # what the model makes
        self.history: Tensor  # token ids so far, [rows, tokens]
        self.uniforms: Tensor  # each row's random stream, [rows, max_new_tokens]
        self.sums: Tensor  # log-probabilities under the policy and as sampled, [rows, 2]
        self.left = len(requests) * settings.samples

    @property
    def idle(self) -> bool:
        """Whether every sample has been returned."""
        return not self.left

    def _groups(self, requests: Sequence[SampleRequest]) -> Iterator[list[Sample]]:
        samples, rows = range(self.settings.samples), self.settings.rows
        for request in requests:
            for begin in range(0, len(samples), rows):
                yield [Sample(request, number) for number in samples[begin:begin + rows]]

    def step(self) -> list[Sample]:
        """Add one token to every running sample, return those that ended."""
        if not self.running:
            self._begin(next(self.groups))
        tokens = self._draw(self._logits())
        kept, ended = [], []
        for row, (sample, token) in enumerate(zip(self.running, tokens.tolist(), strict=True)):
            if sample.ends_with(token, self.stops, self.settings.max_new_tokens):
                sample.logprob, sample.sampling_logprob = self.sums[row].tolist()
                ended.append(sample)
            else:
                kept.append(row)
        self.history = torch.cat((self.history, tokens[:, None]), 1)
        self._keep(kept)
        self.left -= len(ended)
        return ended

    def _begin(self, samples: list[Sample]) -> None:
        settings, device = self.settings, self.model.device
        self.running, self.cache = samples, None
        self.history = torch.tensor([samples[0].request.tokens] * len(samples), device=device)
        self.uniforms = torch.stack([torch.from_numpy(random_stream(
            settings.seed, settings.stream, sample.request.id, sample.number,
            settings.max_new_tokens)) for sample in samples]).to(device)
        self.sums = torch.zeros(len(samples), 2, dtype=torch.float64, device=device)

    def _logits(self) -> Tensor:
        """Logits of the next token of each running sample, [rows, vocabulary]."""
        if not self.cached:
            return self.model(input_ids=self.history, use_cache=False).logits[:, -1]
        ids = self.history if self.cache is None else self.history[:, -1:]
        out = self.model(input_ids=ids, past_key_values=self.cache, use_cache=True)
        self.cache = out.past_key_values
        return out.logits[:, -1]

    def _draw(self, logits: Tensor) -> Tensor:
        """Draw each row's token and add its log-probabilities; returns [rows]."""
        settings = self.settings
        wanted = logits
        if settings.repetition_penalty != 1:
            wanted = penalised(logits, self.history, settings.repetition_penalty)
        uniforms = self.uniforms[:, len(self.running[0].tokens)]
        tokens, sampling = draw(wanted, uniforms, settings.temperature, settings.top_k,
                                settings.top_p)
        self.sums += torch.stack((policy_logps(logits, tokens), sampling), 1)
        return tokens

    def _keep(self, rows: list[int]) -> None:
        """Go on with these rows only."""
        if len(rows) == len(self.running):
            return
        self.running = [self.running[row] for row in rows]
        where = torch.tensor(rows, dtype=torch.long, device=self.history.device)
        self.history, self.uniforms, self.sums = (
            state[where] for state in (self.history, self.uniforms, self.sums))
        if self.cache is not None and rows:
            self.cache.batch_select_indices(where)
