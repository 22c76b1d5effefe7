"""The rivals' side of `gpu.py`: TRL's trainers, padded and packed, and transformers' `generate`.

TRL gets float32 weights with bf16 autocast, SDPA, fused AdamW and no gradient checkpointing. Where
a whole batch does not fit the GPU, it is split by gradient accumulation, at most into eighths.
"""

import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer

from lib.runtime.files import Row
from lib.training.pairs import Pair
from tests.bench import gpu
from tests.bench.gpu import SAMPLES, Size

SPLITS = (1, 2, 4, 8)  # of a batch, by gradient accumulation


def trl_sft(size: Size, packing: bool) -> Row:
    """Prompts with their chosen answers, padded or packed best-fit into rows of `sft_length`."""
    from trl import SFTConfig, SFTTrainer
    count = (size.warm_up + size.steps) * size.sft_batch
    rows = [{"prompt": gpu.text(pair.prompt), "completion": " " + gpu.text(pair.chosen)}
            for pair in gpu.pairs(3 * count if packing else count, size.sft_length)]

    def trainer(options: dict[str, Any]) -> Trainer:
        config = SFTConfig(max_length=size.sft_length, packing=packing, learning_rate=5e-5,
                           **options)
        return SFTTrainer(_model(size), args=config, train_dataset=Dataset.from_list(rows),
                          processing_class=gpu.tokenizer())
    return _fitting(trainer, size, size.sft_batch) | {"packing": packing}


def trl_dpo(size: Size) -> Row:
    """Pairs, whose two sequences TRL pads; the reference is computed in every step."""
    from trl import DPOConfig, DPOTrainer
    rows = [_texts(pair) for pair in gpu.pairs((size.warm_up + size.steps) * size.dpo_batch,
                                               size.pair_length)]

    def trainer(options: dict[str, Any]) -> Trainer:
        config = DPOConfig(max_length=size.pair_length, beta=0.1, learning_rate=1e-6, **options)
        return DPOTrainer(_model(size), _model(size), args=config, processing_class=gpu.tokenizer(),
                          train_dataset=Dataset.from_list(rows))
    return _fitting(trainer, size, size.dpo_batch)


def _texts(pair: Pair) -> Row:
    return {"prompt": gpu.text(pair.prompt), "chosen": " " + gpu.text(pair.chosen),
            "rejected": " " + gpu.text(pair.rejected)}


def _model(size: Size) -> torch.nn.Module:
    model = gpu.model(size)
    model.set_attn_implementation("sdpa")
    return model


def _fitting(trainer: Callable[[dict[str, Any]], Trainer], size: Size, batch: int) -> Row:
    """The rate with the fewest parts of a batch that fit the memory."""
    for parts in SPLITS:
        options = {"per_device_train_batch_size": max(1, batch // parts),
                   "gradient_accumulation_steps": parts, "max_steps": size.warm_up + size.steps,
                   "bf16": True, "use_cpu": size.device == "cpu", "gradient_checkpointing": False,
                   "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
                   "logging_steps": 1000, "dataloader_pin_memory": size.device == "cuda",
                   "train_sampling_strategy": "sequential"}
        try:
            with tempfile.TemporaryDirectory() as folder:
                return _trained(trainer(options | {"output_dir": folder}), size) | {
                    "batch_parts": parts, "attention": "sdpa",
                    "precision": "bfloat16 autocast, float32 weights"}
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
    return {"error": f"out of memory with a batch in {SPLITS[-1]} parts"}


def _trained(trainer: Trainer, size: Size) -> Row:
    """Tokens, seconds and memory of the steps after the warm-up."""
    counts: list[torch.Tensor] = []
    starts: list[float] = []
    step, warm_up = trainer.training_step, size.warm_up * trainer.args.gradient_accumulation_steps

    def counted(model: torch.nn.Module, inputs: dict[str, torch.Tensor],
                *more: Any, **options: Any) -> torch.Tensor:
        """A step that notes its tokens, and when the first one after the warm-up begins."""
        if len(counts) == warm_up:
            starts.append(_now(size))
            if size.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
        real = inputs.get("attention_mask")
        counts.append(torch.tensor(inputs["input_ids"].numel()) if real is None else real.sum())
        return step(model, inputs, *more, **options)
    trainer.training_step = counted
    trainer.train()
    seconds = _now(size) - starts[0]
    tokens = sum(int(count) for count in counts[warm_up:])
    return {"tokens_per_second": tokens / seconds, "seconds": seconds, "tokens": tokens,
            "peak_gb": gpu.peak_memory_gb(torch.device(size.device))}


def _now(size: Size) -> float:
    if size.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def generate(number: int, size: Size) -> Row:
    """One batch of `generate` in bf16 with the prompts of our sampling, padded on the left."""
    model, tokenizer = gpu.model(size).to(torch.bfloat16).eval(), gpu.tokenizer()
    model.set_attn_implementation("sdpa")
    tokenizer.padding_side = "left"
    prompts = gpu.pairs(size.prompts[number], size.prompt_length)
    batch = tokenizer.pad({"input_ids": [list(pair.prompt) for pair in prompts]},
                          return_tensors="pt").to(size.device)

    def run(new_tokens: int) -> int:
        out = model.generate(**batch, do_sample=True, temperature=0.6, top_k=50,
                             num_return_sequences=SAMPLES, max_new_tokens=new_tokens,
                             pad_token_id=0)
        return out.shape[0] * (out.shape[1] - batch["input_ids"].shape[1])
    run(2)
    tokens, seconds = gpu.timed(lambda: run(size.new_tokens), size)
    return {"tokens_per_second": tokens / seconds, "seconds": seconds, "tokens": tokens,
            "rows": len(prompts) * SAMPLES,
            "peak_gb": gpu.peak_memory_gb(torch.device(size.device))}


PARTS = {
    "trl": {"trl sft padded": lambda size: trl_sft(size, packing=False),
            "trl sft packed": lambda size: trl_sft(size, packing=True), "trl dpo": trl_dpo},
    "generate": {"generate small": lambda size: generate(0, size),
                 "generate large": lambda size: generate(1, size)},
}
