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
    """The pages of each slot: those of its prompt, which its samples share, then its own.

    It has the interface of `lib.inference.engine.kv_cache.SlotCache`. longest: tokens of a prompt.
    """

    version = 0  # pages never move

    def __init__(self, model: PagedModel, rows: int, capacity: int, longest: int) -> None:
        own, each = (-(-tokens // model.page) for tokens in (capacity, longest))
        sheets = rows + 2 * PROMPTS  # one a slot, and those that wait
        self.model, self.own = model, np.arange(rows * own).reshape(rows, own)
        self.prompts = np.arange(sheets * each).reshape(sheets, each) + self.own.size
        self.tables = self.own.copy()
        self.waiting = self.prompts[:0]
        model.allocate(self.own.size + self.prompts.size)

    def read(self, prompts: Sequence[Sequence[int]]) -> Iterator[PagedPrompt]:
        """Pass up to PROMPTS prompts through the model, into pages that nobody reads."""
        held = np.concatenate((self.tables[:, 0], self.waiting[:, 0]))
        free = self.prompts[~np.isin(self.prompts[:, 0], held)]
        self.waiting = free[:len(prompts)]
        self.model([np.array(tokens) for tokens in prompts], np.zeros(len(prompts), int),
                   self.waiting)
        return map(PagedPrompt, map(len, prompts), self.waiting)

    def insert(self, prompt: PagedPrompt, slots: Sequence[int]) -> None:
        """Let slots read a prompt's pages; the last one, where they write, is copied."""
        shared = (prompt.tokens - 1) // self.model.page  # the last token is written again
        self.tables[slots] = self.own[slots]
        self.tables[slots, :shared] = prompt.pages[:shared]
        self.model.copy(prompt.pages[shared], self.own[slots, shared])

    def move(self, source: int, target: int) -> None:
        """Let one slot have the pages of another, which takes its pages in return."""
        for pages in (self.own, self.tables):
            pages[[source, target]] = pages[[target, source]]

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
        return PageTable(self.paged, rows, self.capacity,
                         self.capacity - self.settings.max_new_tokens)

    def _pass(self, rows: int, attended: int) -> Tensor:
        positions = self.positions[:attended]  # an idle row would write into pages of others
        tokens = self.history[:attended].gather(1, positions[:, None])
        return self.paged(tokens.numpy(), positions.numpy(), self.cache.tables[:attended])
