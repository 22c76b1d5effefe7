"""`python -m lib.study.reader export|import|reliability|ship RUN`: a blind reader of a run.

    export runs/laptop --prompts 64 --batch 150 --twice 60
    export runs/laptop --arms offline_dpo raft    (SFT's answers again: one reader reads both)
    import runs/laptop first.csv second.jsonl --kind person --reader Ada
    reliability runs/laptop
    ship runs/laptop
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lib.analysis.tables.reader import reliability_table
from lib.runtime.files import shown
from lib.runtime.progress import say
from lib.study.reader.agreement import reliability_rows
from lib.study.reader.batches import export_batches
from lib.study.reader.questions import finished_arms
from lib.study.reader.readings import SECOND, import_scores
from lib.study.reader.ship import ship_readings


def main(arguments: Sequence[str] | None = None) -> int:
    """Export batches, import scores, or compare two readers; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.study.reader", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="export|import|reliability|ship")
    export = _command(commands, "export", _export, "write the batches of unread answers")
    export.add_argument("--prompts", type=int, default=64, help="held-out prompts")
    export.add_argument("--batch", type=int, default=150, help="answers a batch")
    export.add_argument("--twice", type=int, default=60, help="answers for a second reader "
                        "too, and as many of the arms' with SFT's")
    export.add_argument("--arms", nargs="*", metavar="ARM", help="arms of notebook 06 whose "
                        "answers are read too, beside SFT's by one reader; all that are finished, "
                        "if none is named")
    scores = _command(commands, "import", _import, "take scores in")
    scores.add_argument("files", type=Path, nargs="+", help="CSV, JSON or JSON Lines")
    scores.add_argument("--kind", choices=("person", "model"), required=True, help="who read")
    scores.add_argument("--reader", default="", help="the reader of lines that name none")
    scores.add_argument("--partial", action="store_true", help="some answers are still unread")
    scores.add_argument("--not-blind", action="store_true", help="more was seen than the batches")
    _command(commands, "reliability", _reliability, "compare two readers of the same answers")
    ship = _command(commands, "ship", _ship, "write a recorded run's readings into data/sample")
    ship.add_argument("--replace", action="store_true", help="in place of those that are there")
    return parser


def _command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str,
             work: Callable[[argparse.Namespace], None], words: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=words)
    command.add_argument("run", type=Path, help="a run folder, for example runs/laptop")
    command.set_defaults(command=work)
    return command


def _export(options: argparse.Namespace) -> None:
    arms = finished_arms(options.run) if options.arms == [] else options.arms or []
    plan = export_batches(options.run, options.prompts, options.batch, options.twice, arms)
    say(f"{plan['answers']} different answers to {plan['prompts']} prompts; "
        + (_to_read(plan["batches"], options.run) if plan["batches"] else "all are read"))


def _to_read(batches: Mapping[str, Sequence[str]], run: Path) -> str:
    """Which batches to read, who reads them, and the command that takes the scores."""
    listed = ", ".join(f"{name} ({len(keys)})" for name, keys in batches.items())
    twice = any(name.startswith(SECOND) for name in batches)
    other = "; second_* is for another reader" if twice else ""
    return (f"to read: {listed}, in {shown(run / 'reader' / 'batches')}{other}. Fill in the .csv "
            f"of each batch, then: python -m lib.study.reader import {shown(run)} FILE... "
            "--kind person (or model)")


def _import(options: argparse.Namespace) -> None:
    found = import_scores(options.run, options.files, options.kind, options.reader,
                          options.partial, not options.not_blind)
    say(f"{found['read']} of {found['answers']} answers are read, {found['missing']} readings are "
        "missing; notebooks 05 and 06 make the tables new (python -m lib.study --only 05,06, with "
        "this run and its profile)")


def _reliability(options: argparse.Namespace) -> None:
    print(reliability_table(reliability_rows(options.run)))


def _ship(options: argparse.Namespace) -> None:
    path = ship_readings(options.run, replace=options.replace)
    say(f"the readings are in {shown(path)}, and who read in readings.json")


if __name__ == "__main__":
    sys.exit(main())
