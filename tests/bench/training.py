"""Training speed and memory of this study against TRL, on the same rows, model and threads.

    python tests/bench/training.py --data pairs.jsonl.gz --stage dpo --steps 5 --batch 4 \
        --max-length 512 --precision bf16 --rival trl --json

Each side runs in a process of its own, one after the other. Tokens are real ones, a pair's prompt
counted in both of its sequences for both sides; our time includes the reference log-probabilities,
which TRL computes inside its step. Loading and tokenising are left out on both sides. TRL trains in
each mode that it has (SFT: padded, and packed by best fit; DPO: padded, it has no other), and the
faster one is compared. Seconds are of the clock and of the processor: a neighbour on the machine
hardly moves the latter, which compare best with --threads 1.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from lib.data.curation import curate
from lib.data.formats import read_rows
from lib.data.parquet import to_trl
from lib.data.schema import convert, preference_row, sft_row
from lib.modeling.loading import load_model, load_tokenizer, resolve_model
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.packing import pack
from lib.runtime.devices import peak_memory_gb
from lib.training.dpo import DPOObjective
from lib.training.loop import Loop, Run
from lib.training.pairs import encode_pairs
from lib.training.reference import reference_logps
from lib.training.settings import DPOSettings, SFTSettings
from lib.training.sft import SFTObjective, encode_sft
from tests.bench.machine import machine, rivals_environment, versions

RANDOM = "random-qwen2.5-0.5b"
MODES = {"sft": ("padded", "packed"), "dpo": ("padded",)}  # TRL's
BATCH = ("per_device_train_batch_size", "gradient_accumulation_steps")
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def main() -> None:
    """Run one or both sides and print one JSON object, or lines for people without --json."""
    options = _options()
    if options.worker:
        mode = options.worker.removeprefix("trl ")
        print(json.dumps(_ours(options) if mode == "ours" else _trl(options, mode)))
        return
    result: dict[str, Any] = {
        "stage": options.stage, "steps": options.steps, "batch": options.batch,
        "max_length": options.max_length, "precision": options.precision,
        "threads": options.threads, "model": options.model, "token_budget": options.token_budget,
        "machine": machine(), "versions": versions("torch", "transformers"), "ours": _side("ours")}
    if options.rival == "trl":
        result["versions"] |= versions("trl", "accelerate")
        modes = [_side(f"trl {mode}") for mode in MODES[options.stage]]
        fastest = max(modes, key=lambda side: side["tokens_per_cpu_second"])
        result |= {"trl": fastest, "trl_modes": modes} | _ratios(result["ours"], fastest)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name}: {value}")


def _ratios(ours: dict[str, Any], rival: dict[str, Any]) -> dict[str, float]:
    """Ours by the rival's: tokens a second, tokens a processor's second, peak memory."""
    return {"speedup": ours["tokens_per_second"] / rival["tokens_per_second"],
            "cpu_speedup": ours["tokens_per_cpu_second"] / rival["tokens_per_cpu_second"],
            "memory_ratio": ours["peak_rss_gb"] / rival["peak_rss_gb"]}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="pairs or conversations, JSONL, maybe .gz")
    parser.add_argument("--stage", choices=("sft", "dpo"), default="dpo")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4, help="pairs or sequences a step")
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16")
    parser.add_argument("--rival", choices=("trl", "none"), default="trl")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--model", default="packaged", help=f"packaged, {RANDOM}, a folder, an id")
    parser.add_argument("--token-budget", type=int, help="of our packed rows; default: one "
                        "longest sequence (sft) or two (dpo)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.token_budget = options.token_budget or options.max_length * (
        2 if options.stage == "dpo" else 1)
    torch.set_num_threads(options.threads)
    return options


def _side(name: str) -> dict[str, Any]:
    """Run this script again as one side; its last line is the result."""
    done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--worker", name],
                          stdout=subprocess.PIPE, text=True, check=True,
                          env=None if name == "ours" else rivals_environment())
    return json.loads(done.stdout.strip().splitlines()[-1])


def _rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The first steps * batch usable rows; pairs serve SFT as prompt and chosen answer."""
    tokenizer = load_tokenizer(_named(options))
    raw = read_rows(options.data)
    if "chosen" in raw[0]:
        rows, _ = curate(convert(raw, preference_row, options.data), tokenizer,
                                     options.max_length)
    else:
        rows, _ = curate(convert(raw, sft_row, options.data), tokenizer, options.max_length)
    needed = options.steps * options.batch
    if len(rows) < needed:
        raise SystemExit(f"{options.data} has {len(rows)} usable rows; {needed} are needed")
    return rows[:needed]


def _named(options: argparse.Namespace) -> str:
    return "packaged" if options.model == RANDOM else options.model  # its tokenizer will do


def _conversation(row: dict[str, Any]) -> dict[str, Any]:
    if "messages" in row:
        return row
    return {"messages": [*row["prompt"], {"role": "assistant", "content": row["chosen"]}]}


def _model(options: argparse.Namespace) -> PreTrainedModel:
    if options.model != RANDOM:
        return load_model(options.model, torch.float32, options.device)
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=151_936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
        num_attention_heads=14, num_key_value_heads=2, tie_word_embeddings=True,
        max_position_embeddings=32_768, rope_parameters={"rope_type": "default",
                                                         "rope_theta": 1e6}))
    model.to(options.device)
    use_packed_attention(model)
    return model


def _ours(options: argparse.Namespace) -> dict[str, Any]:
    tokenizer, model, rows = load_tokenizer(_named(options)), _model(options), _rows(options)
    device, dtype = torch.device(options.device), getattr(torch, PRECISIONS[options.precision])
    shared = {"batch_size": options.batch, "token_budget": options.token_budget,
              "checkpoint_every": 0, "warmup_share": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        if options.stage == "sft":
            settings = SFTSettings(**shared)
            objective = SFTObjective(encode_sft([_conversation(row) for row in rows], tokenizer,
                                                options.max_length), options.token_budget)
        else:
            settings = DPOSettings(**shared)
            pairs = encode_pairs(rows, tokenizer, options.max_length)
            objective = DPOObjective(pairs, torch.zeros(len(pairs), 2), settings)
        objective.groups = [[index] for index in range(len(rows))]
        loop = Loop(Run(model, objective, None, settings, Path(folder), 0, device, dtype))
        loop.batches = [list(range(i, i + options.batch))
                        for i in range(0, len(rows), options.batch)]  # the rows' own order
        clock = Clock()
        if options.stage == "dpo":
            objective.reference = reference_logps(
                model, objective.pairs, loop.batches, options.token_budget, "bench",
                Path(folder) / "reference.jsonl", device)
        steps = [_step(loop) for _ in range(options.steps)]
        seconds = clock.seconds()
    tokens = objective.tokens(range(len(rows)))
    return _result(options, tokens, seconds, [step["loss"] for step in steps],
                   {"mode": "packed", "updates": options.steps,
                    "computed_tokens": sum(step["computed_tokens"] for step in steps)})


def _step(loop: Loop) -> dict[str, float]:
    metrics = loop._optimizer_step(loop.batches[loop.step])
    loop.step += 1
    return metrics


def _trl(options: argparse.Namespace, mode: str) -> dict[str, Any]:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
    rows = _rows(options)
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(_named(options)))
    model = _model(options) if options.model == RANDOM else AutoModelForCausalLM.from_pretrained(
        resolve_model(options.model), dtype=torch.float32)
    model.set_attn_implementation("sdpa")
    with tempfile.TemporaryDirectory() as folder:
        shared = {"output_dir": folder, "num_train_epochs": 1, "max_length": options.max_length,
                  "bf16": options.precision == "bf16", "fp16": options.precision == "fp16",
                  "use_cpu": options.device == "cpu", "gradient_checkpointing": False,
                  "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
                  "train_sampling_strategy": "sequential", "dataloader_pin_memory": False,
                  "logging_steps": 1} | _batches(options, rows, mode)
        if options.stage == "sft":
            data = Dataset.from_list([
                {"prompt": messages[:-1], "completion": messages[-1:]}
                for messages in (_conversation(row)["messages"] for row in rows)])
            trainer = SFTTrainer(model, args=SFTConfig(learning_rate=5e-5,
                                                       packing=mode == "packed", **shared),
                                 train_dataset=data, processing_class=tokenizer)
        else:
            data = Dataset.from_list([{key: row[key] for key in ("prompt", "chosen", "rejected")}
                                      for row in to_trl(rows)])
            trainer = DPOTrainer(model, args=DPOConfig(learning_rate=1e-6, beta=0.1, **shared),
                                 train_dataset=data, processing_class=tokenizer)
        clock = Clock()
        trainer.train()
        seconds = clock.seconds()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return _result(options, _tokens(options, rows), seconds, losses,
                   {"mode": mode, "updates": trainer.state.global_step}
                   | {key: shared[key] for key in BATCH})


def _batches(options: argparse.Namespace, rows: list[dict[str, Any]], mode: str) -> dict[str, int]:
    """Batch settings for one pass over all rows in about as many updates as ours.

    Packed: one row of max_length tokens at once, which takes the least memory.
    """
    if mode == "padded":
        return dict(zip(BATCH, (options.batch, 1), strict=True))
    tokenizer = load_tokenizer(_named(options))
    lengths = list(map(len, encode_sft([_conversation(row) for row in rows], tokenizer,
                                       options.max_length)))
    packed = len(pack(lengths, options.max_length))
    return dict(zip(BATCH, (1, -(-packed // options.steps)), strict=True))


class Clock:
    """Seconds of the clock and of the processor since it was made."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def seconds(self) -> tuple[float, float]:
        """(Clock, processor, all its threads)."""
        return time.perf_counter() - self.began[0], time.process_time() - self.began[1]


def _tokens(options: argparse.Namespace, rows: list[dict[str, Any]]) -> int:
    """Real tokens of the rows, counted as for our side."""
    tokenizer = load_tokenizer(_named(options))
    if options.stage == "sft":
        conversations = [_conversation(row) for row in rows]
        return sum(map(len, encode_sft(conversations, tokenizer, options.max_length)))
    pairs = encode_pairs(rows, tokenizer, options.max_length)
    return sum(2 * len(pair.prompt) + len(pair.chosen) + len(pair.rejected) for pair in pairs)


def _result(options: argparse.Namespace, tokens: int, seconds: tuple[float, float],
            losses: list[float], more: dict[str, Any]) -> dict[str, Any]:
    gpu = {"peak_gpu_gb": peak_memory_gb(torch.device("cuda"))} if options.device == "cuda" else {}
    return {"tokens": tokens, "seconds": seconds[0], "tokens_per_second": tokens / seconds[0],
            "cpu_seconds": seconds[1], "tokens_per_cpu_second": tokens / seconds[1],
            "peak_rss_gb": peak_memory_gb(), "losses": losses} | more | gpu


if __name__ == "__main__":
    main()
