"""How long the analysis takes, and how its cost grows with the prompts.

    python tests/bench/analysis.py --prompts 250,500,1000 --systems 12 --judges 3 \
        --resamples 10000 --json

Made-up answers, everything that needs scores alone: the round robin of all pairs by all judges
(win rates, four kinds of interval, tests, Holm, length control), ratings, all pairs of candidates,
sources, agreement of judges. Each number of prompts runs in its own process, so that its peak of
memory is its own. `growth` is the exponent of the seconds between the fewest and the most prompts:
1 is linear, 2 is square; below 1, what does not depend on the prompts still shows.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
SOURCES = ("advice", "coding", "facts", "stories")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    """Measure every number of prompts in turn, print the figures and their growth."""
    options = _options()
    if options.worker:
        print(json.dumps(_measure(options, options.worker)))
        return
    sizes = sorted(int(size) for size in options.prompts.split(","))
    rows = [_in_own_process(size, options.threads) for size in sizes]
    report = {"settings": {key: value for key, value in vars(options).items() if key != "worker"},
              "sizes": rows, "growth": _growth(rows)}
    print(json.dumps(report, indent=2) if options.json else _table(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", default="250,500,1000", help="numbers of prompts")
    parser.add_argument("--systems", type=int, default=12)
    parser.add_argument("--judges", type=int, default=3)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_own_process(size: int, threads: int) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", str(size)]
    environment = os.environ | dict.fromkeys(THREADS, str(threads))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"the run of {size} prompts failed with status {done.returncode}; see above")
    return json.loads(done.stdout.splitlines()[-1])


def _measure(options: argparse.Namespace, prompts: int) -> dict[str, Any]:
    """Seconds of each part, their sum, and the process's peak memory in GB."""
    from lib.analysis.comparisons import all_pairs, win_rates
    from lib.analysis.comparisons.scoreboard import scoreboard
    from lib.analysis.judges import quality as judges

    names = [f"judge {number}" for number in range(options.judges)]
    systems = _answers(prompts, options.systems, names)
    board = scoreboard(systems, names)
    pairs = list(zip(list(systems)[1:], systems, strict=False))
    pools = all_pairs.candidate_board({(name, 0.6): rows for name, rows in systems.items()}, names,
                                      0.6)
    parts: dict[str, Callable[[], object]] = {
        "round_robin": lambda: win_rates.round_robin(board, resamples=options.resamples),
        "ratings": lambda: [win_rates.rate_systems(board, name, resamples=options.resamples)
                            for name in names],
        "all_pairs": lambda: all_pairs.win_rates(pools, pairs),
        "by_source": lambda: all_pairs.win_rates_by_source(pools, pairs),
        "agreement": lambda: judges.judge_agreement(board, pairs)}
    seconds = {name: _seconds(part) for name, part in parts.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"prompts": prompts, "comparisons": options.judges * _pairs(options.systems),
            "seconds": sum(seconds.values()), "parts": seconds, "peak_memory_gb": peak}


def _answers(prompts: int, systems: int, judges: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Response rows of systems that get a little better, one score in a hundred missing."""
    random = np.random.default_rng(0)
    words = random.integers(1, 300, size=(systems, prompts))
    scores = random.normal(np.arange(systems)[:, None, None] / 10, 1,
                           size=(systems, prompts, len(judges))).round(1)
    missing = random.random(scores.shape) < 0.01
    return {f"system {s}": [
        {"id": f"p{p}", "prompt": f"Question {p}?", "source": SOURCES[p % 4], "chosen": 0,
         "candidates": [{"text": f"{s} {p} {'word ' * words[s, p]}", "tokens": int(words[s, p]),
                         "finish": "stop", "rewards": {
                             judge: None if missing[s, p, j] else float(scores[s, p, j])
                             for j, judge in enumerate(judges)}}]}
        for p in range(prompts)] for s in range(systems)}


def _seconds(part: Callable[[], object]) -> float:
    started = time.perf_counter()
    part()
    return time.perf_counter() - started


def _pairs(systems: int) -> int:
    return systems * (systems - 1) // 2


def _growth(rows: list[dict[str, Any]]) -> float | None:
    """Exponent of the seconds in the prompts, from the first size to the last; None for one."""
    first, last = rows[0], rows[-1]
    if first["prompts"] == last["prompts"]:
        return None
    return log(last["seconds"] / first["seconds"]) / log(last["prompts"] / first["prompts"])


def _table(report: dict[str, Any]) -> str:
    lines = [f"{row['prompts']} prompts, {row['comparisons']} comparisons: {row['seconds']:.1f} s ("
             + ", ".join(f"{name} {value:.1f}" for name, value in row["parts"].items())
             + f"), {row['peak_memory_gb']:.2f} GB" for row in report["sizes"]]
    grown = [] if report["growth"] is None else [f"cost grows as prompts^{report['growth']:.2f}"]
    return "\n".join([*lines, *grown])


if __name__ == "__main__":
    main()
