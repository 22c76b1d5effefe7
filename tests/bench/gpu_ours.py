"""This study's side of `gpu.py`: packed SFT and DPO, sampling with replayed passes."""

import tempfile
from pathlib import Path

import torch

from lib.inference.sampling import SamplingSettings, sample
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.logps import response_logps
from lib.modeling.packed.masks import block_mask
from lib.runtime.files import Row
from lib.training.dpo import DPOObjective
from lib.training.loop import Loop, Run
from lib.training.objective import Objective
from lib.training.reference import reference_logps
from lib.training.settings import DPOSettings, SFTSettings, TrainingSettings
from lib.training.sft import SFTObjective
from tests.bench import gpu
from tests.bench.gpu import SAMPLES, Size


def sft(size: Size) -> Row:
    """Conversations packed into rows."""
    sequences = gpu.conversations((size.warm_up + size.steps) * size.sft_batch, size.sft_length)
    objective = SFTObjective(sequences, size.token_budget)
    with tempfile.TemporaryDirectory() as folder:
        loop, compiling = _loop(objective, _settings(SFTSettings, size, size.sft_batch), size,
                                Path(folder))
        _, seconds = gpu.timed(lambda: _steps(loop, size.steps), size)
    timed = [example for batch in loop.batches[size.warm_up:] for example in batch]
    tokens = objective.tokens(timed)
    return gpu.training_result(loop.run.model, size, seconds, tokens, tokens,
                               int(objective.weight(timed)), reference=False,
                               **_described(loop, compiling))


def dpo(size: Size) -> Row:
    """Pairs that share their prompt; the time includes the reference's log-probabilities."""
    pairs = gpu.pairs((size.warm_up + size.steps) * size.dpo_batch, size.pair_length)
    settings = _settings(DPOSettings, size, size.dpo_batch)
    objective = DPOObjective(pairs, torch.zeros(len(pairs), 2), settings)
    with tempfile.TemporaryDirectory() as folder:
        loop, compiling = _loop(objective, settings, size, Path(folder))
        batches = loop.batches[size.warm_up:]

        def reference(batches: list[list[int]]) -> None:
            examples = [example for batch in batches for example in batch]
            steps = [list(range(i, i + size.dpo_batch))
                     for i in range(0, len(examples), size.dpo_batch)]
            objective.reference[examples] = reference_logps(
                loop.run.model, [pairs[i] for i in examples], steps, size.token_budget, "bench",
                Path(folder) / f"reference_{len(batches)}.jsonl", loop.run.device)
        reference(loop.batches[:size.warm_up])
        _, before = gpu.timed(lambda: reference(batches), size)
        _, seconds = gpu.timed(lambda: _steps(loop, size.steps), size)
    timed = [pairs[i] for batch in batches for i in batch]
    responses = sum(len(pair.chosen) + len(pair.rejected) for pair in timed)
    prompts = sum(len(pair.prompt) for pair in timed)
    return gpu.training_result(loop.run.model, size, before + seconds, 2 * prompts + responses,
                               prompts + responses, responses, reference=True,
                               reference_seconds=before, **_described(loop, compiling))


def row_by_part(size: Size) -> Row:
    """Seconds of the parts of one full packed row, after a warm-up; prints its kernels."""
    pairs = gpu.pairs(256, size.pair_length)
    settings = _settings(DPOSettings, size, 256)
    objective = DPOObjective(pairs, torch.zeros(len(pairs), 2), settings)
    model, device = gpu.model(size), torch.device(size.device)
    use_packed_attention(model)
    model.to(torch.bfloat16)
    rows, packing = gpu.timed(lambda: objective.rows(range(256), device), size)
    batch = rows[0].batch
    _, mask = gpu.timed(lambda: block_mask(batch.layout, None, device), size)

    def forward() -> torch.Tensor:
        return response_logps(model, batch).sum()
    forward().backward()
    with torch.no_grad():
        _, scored = gpu.timed(forward, size)
    loss, forwards = gpu.timed(forward, size)
    _, backwards = gpu.timed(loss.backward, size)
    with torch.profiler.profile() as profile:
        forward().backward()
    print(profile.key_averages().table(sort_by="self_device_time_total", row_limit=45,
                                       max_name_column_width=60))
    return {"tokens": batch.tokens, "packing_a_row": packing / len(rows), "block_mask": mask,
            "forward_without_gradient": scored, "forward": forwards, "backward": backwards}


def _settings(kind: type[TrainingSettings], size: Size, batch: int) -> TrainingSettings:
    return kind(batch_size=batch, token_budget=size.token_budget, checkpoint_every=0,
                warmup_share=0.0)


def _loop(objective: Objective, settings: TrainingSettings, size: Size,
          folder: Path) -> tuple[Loop, float]:
    """A loop in bf16 after its warm-up steps, and what they took."""
    model, device = gpu.model(size), torch.device(size.device)
    use_packed_attention(model)
    loop = Loop(Run(model, objective, None, settings, folder, 0, device, torch.bfloat16))
    _, seconds = gpu.timed(lambda: _steps(loop, size.warm_up), size)
    if size.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    return loop, seconds


def _steps(loop: Loop, count: int) -> None:
    for _ in range(count):
        loop._optimizer_step(loop.batches[loop.step])
        loop.step += 1


def _described(loop: Loop, warm_up: float) -> Row:
    attention = loop.run.model.config._attn_implementation
    return {"attention": attention, "precision": "bfloat16, float32 masters",
            "warm_up_seconds": warm_up,
            "compiled_graphs": torch._dynamo.utils.counters["stats"]["unique_graphs"]}


def sampling(number: int, size: Size) -> Row:
    """All answers to a set of prompts, none of which stops early."""
    model, tokenizer = gpu.model(size).to(torch.bfloat16).eval(), gpu.tokenizer()
    count = size.prompts[number]
    prompts = [{"id": pair.id, "prompt": gpu.text(pair.prompt), "source": "bench"}
               for pair in gpu.pairs(count, size.prompt_length)]

    def run(new_tokens: int) -> int:
        settings = SamplingSettings(samples=SAMPLES, max_new_tokens=new_tokens,
                                    rows=count * SAMPLES)
        rows = sample(model, tokenizer, prompts, settings, stops=[])
        return sum(answer["tokens"] for row in rows for answer in row["candidates"])
    run(2)
    _, first = gpu.timed(lambda: run(1), size)
    tokens, seconds = gpu.timed(lambda: run(size.new_tokens), size)
    return {"tokens_per_second": tokens / seconds, "seconds": seconds, "tokens": tokens,
            "rows": count * SAMPLES, "seconds_of_prompts_and_one_token": first,
            "seconds_a_further_token": (seconds - first) / max(1, size.new_tokens - 1),
            "peak_gb": gpu.peak_memory_gb(torch.device(size.device))}


PARTS = {
    "training": {"sft": sft, "dpo": dpo},
    "row": {"one row": row_by_part},
    "sampling": {"sampling small": lambda size: sampling(0, size),
                 "sampling large": lambda size: sampling(1, size)},
}
