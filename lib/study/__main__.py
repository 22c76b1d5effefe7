"""`study`, or `python -m lib.study`, runs the notebooks of a study headless.

    study                                  the laptop study
    study --profile smoke --run runs/try   minutes, on a random model
    study --from-run runs/laptop --set dpo.beta=0.2 --run runs/beta02
                                           another beta, on copied data and SFT
    study --only 5 --force                 one notebook of the run again
    study --profile paper --plan           time, memory, disk and keys it needs
    study --profile mine.yaml --check      every notebook on a few rows, in seconds
    study --notebooks lessons              copies of the notebooks, to open in JupyterLab

Relative paths, also those of a profile, begin in the folder in which the command is typed.
"""

import argparse
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from lib.runtime.files import FileError, shown
from lib.runtime.places import HEADLESS, NOTEBOOKS, typed_path
from lib.runtime.progress import say
from lib.study.notebooks import FILES_BEFORE, notebook_paths, run_notebook
from lib.study.presets import PRESETS
from lib.study.profiles import ProfileError, load_profile, parse_setting
from lib.study.run import Study, StudyError, open_study, stage_hash
from lib.study.stages.table import stages_needed
from lib.study.workers.processes import use_processes

ENDINGS = ("SIGTERM", "SIGHUP")  # beside Ctrl-C: a request to end, a terminal that was closed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study as the command line says; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):  # Windows' own encodings lack signs that we print
        getattr(stream, "reconfigure", dict)(errors="replace")
    options = _parser().parse_args(arguments)
    os.environ[HEADLESS] = "1"
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    try:
        with _endings_interrupt():
            return _run(options)
    except (ProfileError, StudyError, FileError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as ending:
        again = "it again without --force" if options.force else "the same command again"
        with suppress(OSError):  # a terminal that was closed
            print("interrupted; finished stages, notebooks and checkpoints are kept, run "
                  f"{again} to go on from there", file=sys.stderr)
        return 128 + (ending.args[0] if ending.args else signal.SIGINT)  # as shells have it


@contextmanager
def _endings_interrupt() -> Iterator[None]:
    """Inside, other requests to end do what Ctrl-C does, so that no kernel is left behind.

    One that is ignored stays so: `nohup` means to outlive its terminal.
    """
    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt(number)
    numbers = [getattr(signal, name) for name in ENDINGS if hasattr(signal, name)]
    mine = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="study", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="laptop",
                        help=f"{', '.join(PRESETS)}, or a YAML file with base: and overrides")
    parser.add_argument("--run", default="", help="folder of the run (default runs/<profile>)")
    parser.add_argument("--only", default="", help="notebook numbers, for example 03,04")
    parser.add_argument("--from", dest="start", default="", help="first notebook, for example 03")
    parser.add_argument("--from-run", default="", metavar="DIR",
                        help="copy from this other run whatever it made with equal settings")
    parser.add_argument("--set", dest="settings", action="append", nargs="+", default=[],
                        metavar="KEY=VALUE", help="settings, for example dpo.beta=0.2")
    parser.add_argument("--seeds", type=int, default=1, help="repeat training and sampling")
    parser.add_argument("--processes", type=int, default=1,
                        help="train (DDP), sample and score on this many processes of this machine")
    parser.add_argument("--shard", action="store_true",
                        help="with --processes: they share the model's weights (FSDP2)")
    parser.add_argument("--accelerate", default="", metavar="FILE",
                        help="an accelerate configuration file, instead of --processes")
    parser.add_argument("--force", action="store_true", help="run finished stages again")
    parser.add_argument("--plan", action="store_true",
                        help="print the time, memory, disk and keys that the run needs, and stop")
    parser.add_argument("--check", action="store_true",
                        help="run every notebook on a few rows in a temporary folder, and stop")
    parser.add_argument("--notebooks", default="", metavar="DIR",
                        help="copy the notebooks into a new folder, and stop")
    return parser


def _run(options: argparse.Namespace) -> int:
    """Check the command line first, before PyTorch or a model loads."""
    if options.notebooks:
        return _copy_notebooks(typed_path(options.notebooks))
    settings = dict(parse_setting(text) for group in options.settings for text in group)
    load_profile(options.profile, settings)
    paths = notebook_paths([n for n in options.only.split(",") if n], options.start)
    if options.seeds < 1:
        raise StudyError(f"--seeds is {options.seeds}; use at least 1")
    use_processes(options.processes, options.shard, options.accelerate)
    study = open_study(options.profile, options.run, settings, from_run=options.from_run)

    from lib.study.planning.named import check_named
    from lib.study.planning.plan import plan_of, plan_text
    from lib.study.planning.preflight import blockers
    check_named(study)
    plan = plan_of(replace(study, force=options.force), options.processes, options.shard,
                   [path.stem for path in paths], options.seeds)
    say(plan_text(study, options.processes, options.shard, plan))
    if options.plan:
        return 0
    if problems := blockers(study, options.processes, options.shard):
        raise StudyError(f"{problems[0]} (--plan says more)")
    for stage in stages_needed(paths[0].name[:2]) if options.seeds == 1 else ():
        stage_hash(study, stage)
    from lib.study.planning.access import check_access
    check_access(study)
    if options.check or _is_first_try(study, options):
        from lib.study.planning.dry_run import dry_run
        dry_run(study, keep_data=not (options.check or options.force))
    if options.check:
        return 0
    seconds = _run_seeds(study, paths, options, settings)
    from lib.study.summary import summary
    say(summary(study, seconds, plan.notebooks))
    return 0


def _copy_notebooks(folder: Path) -> int:
    if folder.exists():
        raise StudyError(f"--notebooks {shown(folder)}: it is there already; open it with jupyter "
                         f"lab {shown(folder)}, or name a new folder")
    try:
        shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns(".*"))
    except OSError as error:
        raise StudyError(f"--notebooks {shown(folder)} cannot be made ({error.strerror or error}); "
                         "name another folder") from None
    say(f"copied to {shown(folder)}; open it with jupyter lab {shown(folder)}")
    return 0


def _is_first_try(study: Study, options: argparse.Namespace) -> bool:
    """Whether the whole study is run and has no result yet; smoke takes hardly longer itself."""
    return not (options.only or options.start or study.profile.model.name == "smoke"
                or study.path("results.json").exists())


def _run_seeds(study: Study, paths: Sequence[Path], options: argparse.Namespace,
               settings: dict[str, Any]) -> Counter[str]:
    """Seconds by notebook, of all seeds together."""
    from lib.study.seeds import FILE, seed_runs, summarise_seeds
    studies, seconds = seed_runs(study, options.seeds), Counter[str]()
    for one in studies:
        seconds += _run_notebooks(one, paths, options, settings)
    if len(studies) > 1 and all(one.path("results.json").exists() for one in studies):
        summarise_seeds(study, studies)
        again = [path for path in paths if FILE in FILES_BEFORE.get(path.name[:2], ())]
        seconds += _run_notebooks(study, again, options, settings)
    return seconds


def _run_notebooks(study: Study, paths: Sequence[Path], options: argparse.Namespace,
                   settings: dict[str, Any]) -> Counter[str]:
    """Seconds by notebook; up-to-date notebooks are skipped."""
    first = load_profile(options.profile, settings).seed
    other = {} if study.profile.seed == first else {"seed": study.profile.seed}  # of --seeds
    parameters: dict[str, Any] = {"profile": options.profile, "run": str(study.folder)}
    parameters |= {"force": True} if options.force else {}
    parameters |= {"from_run": shown(study.from_run)} if study.from_run else {}
    parameters |= {"settings": settings | other} if settings or other else {}
    seconds: Counter[Any] = Counter()
    for number, path in enumerate(paths, start=1):
        say(f"notebook {number} of {len(paths)}: {path.stem}")
        took = run_notebook(path, study.folder, parameters, options.force)
        seconds[path.stem] = took or 0.0  # type: ignore[assignment]  # it adds up fractions too
    return seconds


if __name__ == "__main__":
    sys.exit(main())
