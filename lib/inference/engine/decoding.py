"""The sampling engine: many sequences a forward pass, one token a sequence, few idle rows.

A prompt passes through the model once; its keys and values are copied into one slot a sample. Every
step adds one token to each slot in use. A sample that ends frees its slot, and a waiting sample
takes it at once (continuous batching, Yu et al. 2022). When none waits, the last slot moves into
the hole, so that the batch shrinks. Each sample has its random stream, seeded by (seed, name of the
stream, prompt id, sample number): no result depends on what else is in the batch, and policies with
streams of their own answer independently.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from lib.inference.engine.cuda_graph import RecordedPass
from lib.inference.engine.distributions import draw, penalised, policy_logps
from lib.inference.engine.kv_cache import PromptCache, SlotCache
from lib.inference.engine.slot_attention import slot_masks
from lib.inference.sampling_settings import SamplingSettings
from lib.modeling.packed.logps import decoder_of
from lib.runtime.devices import cpu_has_amx, keep_freed_memory

CPU_ROW_MULTIPLE = 8  # see `rows_in_pass`
AMX_ROWS = 40  # the fewest rows with AMX, see there too
CUDA_PROMPTS, CUDA_PROMPT_MULTIPLE = 8, 64  # see `prompts_together`


@dataclass(frozen=True)
class SampleRequest:
    """A prompt to sample answers to: its id, its index among the prompts, its token ids."""

    id: str
    index: int
    tokens: tuple[int, ...]


@dataclass
class Sample:
    """One answer: its token ids as drawn, any stop token included, and summed log-probabilities."""

    request: SampleRequest
    number: int  # which of its prompt's samples
    tokens: list[int] = field(default_factory=list)
    finish: str = ""  # "stop", "length", or "" while it grows
    logprob: float = 0.0  # under the policy at temperature 1, unfiltered
    sampling_logprob: float = 0.0  # under the sampling distribution

    @property
    def length(self) -> int:
        """Tokens of prompt and answer so far."""
        return len(self.request.tokens) + len(self.tokens)

    def ends_with(self, token: int, stops: Collection[int], longest: int) -> bool:
        """Add a drawn token; returns whether the answer ends with it, and notes how."""
        self.tokens.append(token)
        if token in stops:
            self.finish = "stop"
        elif len(self.tokens) == longest:
            self.finish = "length"
        return bool(self.finish)


def random_stream(seed: int, stream: str, prompt_id: str, sample: int,
                  numbers: int) -> np.ndarray:
    """Uniform numbers in [0, 1) of one sample, float64 [numbers]; a longer stream begins alike."""
    key = hashlib.sha256(f"{seed}\n{stream}\n{sample}\n{prompt_id}".encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "big"))).random(numbers)


def rows_in_pass(rows: int, slots: int, device: torch.device, dtype: torch.dtype) -> int:
    """Rows to compute, idle ones included, so that a row's result is the same in any batch.

    Measured: from 2 rows on, oneDNN's product of a row does not depend on their number, except in
    bf16 with AMX, where one kernel computes up to 32 rows and another more; the two differ in the
    last bit of one number in 10,000. CUDA's kernels change at many numbers of rows, so there every
    pass computes all slots.
    """
    if device.type != "cpu":
        return slots
    least = AMX_ROWS if dtype == torch.bfloat16 and cpu_has_amx() else 0
    return max(least, -(-rows // CPU_ROW_MULTIPLE) * CPU_ROW_MULTIPLE)


Together = tuple[Sequence[SampleRequest], int, int]  # prompts of a pass, its rows and tokens


def prompts_together(requests: Sequence[SampleRequest],
                     device: torch.device) -> Iterator[Together]:
    """The requests that pass through the model together, and the pass's rows and tokens.

    On a GPU a pass always has as many rows, and a prompt's length alone decides its tokens: so a
    result depends on no other prompt, though a pass of one prompt would take as long.
    """
    if device.type == "cpu":
        yield from (([request], 1, len(request.tokens)) for request in requests)
        return
    multiple = CUDA_PROMPT_MULTIPLE
    for tokens, group in groupby(requests, lambda one: -(-len(one.tokens) // multiple) * multiple):
        while together := list(islice(group, CUDA_PROMPTS)):
            yield together, CUDA_PROMPTS, tokens


class Engine:
    """Samples `settings.samples` answers to each request; call `step` until `idle`.

    Use inside `sampling_mode(model)` and `torch.inference_mode()`. stops: token ids that end an
    answer; with none, every answer gets `max_new_tokens` tokens.
    """

    def __init__(self, model: PreTrainedModel, settings: SamplingSettings, stops: Sequence[int],
                 requests: Sequence[SampleRequest]) -> None:
        keep_freed_memory()
        self.model, self.settings, self.stops = model, settings, frozenset(stops)
        self.device, self.dtype = model.device, model.dtype
        self.capacity = max(len(request.tokens) for request in requests) + settings.max_new_tokens
        self.waiting = self._samples_of(requests)
        self.left = len(requests) * settings.samples  # samples that wait for a slot
        self.prompt: Any = None  # PromptCache of the request whose samples are being admitted
        self.running: list[Sample | None] = []  # one a slot in use; None is a hole
        self.cache: Any = None  # SlotCache, or what another engine has in its place
        self.recorded = RecordedPass(lambda: self._pass(self.slots, self.slots))  # CUDA only

    def _samples_of(self, requests: Sequence[SampleRequest]) -> Iterator[Sample]:
        for together, rows, tokens in self._together(requests):
            prompts = self._prefill(together, rows, tokens)
            for request, self.prompt in zip(together, prompts, strict=True):
                for number in range(self.settings.samples):
                    yield Sample(request, number)

    def _together(self, requests: Sequence[SampleRequest]) -> Iterator[Together]:
        return prompts_together(requests, self.device)

    @property
    def idle(self) -> bool:
        """Whether every sample has been returned."""
        return not self.left and not self.running

    @property
    def _samples(self) -> list[Sample]:
        """The running samples; once `_admit` has closed the holes, one a slot in use."""
        return [sample for sample in self.running if sample is not None]

    def step(self) -> list[Sample]:
        """Admit what fits, add one token to every running sample, return those that ended."""
        self._admit()
        rows = len(self.running)
        # On CPU a slot's result depends on no other slot, so slots that nobody needs go.
        kept = rows if self.device.type == "cpu" and not self.left else self.slots
        self.cache.fit(max(sample.length for sample in self._samples), kept)
        tokens = self._draw(self._forward(rows)[:rows])
        return self._record(tokens.tolist())

    # --- admission -----------------------------------------------------------------------------

    def _admit(self) -> None:
        """Fill holes and free slots with waiting samples, then close the other holes."""
        holes = [slot for slot, sample in enumerate(self.running) if sample is None]
        free = len(holes) + (self.slots - len(self.running) if self.cache else self.left)
        prompt: Any = None
        placed: list[int] = []  # slots that wait for the keys and values of this prompt
        for sample in islice(self.waiting, min(free, self.left)):
            if self.cache is None:
                self._allocate()
            if self.prompt is not prompt and placed:
                self.cache.insert(prompt, placed)
                placed = []
            prompt, slot = self.prompt, holes.pop(0) if holes else len(self.running)
            self.running[slot:slot + 1] = [sample]
            self._place(sample, slot)
            placed.append(slot)
            self.left -= 1
            if not holes and len(self.running) == self.slots:
                break
        if placed:
            self.cache.insert(prompt, placed)
        for hole in reversed(holes):
            self._close(hole)
        self.positions[len(self.running):] = 0  # idle rows must stay within the cache

    def _prefill(self, requests: Sequence[SampleRequest], rows: int,
                 tokens: int) -> Iterator[Any]:
        """One pass over the prompts, without the vocabulary head; what it caches of each of them.

        Each sample begins with the last prompt token once more, which writes the same keys and
        values again, so that one path gives all logits.
        """
        cache = DynamicCache()
        padded = [(*request.tokens, *[0] * (tokens - len(request.tokens))) for request in requests]
        padded += [(0,) * tokens] * (rows - len(requests))  # causality hides the padding
        positions = torch.arange(tokens, device=self.device)[None]
        decoder_of(self.model)(input_ids=torch.tensor(padded, device=self.device),
                               position_ids=positions, past_key_values=cache, use_cache=True)
        layers: list[Any] = cache.layers
        for row, request in enumerate(requests):
            caches: PromptCache = [(layer.keys[row, :, :len(request.tokens)],
                                    layer.values[row, :, :len(request.tokens)])
                                   for layer in layers]
            yield caches

    def _allocate(self) -> None:
        """Make the state of the slots: `settings.rows`, fewer if samples or memory are fewer."""
        settings, slot_bytes = self.settings, self._slot_bytes()
        slots = min(settings.rows, self.left)
        if settings.memory_gb is not None:
            slots = min(slots, int(settings.memory_gb * 1e9 // slot_bytes))
        if slots < 1:
            raise ValueError(f"memory_gb is {settings.memory_gb}, but one sequence needs "
                             f"{slot_bytes / 1e9:.2g}; raise it or lower max_new_tokens")
        self.slots = slots
        rows = rows_in_pass(slots, slots, self.device, self.dtype)
        self.cache = self._cache(slots, rows)
        self.history = torch.zeros(rows, self.capacity, dtype=torch.long, device=self.device)
        self.positions = torch.zeros(rows, dtype=torch.long, device=self.device)
        self.uniforms = torch.zeros(rows, settings.max_new_tokens, dtype=torch.float64,
                                    device=self.device)
        self.sums = torch.zeros(rows, 2, dtype=torch.float64, device=self.device)

    def _slot_bytes(self) -> int:
        """Bytes of the keys and values of one slot over all layers."""
        return self.capacity * sum(x[:, 0].nbytes for layer in self.prompt for x in layer)

    def _cache(self, slots: int, rows: int) -> Any:
        return SlotCache(slots)

    def _place(self, sample: Sample, slot: int) -> None:
        prompt, settings = sample.request.tokens, self.settings
        self.history[slot] = prompt[0]  # beyond the end the penalty then sees a prompt token
        self.history[slot, :len(prompt)] = torch.tensor(prompt)
        self.positions[slot] = len(prompt) - 1
        self.uniforms[slot] = torch.from_numpy(random_stream(
            settings.seed, settings.stream, sample.request.id, sample.number,
            settings.max_new_tokens))
        self.sums[slot] = 0

    def _close(self, hole: int) -> None:
        """Move the last slot into a hole."""
        last = self.running.pop()
        if hole == len(self.running):
            return
        self.running[hole] = last
        self.cache.move(len(self.running), hole)
        for state in (self.history, self.positions, self.uniforms, self.sums):
            state[hole] = state[len(self.running)]

    # --- one step ------------------------------------------------------------------------------

    def _forward(self, rows: int) -> Tensor:
        """Logits of the next token, [rows or more, vocabulary]: running samples, then idle rows."""
        if self.device.type == "cuda":
            return self.recorded(self.cache.version)
        return self._pass(rows_in_pass(rows, self.slots, self.device, self.dtype), rows)

    def _pass(self, rows: int, attended: int) -> Tensor:
        """The logits of `rows` slots, [rows, vocabulary]; those from `attended` on are idle."""
        positions = self.positions[:rows]
        self.cache.point_at(positions[:attended])
        masks = slot_masks(positions[:attended], self.cache.width, self.dtype)
        tokens = self.history[:rows].gather(1, positions[:, None])
        return self.model(input_ids=tokens, position_ids=positions[:, None], masks=masks,
                          past_key_values=self.cache, use_cache=True).logits[:, -1]

    def _draw(self, logits: Tensor) -> Tensor:
        """Draw each row's token, add it to the history, and advance; returns [rows]."""
        settings, rows = self.settings, len(logits)
        positions = self.positions[:rows]
        taken = torch.tensor([len(sample.tokens) for sample in self._samples], device=self.device)
        uniforms = self.uniforms[:rows].gather(1, taken[:, None])[:, 0]
        wanted = logits
        if settings.repetition_penalty != 1:
            wanted = penalised(logits, self.history[:rows], settings.repetition_penalty)
        tokens, sampling = draw(wanted, uniforms, settings.temperature, settings.top_k,
                                settings.top_p)
        self.sums[:rows] += torch.stack((policy_logps(logits, tokens), sampling), 1)
        positions += 1
        self.history[:rows].scatter_(1, positions[:, None], tokens[:, None])
        return tokens

    def _record(self, tokens: list[int]) -> list[Sample]:
        """Give each running sample its token; remove those that ended, which leaves holes."""
        ended = []
        for slot, (sample, token) in enumerate(zip(self._samples, tokens, strict=True)):
            if sample.ends_with(token, self.stops, self.settings.max_new_tokens):
                sample.logprob, sample.sampling_logprob = self.sums[slot].tolist()
                ended.append(sample)
                self.running[slot] = None
        if not any(self.running):
            self.running = []
            if not self.left:
                self.cache = None  # frees its memory before the weights are restored
        return ended
