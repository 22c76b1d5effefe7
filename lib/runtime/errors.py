"""In a notebook, an error that is meant for its reader is one sentence and no traceback.

The cell still fails, so that papermill stops there; `%tb` shows where an error came from.
"""

import sys
import traceback
from types import TracebackType
from typing import Any

ROOM = "lib."  # errors of this project's own classes are sentences
RESUMABLE = "run_stage"  # a function on the stack whose work goes on when it is called again


def show_sentences() -> None:
    """From here on show errors of this project as sentences; does nothing outside IPython."""
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):
        shell.set_custom_exc((Exception, KeyboardInterrupt), _show)


def cells_so_far() -> list[str]:
    """The code that this notebook has run; none outside IPython."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return list(shell.user_ns.get("In", ())) if shell else []


def sentence(error: BaseException) -> str | None:
    """What a reader needs to know of an error; None for one that only its traceback explains."""
    if isinstance(error, KeyboardInterrupt):
        frames = (frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__))
        return ("interrupted; run the cell again to go on from the last checkpoint"
                if RESUMABLE in frames else None)
    return str(error) if type(error).__module__.startswith(ROOM) else None


def _show(shell: Any, kind: type[BaseException], error: BaseException, trace: TracebackType,
          tb_offset: int | None = None) -> list[str] | None:
    text = sentence(error)
    if text is None:
        return shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace  # for %tb
    named = text if kind is KeyboardInterrupt else f"{kind.__name__}: {text}"
    return shell._showtraceback(kind, error, [named])
