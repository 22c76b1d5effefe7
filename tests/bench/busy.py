"""How much of its speed the study keeps beside another program that takes a core.

    python tests/bench/busy.py --work sft --json    # or sampling; --waiting active: as it was

One process trains or samples in short bursts, by turns alone and beside one process that spins, so
that a change of the machine's load in between hits both. The rates are medians over the bursts; the
ratio is the share of the undisturbed rate that remains. A fair share of two cores for two threads
beside a third is .67.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.bench.machine import OPENMPS_OWN  # noqa: E402

SPIN = [sys.executable, "-c", "while True: pass"]
Burst = Callable[[], int]


def main() -> None:
    """Measure by turns and print one JSON object, or lines for people without --json."""
    options = _options()
    if options.worker:
        _work(options)
        return
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    if options.waiting == "active":
        environment |= OPENMPS_OWN
    worker = subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--worker"], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    _rate(worker)  # the first burst warms up
    rates: dict[str, list[float]] = {"alone": [], "beside": []}
    for _ in range(options.rounds):
        rates["alone"].append(_rate(worker))
        spinning = subprocess.Popen(SPIN)
        try:
            rates["beside"].append(_rate(worker))
        finally:
            spinning.kill()
            spinning.wait()
    worker.stdin.close()
    worker.wait()
    _report(options, rates)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=tuple(WORKS), default="sft")
    parser.add_argument("--rounds", type=int, default=4, help="bursts alone, and as many beside")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a burst, at least")
    parser.add_argument("--threads", type=int, default=0, help="0: as PyTorch chooses")
    parser.add_argument("--waiting", choices=("brief", "active"), default="brief",
                        help="brief: as the study computes; active: with all threads, which "
                        "wait in a loop, as without lib/__init__.py and lib/runtime/threads.py")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _rate(worker: subprocess.Popen) -> float:
    """Tokens a second of one burst."""
    worker.stdin.write("burst\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def _work(options: argparse.Namespace) -> None:
    """A burst for each line of standard input; the rate of each as a line of standard output."""
    out, sys.stdout = sys.stdout, sys.stderr  # progress must not mix with the rates
    import torch

    from lib.runtime.threads import WATCH
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.waiting == "active":
        WATCH.look = lambda: None
    threads, burst = torch.get_num_threads(), WORKS[options.work](options)
    for _ in sys.stdin:
        torch.set_num_threads(threads)
        WATCH.set = 0  # it begins anew: what others did since the last burst says nothing
        started, tokens = time.perf_counter(), 0
        while time.perf_counter() - started < options.seconds:
            tokens += burst()
        print(tokens / (time.perf_counter() - started), file=out, flush=True)


def _sft(options: argparse.Namespace) -> Burst:
    """Forward and backward passes over one packed row of 256 tokens, as the loop makes them."""
    import torch

    from lib.modeling.loading import load_model, load_tokenizer
    from lib.modeling.packed.lean_activations import recompute_norms_and_mlps
    from lib.runtime.files import read_jsonl
    from lib.runtime.threads import leave_taken_cores
    from lib.training.objective import RowLoss
    from lib.training.sft import SFTObjective, encode_sft
    model = load_model("packaged", getattr(torch, options.precision))
    recompute_norms_and_mlps(model)
    rows = read_jsonl(ROOT / "data" / "sample" / "sft.jsonl")[:16]
    objective = SFTObjective(encode_sft(rows, load_tokenizer("packaged"), 256), 256)
    row = objective.rows(range(len(rows)), torch.device("cpu"))[0]
    loss_of = RowLoss(model)

    def burst() -> int:
        """One row; its tokens."""
        leave_taken_cores()
        loss_of(objective, row)[0].backward()
        model.zero_grad()
        return row.batch.tokens
    return burst


def _sampling(options: argparse.Namespace) -> Burst:
    """64 answers of 16 tokens to eight prompts."""
    import torch

    from lib.inference.sampling import SamplingSettings, sample
    from lib.modeling.loading import load_model, load_tokenizer
    from lib.runtime.files import read_jsonl
    model = load_model("packaged", getattr(torch, options.precision))
    tokenizer = load_tokenizer("packaged")
    prompts = read_jsonl(ROOT / "data" / "sample" / "heldout.jsonl")[:8]
    settings = SamplingSettings(samples=8, temperature=0.6, top_k=50, max_new_tokens=16, rows=64)

    def burst() -> int:
        """One call; its tokens."""
        rows = sample(model, tokenizer, prompts, settings, stops=[])
        return sum(answer["tokens"] for row in rows for answer in row["candidates"])
    return burst


WORKS: dict[str, Callable[[argparse.Namespace], Burst]] = {"sft": _sft, "sampling": _sampling}


def _report(options: argparse.Namespace, rates: dict[str, list[float]]) -> None:
    middle = {name: statistics.median(values) for name, values in rates.items()}
    result: dict[str, Any] = {
        "work": options.work, "waiting": options.waiting, "threads": options.threads,
        "cores": os.cpu_count(), "load_before": os.getloadavg(), "rates": rates,
        "tokens_per_second": middle, "remains": middle["beside"] / middle["alone"]}
    print(json.dumps(result) if options.json else "\n".join(
        f"{name}: {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
