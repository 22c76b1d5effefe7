"""The notebooks, which papermill runs headless, and their export to HTML that works offline.

A notebook is skipped if it, the profile, the code in lib and the results of the stages before it
have not changed since its last run, which went to its end.
"""

import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib.runtime import files
from lib.runtime.files import read_json, sha256_of, sha256_of_value, shown, told_if_full
from lib.runtime.manifest import code_hash, outputs_hash
from lib.runtime.places import NOTEBOOKS, prepare_children
from lib.runtime.progress import duration, say
from lib.study.profiles import load_profile
from lib.study.run import StudyError
from lib.study.stages.table import stages_before

REMOTE_SCRIPT = re.compile(r'<script[^>]*\ssrc="https?://[^"]*"[^>]*>\s*</script>')
INDEX = "notebooks.json"
READ = "reader/scores.jsonl"  # a reader's scores of the run's answers
FILES_BEFORE = {"05": ("seeds.json", READ), "06": (READ,), "07": ("seeds.json", READ)}
START = 120  # seconds in which a kernel must have begun
QUIET = ["--log-level=CRITICAL"]  # a kernel otherwise warns of its port and of interrupts


def notebook_paths(only: Sequence[str] = (), start: str = "") -> list[Path]:
    """Notebooks in order; `only` and `start` are numbers, 3 or 03. Raises StudyError."""
    paths = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    numbers = [path.name[:2] for path in paths]
    for number in (*only, *filter(None, [start])):
        if number.strip().zfill(2) not in numbers:
            raise StudyError(f"there is no notebook {number!r}; use {', '.join(numbers)}")
    wanted = [number.strip().zfill(2) for number in only] or numbers
    chosen = [path for path in paths if path.name[:2] in wanted
              and path.name[:2] >= start.zfill(2)]
    if not chosen:
        raise StudyError(f"none of the notebooks {', '.join(only)} comes at {start} or later")
    return chosen


def run_notebook(path: Path, run: Path, parameters: Mapping[str, Any], force: bool) -> float | None:
    """Execute one notebook into the run folder and export it; seconds, or None if skipped.

    Raises StudyError with the failing cell's error, or for a kernel that was killed; the executed
    part stays in the run folder.
    """
    output, known = run / path.name, _known(run)
    last = known.pop(path.name, None)
    if (not force and last == _key(path, run, parameters)
            and output.with_suffix(".html").exists()):
        say(f"{path.stem}: up to date, skipped ({shown(output)}; --force makes it again)")
        return None
    started = time.monotonic()
    prepare_children()
    with _sentences(output), told_if_full(output):
        run.mkdir(parents=True, exist_ok=True)
        files.remove_parts(run)
        files.write_json(run / INDEX, known)  # half of a notebook is not up to date
        _execute(path, output, parameters)
        export_html(output)
    files.write_json(run / INDEX, _known(run) | {path.name: _key(path, run, parameters)})
    seconds = time.monotonic() - started
    say(f"{path.stem}: done in {duration(seconds)}")
    return seconds


def _execute(path: Path, output: Path, parameters: Mapping[str, Any]) -> None:
    import papermill  # takes seconds to import
    papermill.execute_notebook(
        path, output, dict(parameters), kernel_name="python3", cwd=Path.cwd(), log_output=False,
        progress_bar=False, start_timeout=START, execution_timeout=None, autosave_cell_every=60,
        stdout_file=sys.stdout, stderr_file=None, extra_arguments=QUIET)


@contextmanager
def _sentences(output: Path) -> Iterator[None]:
    """Raise StudyError for what ends a notebook early: a cell's error or its kernel's end."""
    from papermill.exceptions import PapermillExecutionError
    try:
        yield
    except PapermillExecutionError as error:
        raise StudyError(f"{output.stem} stopped at cell {error.cell_index}: {error.ename}: "
                         f"{error.evalue} (see {shown(output)})") from error
    except RuntimeError as error:
        if why := _kernel_trouble(error):
            raise StudyError(f"{output.stem} stopped, because its kernel {why}, as systems do when "
                             "memory runs out; free some and run the same command again to resume"
                             ) from error
        raise


def _kernel_trouble(error: RuntimeError) -> str:
    """What became of a kernel, at work or at its start, by an error of nbclient's; or nothing."""
    text = str(error)
    if "Kernel died" in text:
        return "was killed"
    return f"gave no sign of life within {START} s" if "Kernel didn't respond" in text else ""


def _known(run: Path) -> dict[str, str]:
    """The key with which each notebook of a run was last executed."""
    index = run / INDEX
    return read_json(index) if index.exists() else {}


def _key(path: Path, run: Path, parameters: Mapping[str, Any]) -> str:
    """Hash of everything that a notebook shows, however the command asked for it."""
    number = path.name[:2]
    before = {stage: outputs_hash(run / stage) for stage in stages_before(number)}
    before |= {name: sha256_of(run / name) for name in FILES_BEFORE.get(number, ())
               if (run / name).exists()}
    profile = load_profile(str(parameters.get("profile", "laptop")), parameters.get("settings"))
    return sha256_of_value([sha256_of(path), asdict(profile), code_hash(), before])


def export_html(notebook: Path) -> Path:
    """Export the executed notebook as one HTML file that works without a network."""
    import nbformat
    from nbconvert import HTMLExporter

    from lib.analysis.figures.files import draw_figures
    from lib.study.notebook_views.formulas import typeset
    exporter = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True)
    executed = nbformat.read(notebook, as_version=4)
    draw_figures(executed)
    executed.metadata.pop("widgets", None)  # dead progress bars, which would load a widget manager
    body, _ = exporter.from_notebook_node(typeset(executed))
    target = notebook.with_suffix(".html")
    files.write_text(target, REMOTE_SCRIPT.sub("", body))
    return target
