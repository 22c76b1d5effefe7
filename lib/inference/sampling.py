"""Answers sampled from a model: N for each prompt, as text and tokens with log-probabilities.

`sample` returns rows, `sample_to_file` writes them and resumes an interrupted run,
`generate_stream` shows one prompt's answers while they are written. A row is
`{"id", "prompt", "source", "prompt_tokens", "prompt_truncated", "candidates"}`; a candidate is

    text              what the tokens decode to, without special tokens
    token_ids         the response's tokens as they were drawn, with the stop token if one was
                      drawn; null from a server that does not return them
    tokens            their number
    finish            "stop", or "length" for an answer cut at `max_new_tokens`; "missing", with a
                      `reason`, for one that a server did not give
    logprob           natural, summed over token_ids, under the policy at temperature 1
    sampling_logprob  the same under the sampling distribution

Read an answer's tokens from token_ids, because encoding its text can give others. Equal seeds give
equal answers in any order of prompts, for any number of rows, and after a resume.
"""

from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.data.chat import stop_token_ids
from lib.inference.engine.decoding import Sample, SampleRequest
from lib.inference.engine.load_check import engine_for, sampler_of
from lib.inference.engine.sampling_mode import sampling_mode
from lib.inference.partial_file import PartialFile
from lib.inference.prompts import Prompt, check_context, check_ids, encode_within
from lib.inference.remaining import DecodingSteps
from lib.inference.rewards import CUT
from lib.inference.sampling_settings import CANDIDATE, SamplingSettings
from lib.runtime.files import Row, sha256_of_value
from lib.runtime.progress import Progress
from lib.runtime.threads import leave_taken_cores

__all__ = ["Prompt", "SamplingSettings", "generate_stream", "iter_samples", "sample",
           "sample_to_file"]


def sample(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt],
           settings: SamplingSettings, *, stops: Sequence[int] | None = None,
           description: str = "sampling") -> list[Row]:
    """Rows of all prompts, in their order.

    stops: token ids that end an answer; None takes the tokenizer's end of turn and end of text,
    and an empty list none. Raises ValueError for two prompts with one id, for one that is too long,
    and for a model whose probabilities are no numbers.
    """
    rows = {row["id"]: row for row in
            iter_samples(model, tokenizer, prompts, settings, stops=stops, description=description)}
    return [rows[prompt["id"]] for prompt in prompts]


def sample_to_file(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase,
                   prompts: Sequence[Prompt], settings: SamplingSettings, path: Path | str, *,
                   model_key: str, stops: Sequence[int] | None = None,
                   description: str = "sampling") -> list[Row]:
    """`sample` into a JSON Lines file, prompt by prompt; returns its rows.

    `<path>.partial.jsonl` keeps finished prompts. A restart samples only the others and ends with
    the same file; it drops rows of other settings or another model with a message. model_key: an
    identity of the model's weights, such as their hash.
    """
    partial = PartialFile(path, samples_key(model_key, model.dtype, settings, stops))
    partial.take_over()
    for row in iter_samples(model, tokenizer, partial.missing(prompts), settings, stops=stops,
                            description=description):
        partial.append(row)
    return partial.finish([prompt["id"] for prompt in prompts])


def samples_key(model_key: str, dtype: torch.dtype, settings: SamplingSettings,
                stops: Sequence[int] | None = None) -> str:
    """Key of a partial file: what its rows depend on besides the prompts, and their fields."""
    return sha256_of_value([model_key, str(dtype), settings.deciding(), stops, CANDIDATE])


@torch.inference_mode()
def iter_samples(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase,
                 prompts: Sequence[Prompt], settings: SamplingSettings, *,
                 stops: Sequence[int] | None = None,
                 description: str = "sampling") -> Iterator[Row]:
    """Yield each prompt's row when its last answer ends; the longest prompts come first.

    In this order the rows of a batch have similar lengths, and memory is highest at the start.
    """
    requests, truncated = _requests(model, tokenizer, prompts, settings)
    if not requests:
        return
    stops = stop_token_ids(tokenizer) if stops is None else stops
    finished: dict[int, list[Sample]] = {request.index: [] for request in requests}
    slots = sampler_of(model, settings.engine) == "slots"
    with (sampling_mode(model, slots),
          Progress(description, len(requests) * settings.samples, "answer") as progress):
        engine = engine_for(model, settings, stops, requests)
        steps = DecodingSteps(progress.total, settings.max_new_tokens)
        while not engine.idle:
            leave_taken_cores()
            all_ended = engine.step()
            progress.expect(len(all_ended), *steps.after(
                all_ended, [sample for sample in engine.running if sample]))
            for ended in all_ended:
                index = ended.request.index
                finished[index].append(ended)
                if len(finished[index]) == settings.samples:
                    yield _row(tokenizer, prompts[index], finished.pop(index), truncated[index])


@torch.inference_mode()
def generate_stream(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: Prompt,
                    settings: SamplingSettings,
                    stopped: Callable[[], bool] = lambda: False
                    ) -> Iterator[tuple[int, str, bool]]:
    """Yield (sample number, its text so far, whether it was cut at `max_new_tokens`).

    For each answer after each step, until `stopped()`.
    """
    requests, _ = _requests(model, tokenizer, [prompt], settings)
    with sampling_mode(model, sampler_of(model, settings.engine) == "slots"):
        engine = engine_for(model, settings, stop_token_ids(tokenizer), requests)
        while not engine.idle and not stopped():
            ended = engine.step()
            for each in sorted((*ended, *filter(None, engine.running)), key=lambda s: s.number):
                yield each.number, _text(tokenizer, each), each.finish == CUT


def _requests(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase,
              prompts: Sequence[Prompt],
              settings: SamplingSettings) -> tuple[list[SampleRequest], list[bool]]:
    """The prompts as requests, longest first, and for each prompt whether it was cut."""
    check_ids(prompts)
    encoded = [encode_within(tokenizer, prompt, settings.max_prompt_tokens) for prompt in prompts]
    check_context(model.config, prompts, [len(tokens) for tokens, _ in encoded], settings)
    requests = [SampleRequest(prompts[index]["id"], index, tuple(tokens))
                for index, (tokens, _) in enumerate(encoded)]
    requests.sort(key=lambda request: -len(request.tokens))
    return requests, [cut for _, cut in encoded]


def _row(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, samples: list[Sample],
         truncated: bool) -> Row:
    samples = sorted(samples, key=lambda each: each.number)
    return {"id": prompt["id"], "prompt": prompt["prompt"], "source": prompt["source"],
            "prompt_tokens": len(samples[0].request.tokens), "prompt_truncated": truncated,
            "candidates": [_candidate(tokenizer, each) for each in samples]}


def _candidate(tokenizer: PreTrainedTokenizerBase, sample: Sample) -> Row:
    if not isfinite(sample.logprob):
        raise ValueError(f"an answer to {sample.request.id} has a probability that is no number: "
                         "training has ruined the model's weights; train it again, and lower the "
                         "learning rate")
    values = (_text(tokenizer, sample), sample.tokens, len(sample.tokens), sample.finish,
              sample.logprob, sample.sampling_logprob)
    return dict(zip(CANDIDATE, values, strict=True))


def _text(tokenizer: PreTrainedTokenizerBase, sample: Sample) -> str:
    return str(tokenizer.decode(sample.tokens, skip_special_tokens=True))
