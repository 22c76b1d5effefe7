"""Put the benchmarks' figures into tests/bench/README.md: `python tests/bench/readme.py`.

Reads figures/bench/*.json, as `training.py`, `sampling.py` and `adapters.py` print them with
--json, and arms.jsonl, which `arms.py` wrote, and puts each table between its marks on the page.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lib.analysis.tables.formatting import format_number, markdown_table  # noqa: E402
from lib.runtime.files import read_jsonl, write_text  # noqa: E402
from tests.bench.arms_table import arms_table  # noqa: E402

PAGE = ROOT / "tests" / "bench" / "README.md"
TITLES = {"dpo": "DPO on UltraFeedback pairs", "sft": "SFT on their chosen answers",
          "sampling": "16 prompts x 4 samples x 128 tokens",
          "sampling_openvino": "16 prompts x 4 samples x 128 tokens, beside OpenVINO",
          "sampling_stops": "16 prompts x 4 samples x up to 512 tokens, natural stops"}
VARIANTS = ("", "_avx2")  # a file of each: the processor's best, and float32 on AVX2
RIVALS = {"trl": "TRL", "transformers": "`generate`", "openvino": "OpenVINO GenAI",
          "llama.cpp": "llama.cpp", "vllm": "vLLM"}
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def speed_table(folder: Path) -> str:
    """The benchmarks' results as a Markdown table, in the order of TITLES; missing ones left out.

    Of each work: the machine, the precision, and both sides with their mode, tokens a second (of
    the clock; of the processor) and peak memory, all in one run, and their ratios.
    """
    files = [(title, folder / f"{name}{variant}.json") for variant in VARIANTS
             for name, title in TITLES.items()]
    rows = [_row(title, json.loads(file.read_text(encoding="utf-8"))) for title, file in files
            if file.exists()]
    return markdown_table(rows, {name: name for name in rows[0]})


def _row(title: str, report: dict[str, Any]) -> dict[str, str]:
    sides = report.get("engines", report)
    rival = max((name for name in RIVALS if name in sides),
                key=lambda name: sides[name]["tokens_per_second"])
    ours, theirs = sides["ours"], sides[rival]
    return {"work": title, "machine": _machine(report), "precision": _precision(report),
            "this study": _side(ours), "rival": f"{RIVALS[rival]}, {_side(theirs)}",
            "speed": _ratio(ours, theirs, "tokens_per_second"),
            "per CPU second": _ratio(ours, theirs, "tokens_per_cpu_second"),
            "memory": f"{format_number(_memory(ours) / _memory(theirs), 2)} of it"}


def _machine(report: dict[str, Any]) -> str:
    """Processor, instructions and threads."""
    threads = report.get("threads") or report.get("settings", {}).get("threads")
    where = f"{report['machine']['processor']}, {report['machine']['instructions']}"
    return f"{where}, {threads} thread{'s' if threads != 1 else ''}"


def _precision(report: dict[str, Any]) -> str:
    named = report.get("precision") or report["settings"]["precision"]
    return PRECISIONS[named]


def _side(side: dict[str, Any]) -> str:
    """Mode, tokens a second (of the clock; of the processor) and peak memory of one side."""
    mode = side.get("mode", "")
    if isinstance(mode, dict):  # settings by name
        mode = ", ".join(f"{name} {value}" for name, value in mode.items() if name != "versions")
    mode = f"{mode}: " if mode else ""
    cpu = (f" ({side['tokens_per_cpu_second']:.0f} a CPU second)"
           if "tokens_per_cpu_second" in side else "")
    return f"{mode}{side['tokens_per_second']:.0f} tokens/s{cpu}, {_memory(side):.1f} GB"


def _ratio(ours: dict[str, Any], theirs: dict[str, Any], name: str) -> str:
    return f"{ours[name] / theirs[name]:.2f} times" if name in ours and name in theirs else ""


def _memory(side: dict[str, Any]) -> float:
    return side.get("peak_rss_gb") or side["peak_memory_gb"]


def put(page: str, name: str, table: str) -> str:
    """The page with a table between its marks of that name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}"


def tables() -> dict[str, str]:
    """The page's tables by name, from figures/bench."""
    from tests.bench.adapters import ways_table  # loads what trains
    folder = ROOT / "figures" / "bench"
    ways = json.loads((folder / "adapters.json").read_text(encoding="utf-8"))["ways"]
    return {"speed": speed_table(folder), "adapters": ways_table(ways),
            "arms": arms_table(read_jsonl(folder / "arms.jsonl")[1:])}


def main() -> None:
    """Rewrite the page's tables."""
    page = PAGE.read_text(encoding="utf-8")
    for name, table in tables().items():
        page = put(page, name, table)
    write_text(PAGE, page)


if __name__ == "__main__":
    main()
