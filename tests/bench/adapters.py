"""LoRA beside full fine-tuning: trained parameters, peak memory, speed and validation accuracy.

    python tests/bench/adapters.py --model runs/laptop/sft/model --pairs 96 --json

DPO on the same pairs of the sample in the same order, each way in a process of its own. LoRA gets
ten times the rate. Accuracy is that of the implicit rewards on pairs of other prompts. --json
prints what figures/bench/adapters.json holds, instead of the table.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from lib.analysis.policies.displacement import reward_accuracy
from lib.analysis.tables.formatting import interval_of, markdown_table
from lib.data.parquet import write_parquet
from lib.data.schema import prompt_text
from lib.data.settings import DataSettings
from lib.data.sources import load_preferences
from lib.modeling.loading import load_model
from lib.modeling.lora import with_lora
from lib.runtime.devices import choose_device, peak_memory_gb
from lib.runtime.files import Row, read_jsonl
from lib.training.dpo import train_dpo
from lib.training.job import Job
from lib.training.settings import DPOSettings
from tests.bench.machine import machine, versions

WAYS: dict[str, dict[str, Any]] = {
    "all weights": {}, "LoRA, every linear layer": {"lora_rank": 16},
    "LoRA, attention": {"lora_rank": 16, "lora_targets": ["attention"]}}
FASTER = 10  # LoRA's rate over that of all weights


def main() -> None:
    """Train every way and print a table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="packaged", help="a folder, a hub id, or packaged")
    parser.add_argument("--pairs", type=int, default=96, help="to train on; half as many validate")
    parser.add_argument("--rate", type=float, default=2e-5, help="of all weights")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(trained(options, options.way)))
        return
    rows = []
    for way in WAYS:
        done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--way", way],
                              stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
    print(json.dumps({"machine": machine(), "versions": versions("torch", "transformers"),
                      "settings": {"model": options.model, "pairs": options.pairs,
                                   "rate": options.rate},
                      "ways": rows}) if options.json else ways_table(rows))


def ways_table(rows: Sequence[Row]) -> str:
    """A row for every way to train, as Markdown."""
    return markdown_table(rows, {
        "trained": "way", "parameters": "parameters", "rate": "rate", "peak GB": "peak_gb",
        "tokens/s": "tokens_per_second", "validation accuracy [95 %]": interval_of("accuracy"),
        "n": "n"})


def trained(options: argparse.Namespace, way: str) -> dict[str, Any]:
    """Train one way; its row."""
    rate = options.rate * (FASTER if WAYS[way] else 1)
    settings = DPOSettings(learning_rate=rate, batch_size=8, token_budget=1024,
                           checkpoint_every=0, **WAYS[way])
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pairs(Path(folder), options.pairs)
        job = Job("dpo", options.model, *map(str, (paths[0], Path(folder) / "dpo", paths[1])),
                  settings=settings, device=options.device)
        started = time.perf_counter()
        train_dpo(job)
        seconds = time.perf_counter() - started
        accuracy = reward_accuracy(read_jsonl(Path(folder) / "dpo" / "validation_rewards.jsonl"))
        tokens = max(row.get("num_tokens", 0)
                     for row in read_jsonl(Path(folder) / "dpo" / "metrics.jsonl"))
    return {"way": way, "parameters": parameters(options.model, settings), "rate": f"{rate:.0e}",
            "peak_gb": peak_memory_gb(choose_device(options.device).device),
            "tokens_per_second": tokens / seconds, **accuracy}


def write_pairs(folder: Path, count: int) -> tuple[Path, Path]:
    """Files of `count` training pairs and half as many of other prompts."""
    rows = load_preferences(DataSettings(preference_rows=3 * count), 0)
    held = list(dict.fromkeys(map(prompt_text, rows)))[::3]
    training = [row for row in rows if prompt_text(row) not in held][:count]
    validation = [row for row in rows if prompt_text(row) in held][:count // 2]
    paths = folder / "training.parquet", folder / "validation.parquet"
    for path, part in zip(paths, (training, validation), strict=True):
        write_parquet(part, path)
    return paths


def parameters(name: str, settings: DPOSettings) -> int:
    """Parameters that have gradients."""
    model = load_model(name)
    if settings.lora_rank:
        model = with_lora(model, settings.lora_rank, settings.lora_alpha, settings.lora_targets)
    return sum(each.numel() for each in model.parameters() if each.requires_grad)


if __name__ == "__main__":
    main()
