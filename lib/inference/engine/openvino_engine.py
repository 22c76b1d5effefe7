"""Sampling with OpenVINO's products and attention, and our own draws.

The loop, the random streams, the filters and both log-probabilities are those of
`lib.inference.engine.decoding.Engine`; only the forward pass is OpenVINO's. So equal seeds give the
answers of the other engines up to rounding, which decides few tokens.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from lib.inference.engine.decoding import Engine, SampleRequest, Together
from lib.inference.engine.openvino_model import PagedModel
from lib.inference.sampling_settings import SamplingSettings

PROMPTS = 8  # prompts that pass through the model together


class PagedPrompt(NamedTuple):
    """A prompt's number of tokens and the pages of its keys and values."""

    tokens: int
    pages: np.ndarray


class PageTable:
    """The pages of each slot, and of prompts: those being admitted and the next ones.

    It has the interface of `lib.inference.engine.kv_cache.SlotCache`.
    """

    version = 0  # pages never move

    def __init__(self, model: PagedModel, rows: int, capacity: int) -> None:
        each = -(-capacity // model.page)
        pages = np.arange((rows + 2 * PROMPTS) * each).reshape(-1, each)
        self.model, self.tables = model, pages[:rows]
        self.prompts = [pages[rows:-PROMPTS], pages[-PROMPTS:]]
        model.allocate(pages.size)

    def read(self, prompts: Sequence[Sequence[int]]) -> Iterator[PagedPrompt]:
        """Pass up to PROMPTS prompts through the model."""
        self.prompts.reverse()
        tables = self.prompts[0][:len(prompts)]
        self.model([np.array(tokens) for tokens in prompts], np.zeros(len(prompts), int), tables)
        return map(PagedPrompt, map(len, prompts), tables)

    def insert(self, prompt: PagedPrompt, slots: Sequence[int]) -> None:
        """Copy a prompt's keys and values into slots."""
        pages = -(-prompt.tokens // self.model.page)
        self.model.copy(prompt.pages[:pages], self.tables[slots, :pages])

    def move(self, source: int, target: int) -> None:
        """Let one slot have the pages of another, which takes its pages in return."""
        self.tables[[source, target]] = self.tables[[target, source]]

    def fit(self, columns: int, rows: int) -> None:
        """Every slot has its pages from the start; they take memory once they are written."""


class OpenVinoEngine(Engine):
    """`Engine` with OpenVINO's forward pass; `sampling_mode` need not prepare the model's own."""

    def __init__(self, model: PreTrainedModel, settings: SamplingSettings, stops: Sequence[int],
                 requests: Sequence[SampleRequest]) -> None:
        super().__init__(model, settings, stops, requests)
        self.paged = PagedModel(model)

    def _together(self, requests: Sequence[SampleRequest]) -> Iterator[Together]:
        for begin in range(0, len(requests), PROMPTS):
            yield requests[begin:begin + PROMPTS], PROMPTS, 0

    def _prefill(self, requests: Sequence[SampleRequest], rows: int,
                 tokens: int) -> Iterator[PagedPrompt]:
        if self.cache is None:
            self._allocate()
        return self.cache.read([request.tokens for request in requests])

    def _slot_bytes(self) -> int:
        return self.capacity * self.paged.token_bytes

    def _cache(self, slots: int, rows: int) -> PageTable:
        return PageTable(self.paged, rows, self.capacity)

    def _pass(self, rows: int, attended: int) -> Tensor:
        positions = self.positions[:rows]
        tokens = self.history[:rows].gather(1, positions[:, None])
        return self.paged(tokens.numpy(), positions.numpy(), self.cache.tables[:rows])
