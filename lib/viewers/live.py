"""Whether a widget can live here: in a notebook that ran headless no kernel answers it."""

import os

from IPython import get_ipython

HEADLESS = "STUDY_HEADLESS"  # set to 1 by the study's runner


def is_live(interactive: bool | None = None) -> bool:
    """Whether a person can click: as told, else a kernel that was not started headless."""
    if interactive is not None:
        return interactive
    shell = get_ipython()
    return os.environ.get(HEADLESS) != "1" and shell is not None and hasattr(shell, "kernel")
