"""Answers sampled from a model: N for each prompt, as text with their log-probabilities.

`sample` returns rows, `sample_to_file` writes them and goes on where an interrupted run stopped,
`generate_stream` shows one prompt's answers while they are written. A row is
`{"id", "prompt", "source", "prompt_tokens", "prompt_truncated", "candidates"}`, a candidate
`{"text", "tokens", "finish", "logprob", "sampling_logprob"}`; `tokens` counts the stop token, and
both log-probabilities (natural, summed) include it: `logprob` under the policy at temperature 1,
`sampling_logprob` under the distribution that was sampled from. Equal seeds give equal text,
whatever the order of the prompts, the number of rows, or the point at which a run was resumed.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.data.chat import stop_token_ids
from lib.inference.engine.decoding import Answer, Engine, Job
from lib.inference.engine.sampling_mode import sampling_mode
from lib.inference.partial_file import PartialFile
from lib.inference.prompts import Prompt, check_context, encode_within
from lib.inference.sampling_settings import SamplingSettings
from lib.runtime.files import Row, sha256_of_value
from lib.runtime.progress import Progress

__all__ = ["Prompt", "SamplingSettings", "generate_stream", "iter_samples", "sample",
           "sample_to_file"]


def sample(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt],
           settings: SamplingSettings, *, stops: Sequence[int] | None = None,
           description: str = "sampling") -> list[Row]:
    """Rows of all prompts, in their order.

    stops: token ids that end an answer; None takes the tokenizer's end of turn and end of text,
    and an empty list none. Raises ValueError for two prompts with one id, or one that is too long.
    """
    rows = {row["id"]: row for row in
            iter_samples(model, tokenizer, prompts, settings, stops=stops, description=description)}
    return [rows[prompt["id"]] for prompt in prompts]


def sample_to_file(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase,
                   prompts: Sequence[Prompt], settings: SamplingSettings, path: Path | str, *,
                   model_key: str, stops: Sequence[int] | None = None,
                   description: str = "sampling") -> list[Row]:
    """`sample` into a JSON Lines file, prompt by prompt; returns its rows.

    Finished prompts are kept in `<path>.partial.jsonl`. A restart samples only the others and ends
    with the same file; what other settings or another model left there is thrown away and said.
    model_key: what tells this model's weights from others', such as their hash.
    """
    partial = PartialFile(path, samples_key(model_key, model.dtype, settings, stops))
    partial.take_over()
    done = {row["id"] for row in partial.rows}
    left = [prompt for prompt in prompts if prompt["id"] not in done]
    for row in iter_samples(model, tokenizer, left, settings, stops=stops, description=description):
        partial.append(row)
    return partial.finish([prompt["id"] for prompt in prompts])


def samples_key(model_key: str, dtype: torch.dtype, settings: SamplingSettings,
                stops: Sequence[int] | None = None) -> str:
    """What the answers depend on besides the prompts, as a partial file is marked with it."""
    return sha256_of_value([model_key, str(dtype), settings.deciding(), stops])


@torch.inference_mode()
def iter_samples(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase,
                 prompts: Sequence[Prompt], settings: SamplingSettings, *,
                 stops: Sequence[int] | None = None,
                 description: str = "sampling") -> Iterator[Row]:
    """Yield a prompt's row when its last answer has ended; longest prompts begin.

    In this order the rows of a batch are about equally wide, and memory is highest at the start.
    """
    jobs, truncated = _jobs(model, tokenizer, prompts, settings)
    if not jobs:
        return
    stops = stop_token_ids(tokenizer) if stops is None else stops
    answers: dict[int, list[Answer]] = {job.index: [] for job in jobs}
    with (sampling_mode(model),
          Progress(description, len(jobs) * settings.samples, "answer") as progress):
        engine = Engine(model, settings, stops, jobs)
        while not engine.idle:
            for answer in engine.step():
                index = answer.job.index
                answers[index].append(answer)
                progress.advance()
                if len(answers[index]) == settings.samples:
                    yield _row(tokenizer, prompts[index], answers.pop(index), truncated[index])


@torch.inference_mode()
def generate_stream(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: Prompt,
                    settings: SamplingSettings,
                    stopped: Callable[[], bool] = lambda: False) -> Iterator[tuple[int, str]]:
    """Yield (sample number, its text so far) for each answer after each step, until `stopped()`."""
    jobs, _ = _jobs(model, tokenizer, [prompt], settings)
    with sampling_mode(model):
        engine = Engine(model, settings, stop_token_ids(tokenizer), jobs)
        while not engine.idle and not stopped():
            ended = engine.step()
            for answer in sorted((*ended, *filter(None, engine.running)), key=lambda a: a.sample):
                yield answer.sample, _text(tokenizer, answer)


def _jobs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt],
          settings: SamplingSettings) -> tuple[list[Job], list[bool]]:
    """The prompts as jobs, longest first, and for each prompt whether it was cut."""
    ids = [prompt["id"] for prompt in prompts]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise ValueError(f"two prompts have the id {twice!r}; give each its own, because seeds and "
                         "resuming go by it")
    encoded = [encode_within(tokenizer, prompt, settings.max_prompt_tokens) for prompt in prompts]
    check_context(model.config, prompts, [len(tokens) for tokens, _ in encoded], settings)
    jobs = [Job(name, index, tuple(tokens))
            for index, (name, (tokens, _)) in enumerate(zip(ids, encoded, strict=True))]
    jobs.sort(key=lambda job: -len(job.tokens))
    return jobs, [cut for _, cut in encoded]


def _row(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, answers: list[Answer],
         truncated: bool) -> Row:
    answers = sorted(answers, key=lambda answer: answer.sample)
    return {"id": prompt["id"], "prompt": prompt["prompt"], "source": prompt["source"],
            "prompt_tokens": len(answers[0].job.tokens), "prompt_truncated": truncated,
            "candidates": [_candidate(tokenizer, answer) for answer in answers]}


def _candidate(tokenizer: PreTrainedTokenizerBase, answer: Answer) -> Row:
    return {"text": _text(tokenizer, answer), "tokens": len(answer.tokens),
            "finish": answer.finish, "logprob": answer.logprob,
            "sampling_logprob": answer.sampling_logprob}


def _text(tokenizer: PreTrainedTokenizerBase, answer: Answer) -> str:
    return tokenizer.decode(answer.tokens, skip_special_tokens=True)
