"""How fast sampling is beside `generate`, OpenVINO GenAI, vLLM or llama.cpp, where installed.

    python tests/bench/sampling.py --prompts 16 --samples 4 --new-tokens 128 --precision bf16 \
        --rival transformers --json

Each engine runs in its own process, in turn, on the same model, prompts and threads. Stops are off
unless `--natural-stops` is given, so that all make exactly the same number of tokens; with stops
only an answer's own tokens count, its stop token included. Memory is the process's peak. Tokens per
CPU second count all threads of the process; a busy machine hardly moves them. What an engine does
once before its first token (OpenVINO converts and compiles the model) is `preparing_cpu_seconds`;
the rates leave it out, except `tokens_per_cpu_second_prepared`.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.machine import machine, rivals_environment  # noqa: E402
from tests.bench.sampling_rivals import PACKAGES, TEMPERATURE, TOP_K, need  # noqa: E402

Measure = Callable[[argparse.Namespace], dict[str, Any]]


def main() -> None:
    """Measure ours and the rival in turn, print the comparison."""
    options = _options()
    if options.worker:
        print(json.dumps(WORKERS[options.worker](options)))
        return
    rivals = [] if options.rival == "none" else [options.rival]
    if options.rival in PACKAGES:
        need(options.rival)
    results = {}
    for _ in range(options.repeats):  # in turn, so that a busy minute hits both
        for engine in ("ours", *rivals):
            result = _in_own_process(engine)
            best = results.get(engine)
            if best is None or result["tokens_per_second"] > best["tokens_per_second"]:
                results[engine] = result
    report = {"settings": {key: value for key, value in vars(options).items() if key != "worker"},
              "machine": machine(), "engines": results}
    if rivals:
        ours, rival = results["ours"], results[rivals[0]]
        report["speedup"] = ours["tokens_per_second"] / rival["tokens_per_second"]
        for key in ("", "_prepared"):
            rates = [side["tokens_per_cpu_second" + key] for side in (ours, rival)]
            report["cpu_speedup" + key] = rates[0] / rates[1]
        report["memory_ratio"] = ours["peak_memory_gb"] / rival["peak_memory_gb"]
    print(json.dumps(report, indent=2) if options.json else _table(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--precision", choices=("bf16", "fp32", "fp16"), default="bf16")
    parser.add_argument("--rival", default="transformers",
                        choices=("transformers", "llama.cpp", "openvino", "vllm", "none"))
    parser.add_argument("--engine", choices=("own", "openvino"), default="own",
                        help="sampling.engine of our side")
    parser.add_argument("--natural-stops", action="store_true", help="let answers end")
    parser.add_argument("--rows", type=int, default=64, help="rows of a batch, for both")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1, help="runs of each engine; best counts")
    parser.add_argument("--model", default="", help="model folder; default: the packaged SmolLM2")
    parser.add_argument("--gguf", default="", help="for llama.cpp and openvino")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", choices=tuple(WORKERS), help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_own_process(engine: str) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", engine]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False,
                          env=None if engine == "ours" else rivals_environment())
    if done.returncode:
        sys.exit(f"the run of {engine} failed with status {done.returncode}; see above")
    return json.loads(done.stdout.splitlines()[-1])


def _ours(options: argparse.Namespace) -> dict[str, Any]:
    from lib.inference.engine import openvino_engine
    from lib.inference.engine.load_check import sampler_of
    from lib.inference.sampling import SamplingSettings, sample

    model, tokenizer, prompts = _loaded(options)
    settings = SamplingSettings(samples=options.samples, temperature=TEMPERATURE, top_k=TOP_K,
                                max_new_tokens=options.new_tokens, rows=options.rows,
                                engine=options.engine)
    stops = None if options.natural_stops else []
    sampler_of(model, options.engine)  # its trial is part of loading
    mode: dict[str, Any] = {"engine": options.engine}
    if options.engine == "openvino":
        started = time.process_time()
        converted = openvino_engine.PagedModel(model)
        mode["preparing_cpu_seconds"] = time.process_time() - started
        openvino_engine.PagedModel = lambda _model: converted

    def run() -> list[int]:
        rows = sample(model, tokenizer, prompts, settings, stops=stops)
        return [answer["tokens"] for row in rows for answer in row["candidates"]]

    packages = ["torch", *(["openvino"] if options.engine == "openvino" else [])]
    return _timed(run, mode | _versions(*packages))


def _transformers(options: argparse.Namespace) -> dict[str, Any]:
    """`generate` used well: full batches, left padding, short prompts together, no extra copies."""
    import torch

    from lib.data.chat import encode_prompt, stop_token_ids
    from lib.inference.prompts import messages_of

    model, tokenizer, prompts = _loaded(options)
    model.set_attn_implementation("sdpa")
    encoded = sorted((encode_prompt(tokenizer, messages_of(prompt)) for prompt in prompts), key=len)
    stops = stop_token_ids(tokenizer) if options.natural_stops else []
    model.generation_config.eos_token_id = stops or None
    tokenizer.padding_side = "left"
    at_once = max(1, options.rows // options.samples)

    def run() -> list[int]:
        counts = []
        for begin in range(0, len(encoded), at_once):
            batch = tokenizer.pad({"input_ids": encoded[begin:begin + at_once]},
                                  return_tensors="pt").to(model.device)
            torch.manual_seed(0)
            out = model.generate(**batch, do_sample=True, temperature=TEMPERATURE, top_k=TOP_K,
                                 num_return_sequences=options.samples,
                                 max_new_tokens=options.new_tokens,
                                 pad_token_id=tokenizer.pad_token_id)
            new = out[:, batch["input_ids"].shape[1]:].tolist()
            counts += [_own_tokens(tokens, stops) for tokens in new]
        return counts

    return _timed(run, {"attention": "sdpa", "rows": options.rows}
                  | _versions("torch", "transformers"))


def _rival(options: argparse.Namespace) -> dict[str, Any]:
    """One of `sampling_rivals`, on the same prompts, as token ids."""
    from lib.data.chat import encode_prompt, stop_token_ids
    from lib.inference.prompts import messages_of
    from tests.bench import sampling_rivals

    need(options.worker)
    _, tokenizer, prompts = _loaded(options, weights=False)
    encoded = [encode_prompt(tokenizer, messages_of(prompt)) for prompt in prompts]
    stops = stop_token_ids(tokenizer) if options.natural_stops else []
    prepare = getattr(sampling_rivals, options.worker.replace(".", "_"))
    run, mode = prepare(options, encoded, stops)
    return _timed(run, mode | _versions(PACKAGES[options.worker][1]))


WORKERS: dict[str, Measure] = {"ours": _ours, "transformers": _transformers,
                               "llama.cpp": _rival, "openvino": _rival, "vllm": _rival}


def _own_tokens(tokens: Sequence[int], stops: Sequence[int]) -> int:
    """Tokens of a row up to its first stop token, that one included; the rest is padding."""
    return next((place for place, token in enumerate(tokens, start=1) if token in stops),
                len(tokens))


def _loaded(options: argparse.Namespace, weights: bool = True) -> tuple:
    """Model, tokenizer, and the first held-out prompts of the sample, in turn if too few."""
    import torch

    from lib.modeling.loading import load_model, load_tokenizer
    from lib.modeling.packaged import packaged_model
    from lib.runtime.files import read_jsonl

    torch.set_num_threads(options.threads)
    name = options.model or str(packaged_model())
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp16": torch.float16}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(name, dtype[options.precision], device).eval() if weights else None
    heldout = read_jsonl(ROOT / "data" / "sample" / "heldout.jsonl")
    prompts = [heldout[number % len(heldout)] | {"id": str(number)}
               for number in range(options.prompts)]
    return model, load_tokenizer(name), prompts


def _versions(*packages: str) -> dict[str, Any]:
    return {"versions": {package: version(package) for package in packages}}


def _timed(run: Callable[[], list[int]], mode: dict[str, Any]) -> dict[str, Any]:
    """Run once; mode: versions and settings of this side, and its `preparing_cpu_seconds`."""
    import torch

    from lib.runtime.devices import peak_memory_gb

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    started, cpu = time.perf_counter(), time.process_time()
    counts, preparing = run(), mode.pop("preparing_cpu_seconds", 0.0)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {"new_tokens": sum(counts), "answers": len(counts), "seconds": seconds,
            "tokens_per_second": sum(counts) / seconds, "cpu_seconds": cpu,
            "tokens_per_cpu_second": sum(counts) / cpu, "preparing_cpu_seconds": preparing,
            "tokens_per_cpu_second_prepared": sum(counts) / (cpu + preparing), "mode": mode,
            "peak_memory_gb": peak_memory_gb(device)}


def _table(report: dict[str, Any]) -> str:
    lines = [f"{name}: {result['new_tokens']} tokens in {result['seconds']:.1f} s, "
             f"{result['tokens_per_second']:.0f} tokens/s, "
             f"{result['tokens_per_cpu_second']:.0f} a CPU second "
             f"({result['tokens_per_cpu_second_prepared']:.0f} with "
             f"{result['preparing_cpu_seconds']:.1f} s of preparation), "
             f"{result['peak_memory_gb']:.2f} GB"
             for name, result in report["engines"].items()]
    if "speedup" in report:
        lines.append(f"speedup {report['speedup']:.2f}, memory {report['memory_ratio']:.2f} of it")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
