"""Which sampler gives a model's answers the log-probabilities of its own forward.

A few answers of a few tokens are sampled and compared; the fastest sampler that agrees is used:
`slots` (`decoding.Engine`), else `cached` (`own_engine.OwnEngine` with the model's own cache), else
`whole` (the same without a cache). `openvino` (`openvino_engine.OpenVinoEngine`) is used where
`sampling.engine` says so.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from lib.inference.engine.decoding import Engine, Sample, SampleRequest
from lib.inference.engine.openvino_engine import OpenVinoEngine
from lib.inference.engine.openvino_model import installed, openvino_fault
from lib.inference.engine.own_engine import OwnEngine
from lib.inference.engine.sampling_mode import sampling_mode
from lib.inference.sampling_settings import SamplingSettings
from lib.modeling.load_check import TOLERANCE, exact_copy, verdict, window_of
from lib.modeling.packed.logps import input_table
from lib.modeling.packed.own_forward import has_own_forward, without_adapter
from lib.modeling.saving import ModelError, first_line
from lib.runtime.progress import say

DISAGREES = "its answers have other log-probabilities than its own forward gives"
TOKENS = 4  # of a trial's answers
CHEAP_LOGITS = 2**24  # of the longest sequence that is tried
TRIAL = SamplingSettings(samples=2, temperature=1.0, top_k=None, max_new_tokens=TOKENS, rows=3)


def engine_for(model: PreTrainedModel, settings: SamplingSettings, stops: Sequence[int],
               requests: Sequence[SampleRequest]) -> Engine | OwnEngine:
    """The engine that samples from this model; raises ModelError where none can."""
    engine = _engine(sampler_of(model, settings.engine), model, settings, stops, requests)
    if isinstance(engine, OpenVinoEngine):
        say(f"OpenVINO converted and compiled the model in {engine.paged.seconds:.1f} s")
    return engine


def sampler_of(model: PreTrainedModel, engine: str = "own") -> str:
    """`slots`, `cached`, `whole` or `openvino`; tried once a model. engine: `sampling.engine`."""
    inner: Any = without_adapter(model)
    if engine == "openvino":
        return _openvino(inner)
    if not hasattr(inner, "sampler"):
        kind = f"sampler {has_own_forward(model)}"
        inner.sampler = verdict(kind, getattr(inner, "identity", ""),
                                lambda: _tried(inner, _own_ways(inner)))
        if inner.sampler != "slots":
            say(f"{type(inner).__name__} is sampled by its own forward, "
                + ("with its own cache" if inner.sampler == "cached" else "without a cache")
                + ", one prompt at a time, which is slower")
    return inner.sampler


def _openvino(model: PreTrainedModel) -> str:
    if fault := openvino_fault(model.device, model.dtype):
        raise ModelError(fault)
    return verdict(f"openvino {installed()}", getattr(model, "identity", ""),
                   lambda: _tried(model, ["openvino"]))


def _own_ways(model: PreTrainedModel) -> list[str]:
    return ["cached", "whole"] if has_own_forward(model) else ["slots", "cached", "whole"]


def _tried(model: PreTrainedModel, ways: Sequence[str]) -> str:
    exact = exact_copy(model)
    for way in ways:
        try:
            if _agrees(exact, way):
                return way
        except Exception as error:  # noqa: BLE001 - anything that our computation meets in a model
            reason = f"{type(error).__name__}: {first_line(error)}"
        else:
            reason = DISAGREES
    remedy = ("set sampling.engine=own" if ways == ["openvino"] else
              "use a decoder such as Llama, Qwen2 or Gemma 3")
    if reason == DISAGREES and not _predicts_numbers(exact):
        reason, remedy = ("its predictions are no numbers, as after training that diverged",
                          "train it again, and lower the learning rate")
    raise ModelError(f"{type(model).__name__} cannot be sampled from: {reason}; {remedy}")


@torch.inference_mode()
def _predicts_numbers(model: PreTrainedModel) -> bool:
    """Whether the model's own forward over the trial's prompts gives numbers."""
    prompts = [torch.tensor([each.tokens], device=model.device) for each in _requests(model)]
    logits = [model(input_ids=ids, use_cache=False).logits.float() for ids in prompts]
    return not any(each.log_softmax(-1).isnan().any() for each in logits)


@torch.inference_mode()
def _agrees(model: PreTrainedModel, way: str) -> bool:
    """Whether answers have their own forward's log-probabilities, also where others end earlier."""
    samples = _sampled(model, way, ())
    samples += _sampled(model, way, (samples[0].tokens[1],))
    with sampling_mode(model, slots=False):
        return all(abs(sample.logprob - _own_logprob(model, sample))
                   <= TOLERANCE * TOKENS * max(1.0, abs(sample.logprob) / 10) for sample in samples)


def _sampled(model: PreTrainedModel, way: str, stops: Sequence[int]) -> list[Sample]:
    with sampling_mode(model, way == "slots"):
        engine, samples = _engine(way, model, TRIAL, stops, _requests(model)), []
        while not engine.idle:
            samples += engine.step()
    return samples


def _own_logprob(model: PreTrainedModel, sample: Sample) -> float:
    """The answer's log-probability by the model's own forward over the whole sequence."""
    ids = torch.tensor([[*sample.request.tokens, *sample.tokens]], device=model.device)
    logps = model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)
    begin = len(sample.request.tokens)
    return logps[begin - 1:-1].gather(1, ids[0, begin:, None]).sum().item()


def _requests(model: PreTrainedModel) -> list[SampleRequest]:
    """Prompts of different lengths, one near the end of a window where that is cheap."""
    vocabulary = len(input_table(model))
    window = window_of(model.config, CHEAP_LOGITS / vocabulary)
    lengths = [window - 2, 7, 3] if window > 9 else [7, 3]
    generator = torch.Generator().manual_seed(0)
    return [SampleRequest(f"trial {length}", index, tuple(
                torch.randint(vocabulary, (length,), generator=generator).tolist()))
            for index, length in enumerate(lengths)]


def _engine(way: str, model: PreTrainedModel, settings: SamplingSettings, stops: Sequence[int],
            requests: Sequence[SampleRequest]) -> Engine | OwnEngine:
    if way in ("slots", "openvino"):
        kind = Engine if way == "slots" else OpenVinoEngine
        return kind(model, settings, stops, requests)
    return OwnEngine(model, settings, stops, requests, cached=way == "cached")
