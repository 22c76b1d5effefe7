"""`python -m lib.study`: the notebooks of a run, headless.

    python -m lib.study                                  the laptop study
    python -m lib.study --profile smoke --run runs/try   minutes, on a random model
    python -m lib.study --only 03,04 --set dpo.beta=0.2 --run runs/beta02
    python -m lib.study --profile paper --plan           what it would take
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lib.runtime.files import FileError
from lib.runtime.progress import duration, say
from lib.study.notebooks import notebook_paths, run_notebook
from lib.study.planning.access import check_access
from lib.study.planning.plan import plan_text
from lib.study.planning.preflight import refusals
from lib.study.profiles import ProfileError, load_profile, parse_setting
from lib.study.run import Study, StudyError, open_study
from lib.study.seeds import seed_runs, summarise_seeds
from lib.study.workers.processes import use_processes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study as the command line says; the exit status."""
    options = _parser().parse_args(arguments)
    os.environ["STUDY_HEADLESS"] = "1"
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    try:
        return _run(options)
    except (ProfileError, StudyError, FileError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.study", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="laptop",
                        help="smoke, laptop, paper, t4, or a YAML file with base: and overrides")
    parser.add_argument("--run", default="", help="folder of the run (default runs/<profile>)")
    parser.add_argument("--only", default="", help="notebook numbers, for example 03,04")
    parser.add_argument("--from", dest="start", default="", help="first notebook, for example 03")
    parser.add_argument("--set", dest="settings", action="append", nargs="+", default=[],
                        metavar="KEY=VALUE", help="settings, for example dpo.beta=0.2")
    parser.add_argument("--seeds", type=int, default=1, help="repeat training and sampling")
    parser.add_argument("--processes", type=int, default=1,
                        help="train (DDP), sample and score on so many processes of this machine")
    parser.add_argument("--shard", action="store_true",
                        help="with --processes: train with the model cut over them (FSDP2)")
    parser.add_argument("--accelerate", default="", metavar="FILE",
                        help="an accelerate configuration file, in place of --processes")
    parser.add_argument("--force", action="store_true", help="make everything again")
    parser.add_argument("--plan", action="store_true", help="say what it would take, and stop")
    return parser


def _run(options: argparse.Namespace) -> int:
    settings = dict(parse_setting(text) for group in options.settings for text in group)
    use_processes(options.processes, options.shard, options.accelerate)
    study = open_study(options.profile, options.run, settings)
    if options.plan:
        say(plan_text(study, options.processes, options.shard))
        return 0
    if problems := refusals(study, options.processes, options.shard):
        raise StudyError(f"{problems[0]} (--plan says more)")
    check_access(study)
    if options.seeds < 1:
        raise StudyError(f"--seeds is {options.seeds}; use at least 1")
    paths = notebook_paths([n for n in options.only.split(",") if n], options.start)
    studies = seed_runs(study, options.seeds)
    seconds = [_run_notebooks(one, paths, options, settings) for one in studies]
    if len(studies) > 1 and all(one.path("results.json").exists() for one in studies):
        summarise_seeds(study, studies)  # notebook 05 shows it, so it is not up to date any more
        analysis = [path for path in paths if path.name.startswith("05")]
        seconds.append(_run_notebooks(study, analysis, options, settings))
    say(f"done in {duration(sum(seconds))}: {study.folder}")
    return 0


def _run_notebooks(study: Study, paths: Sequence[Path], options: argparse.Namespace,
                   settings: dict) -> float:
    """Seconds taken; notebooks that are up to date are skipped."""
    asked = load_profile(options.profile, settings).seed
    other = {} if study.profile.seed == asked else {"seed": study.profile.seed}  # of --seeds
    parameters = {"profile": options.profile, "run": str(study.folder)}
    parameters |= {"force": True} if options.force else {}
    parameters |= {"settings": settings | other} if settings or other else {}
    times = [run_notebook(path, study.folder, parameters, options.force) for path in paths]
    return sum(taken or 0.0 for taken in times)


if __name__ == "__main__":
    sys.exit(main())
