"""Put the benchmarks' figures into tests/bench/README.md: `python tests/bench/readme.py`.

Reads figures/bench/*.json, as `training.py` and `sampling.py` print them with --json, and writes
the table between the page's two speed marks.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lib.analysis.tables.formatting import markdown_table  # noqa: E402
from lib.runtime.files import write_text  # noqa: E402

PAGE = ROOT / "tests" / "bench" / "README.md"
BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
TITLES = {"dpo": "DPO on UltraFeedback pairs", "sft": "SFT on their chosen answers",
          "sampling": "16 prompts x 4 samples x 128 tokens",
          "sampling_stops": "the same, up to 512 tokens with natural stops"}
RIVALS = {"trl": "TRL", "transformers": "`generate`"}


def speed_table(folder: Path) -> str:
    """The benchmarks' results as a Markdown table, in the order of TITLES; missing ones left out.

    Tokens a second and peak memory of both sides in one run, and their ratios.
    """
    rows = [_row(title, json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
            for name, title in TITLES.items() if (folder / f"{name}.json").exists()]
    return markdown_table(rows, {name: name for name in rows[0]})


def _row(title: str, report: dict[str, Any]) -> dict[str, str]:
    sides = report.get("engines", report)
    rival = next(name for name in RIVALS if name in sides)
    ours, theirs = (f"{side['tokens_per_second']:.0f} tokens/s, {_memory(side):.1f} GB"
                    for side in (sides["ours"], sides[rival]))
    return {"work": title, "this study": ours, "rival": f"{RIVALS[rival]}: {theirs}",
            "speed": f"{report['speedup']:.2f} times",
            "memory": f"{report['memory_ratio']:.2f} of it"}


def _memory(side: dict[str, Any]) -> float:
    return side.get("peak_rss_gb") or side["peak_memory_gb"]


def main() -> None:
    """Rewrite the page's table from figures/bench."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    table = speed_table(ROOT / "figures" / "bench")
    write_text(PAGE, f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
