"""In a notebook, this project's errors are one sentence without a traceback.

The cell still fails, so that papermill stops there; `%tb` shows the traceback.
"""

import sys
import traceback
from types import FrameType, TracebackType
from typing import Any

ROOM = "lib."  # errors of this project's own classes are sentences
RESUMABLE = "run_stage"  # a function on the stack that resumes its work when it is called again


def show_sentences() -> None:
    """Show errors of this project as sentences; does nothing outside IPython."""
    if shell := _shell():
        shell.set_custom_exc((Exception, KeyboardInterrupt), _show)


def cells_so_far() -> list[str]:
    """The code that this notebook has run; empty outside IPython."""
    return list(shell.user_ns.get("In", ())) if (shell := _shell()) else []


def _shell() -> Any:
    """IPython's shell, or None; IPython itself is not imported for it."""
    return sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None


def sentence(error: BaseException) -> str | None:
    """The sentence of an error; None for one that needs its traceback."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, KeyboardInterrupt):
        resumes = any(frame.f_code.co_name == RESUMABLE for frame in frames)
        return "interrupted; run the cell again" + (
            " to resume from the last checkpoint" if resumes else "")
    if isinstance(error, NameError) and error.name and _are_cells(frames):
        return (f"{error.name} is not defined; if a cell above defines it, run that first, or all "
                "of them with Run > Run All Above Selected Cell (finished stages are skipped)")
    return str(error) if type(error).__module__.startswith(ROOM) else None


def _are_cells(frames: list[FrameType]) -> bool:
    """Whether a cell's own lines run in the last one, not those of a function or of a module.

    A comprehension's lines are the cell's: their frames are called `<genexpr>` and the like.
    """
    cells = [frame for frame in frames if frame.f_globals.get("__name__") == "__main__"]
    return bool(cells) and frames[-1] is cells[-1] and all(
        frame.f_code.co_name.startswith("<") for frame in cells)


def _show(shell: Any, kind: type[BaseException], error: BaseException, trace: TracebackType,
          tb_offset: int | None = None) -> list[str] | None:
    text = sentence(error)
    if text is None:
        return shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace  # for %tb
    named = text if kind is KeyboardInterrupt else f"{kind.__name__}: {text}"
    return shell._showtraceback(kind, error, [named])
