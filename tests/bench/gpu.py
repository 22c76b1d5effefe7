"""What a GPU does with this study: training and sampling rates beside their rivals, one JSON.

    python -m tests.bench.gpu --out results             on a CUDA device, about three minutes
    python -m tests.bench.gpu --out results --rehearse  the same code on a CPU, with a tiny model

`tests/bench/gpu.sh` runs it behind the CUDA tests.

The model has the shape of Qwen2.5-0.5B with random weights, and texts have UltraFeedback's lengths
(`ultrafeedback_lengths.json`: prompt, chosen and rejected answer of 100 pairs in tokens of
SmolLM2's tokenizer, every tenth of 1,000 pairs in order of their sum), so that nothing has to be
fetched. Each group of measurements is a process with a time limit; each result is written at once,
a failed one as its error. Tokens are real ones, a pair's prompt counted twice as TRL does. MFU
counts 6 operations a weight of the layers and token, 6 a weight of the vocabulary head and response
token, a third of both for DPO's reference, and none for attention, padding or recomputation.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from lib.modeling.packed.packing import SharedPrompt
from lib.runtime.devices import peak_memory_gb
from lib.runtime.files import Row, append_jsonl, read_whole_lines, write_json
from lib.study.planning.requirements import ANSWER_TOKENS, DPO_PAIRS, SFT_TOKENS
from lib.training.engine.flops import peak_flops
from lib.training.pairs import Pair

GROUPS = {"training": 110, "sampling": 40, "trl": 90, "generate": 50, "row": 40}  # most seconds
WORDS = 1000  # of the tokenizer, one token each
CHAT = ("{% for message in messages %}{{ message['content'] + ' ' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'w0' }}{% endif %}")
PACKAGES = ("torch", "transformers", "triton", "trl", "accelerate")


@dataclass(frozen=True)
class Size:
    """How large a measurement is; the defaults are the paper's batches and the GPU's."""

    device: str = "cuda"
    sft_length: int = 512
    pair_length: int = 1024
    sft_batch: int = 16
    dpo_batch: int = 32
    token_budget: int = 32768
    warm_up: int = 4
    steps: int = 16
    new_tokens: int = 128
    prompts: tuple[int, ...] = (16, 128)  # with SAMPLES answers each
    prompt_length: int = 512


SAMPLES = 4
REHEARSAL = Size("cpu", 48, 96, 4, 4, 512, 1, 2, 6, (2, 4), 32)


def main() -> None:
    """Run every group in a process of its own and put the results together."""
    options = _options()
    out = Path(options.out)
    if options.group:
        run_group(options.group, out, REHEARSAL if options.rehearse else Size())
        return
    out.mkdir(parents=True, exist_ok=True)
    (out / "parts.jsonl").unlink(missing_ok=True)
    for group, limit in GROUPS.items():
        started = time.perf_counter()
        try:
            status = subprocess.run([sys.executable, "-m", "tests.bench.gpu", *sys.argv[1:],
                                     "--group", group],
                                    timeout=10 * limit if options.rehearse else limit,
                                    check=False).returncode
        except subprocess.TimeoutExpired:
            status = f"stopped after {limit} s"
        append_jsonl(out / "parts.jsonl", {"part": f"{group}: process", "status": status,
                                           "seconds": time.perf_counter() - started})
        write_json(out / "gpu.json", summary(out, options.rehearse))
    print(json.dumps(summary(out, options.rehearse), indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder for gpu.json and parts.jsonl")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with a tiny model")
    parser.add_argument("--group", choices=tuple(GROUPS), help=argparse.SUPPRESS)
    return parser.parse_args()


def run_group(group: str, out: Path, size: Size) -> None:
    """Measure the parts of a group; each writes its result, or the error that ended it."""
    if group in ("trl", "generate"):
        from tests.bench import gpu_rivals as side
    else:
        from tests.bench import gpu_ours as side
    for name, part in side.PARTS[group].items():
        append_jsonl(out / "parts.jsonl", {"part": name} | _measured(part, size))


def _measured(part: Callable[[Size], Row], size: Size) -> Row:
    if size.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        return part(size)
    except Exception as error:  # noqa: BLE001 - one failure must not lose the other parts
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {str(error)[:600]}"}


def summary(out: Path, rehearsal: bool) -> dict[str, Any]:
    """All results so far, ratios to the rivals, and the paper's recipe in minutes."""
    parts = {row.pop("part"): row for row in read_whole_lines(out / "parts.jsonl")[0]}
    rate = {name: row["tokens_per_second"] for name, row in parts.items()
            if "tokens_per_second" in row}
    ratios = {f"{ours} / {rival}": rate[ours] / rate[rival] for ours, rival in (
        ("sft", "trl sft padded"), ("sft", "trl sft packed"), ("dpo", "trl dpo"),
        *((f"sampling {size}", f"generate {size}") for size in ("small", "large")))
        if ours in rate and rival in rate}
    return {"rehearsal": rehearsal, "machine": machine(), "ratios": ratios,
            "paper_minutes": paper_minutes(rate), "parts": parts}


def machine() -> dict[str, Any]:
    """The GPU and the versions of what runs on it."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"gpu": gpu, "cuda": torch.version.cuda, "python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def paper_minutes(rate: dict[str, float]) -> dict[str, float]:
    """Minutes of the paper's training and of 8 answers to its 200 prompts, at these rates."""
    pair_tokens = sum(map(_pair_tokens, lengths(Size().pair_length))) / len(lengths(1024))
    work = {"sft": 8_000 * SFT_TOKENS, "dpo": DPO_PAIRS * pair_tokens,
            "sampling large": 200 * 8 * ANSWER_TOKENS}
    return {name: tokens / rate[name] / 60 for name, tokens in work.items() if name in rate}


def _pair_tokens(row: tuple[int, int, int]) -> int:
    return 2 * row[0] + row[1] + row[2]


# --- what both sides measure -----------------------------------------------------------------


def lengths(longest: int) -> list[tuple[int, int, int]]:
    """Tokens of prompt, chosen and rejected; prompt and answer are cut to `longest` together."""
    table = json.loads((Path(__file__).parent / "ultrafeedback_lengths.json").read_text())
    cut = []
    for prompt, *answers in table:
        prompt = min(prompt, longest * 3 // 4)
        cut.append((prompt, *(min(answer, longest - prompt) for answer in answers)))
    return cut


def pairs(count: int, longest: int) -> list[Pair]:
    """Pairs of random words with the table's lengths, in turn."""
    generator, table = torch.Generator().manual_seed(0), lengths(longest)

    def words(number: int) -> tuple[int, ...]:
        return tuple(torch.randint(1, WORDS, (number,), generator=generator).tolist())
    return [Pair(str(number), *map(words, table[number % len(table)])) for number in range(count)]


def conversations(count: int, longest: int) -> list[SharedPrompt]:
    """Prompts with their chosen answers as sequences whose answer alone is trained on."""
    return [SharedPrompt((), (pair.prompt + pair.chosen,),
                         ((0,) * len(pair.prompt) + (1,) * len(pair.chosen),))
            for pair in pairs(count, longest)]


def model(size: Size) -> PreTrainedModel:
    """Qwen2.5-0.5B's architecture with random float32 weights; tiny where `size` is on CPU."""
    torch.manual_seed(0)
    tiny = {"vocab_size": 2048, "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 4}
    full = {"vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864,
            "num_hidden_layers": 24, "num_attention_heads": 14}
    config = Qwen2Config(**(full if size.device == "cuda" else tiny), num_key_value_heads=2,
                         tie_word_embeddings=True, max_position_embeddings=32_768,
                         bos_token_id=None, eos_token_id=None, pad_token_id=0)
    with torch.device(size.device):
        return Qwen2ForCausalLM(config)


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, so that a text has exactly the tokens that the table says."""
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w1", pad_token="w0",
                                   chat_template=CHAT)


def text(tokens: tuple[int, ...]) -> str:
    """The words of these tokens."""
    return " ".join(f"w{token}" for token in tokens)


def timed(work: Callable[[], Any], size: Size) -> tuple[Any, float]:
    """The result of `work` and its seconds, the GPU's own included."""
    def finished() -> float:
        if size.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()
    started = finished()
    return work(), finished() - started


def training_result(policy: PreTrainedModel, size: Size, seconds: float, tokens: int,
                    layer_tokens: int, response_tokens: int, reference: bool, **more: Any) -> Row:
    """Rate, MFU and memory; layer_tokens: real tokens that pass through the layers."""
    head = policy.get_output_embeddings().weight.numel()
    body = sum(p.numel() for p in policy.parameters()) - head  # tied: the lookup costs nothing
    flops = (8 if reference else 6) * (body * layer_tokens + head * response_tokens)
    name = torch.cuda.get_device_name() if size.device == "cuda" else ""
    peak = peak_flops(name)
    return {"tokens_per_second": tokens / seconds, "seconds": seconds, "tokens": tokens,
            "layer_tokens": layer_tokens, "response_tokens": response_tokens,
            "mfu": flops / seconds / peak if peak else None,
            "peak_gb": peak_memory_gb(torch.device(size.device)), **more}


if __name__ == "__main__":
    main()
