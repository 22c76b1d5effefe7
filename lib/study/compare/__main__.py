"""`python -m lib.study.compare A B`: is run b better than run a, and may it replace it?

    runs/laptop runs/beta02                     settings, win rates, prompts that moved, a page
    runs/laptop runs/beta02 --rescore a         where two fits of the judge scored the runs
    runs/laptop runs/beta02 --gate 0.05         status 1 unless b loses by at most .05
"""

import argparse
import os
import sys
from collections.abc import Sequence

from lib.runtime.files import shown
from lib.runtime.places import typed_path
from lib.study.compare.comparison import compare_runs
from lib.study.compare.report import comparison_text, gate_passes

FAILED = 1  # exit status of a gate that does not pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; returns 0, 1 for a gate that fails, 2 for what cannot be compared."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.rescore and options.judge != "judge":
        parser.error(f"--rescore scores with a judge, and --judge {options.judge} asks none")
    if options.systems and options.gate is None:
        parser.error("--systems names the systems of the gate; give --gate too")
    out = options.out or options.b.parent / f"{options.a.name}_and_{options.b.name}"
    parent = next(place for place in (out, *out.parents) if place.exists())
    if not os.access(parent, os.W_OK):
        parser.error(f"{parent} is read-only; name another folder with --out")
    try:
        found = compare_runs(options.a, options.b, out, options.judge, options.rescore,
                             options.gate, options.systems)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(comparison_text(found))
    print(f"\nall of it: {shown(out / 'comparison.json')}; the answers side by side: "
          f"{shown(out / 'compare.html')}")
    return 0 if gate_passes(found) else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.study.compare", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", type=typed_path, help="the run to start from, for example runs/laptop")
    parser.add_argument("b", type=typed_path, help="the run that is compared with it")
    parser.add_argument("--judge", choices=("judge", "selector", "reader"), default="judge",
                        help="whose scores decide (default: the judge)")
    parser.add_argument("--rescore", choices=("a", "b"), default="",
                        help="score all answers again with this run's judge")
    parser.add_argument("--gate", type=_margin, metavar="MARGIN",
                        help="fail unless b's win rate is provably above one half less this")
    parser.add_argument("--systems", type=_names, default=[], metavar="NAME,NAME",
                        help="the gated systems (default: all at the main temperature)")
    parser.add_argument("--out", type=typed_path, metavar="DIR",
                        help="folder of comparison.json and compare.html (default: beside b)")
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _margin(text: str) -> float:
    try:
        margin = float(text)
    except ValueError:
        margin = -1.0
    if not 0 <= margin < 0.5:
        raise argparse.ArgumentTypeError(f"{text!r} is no margin; use at least 0 and below 0.5")
    return margin


if __name__ == "__main__":
    sys.exit(main())
