"""A misspelt parameter of papermill stops the notebook in its first cell.

papermill writes its values into a cell after the notebook's parameters. For an unknown name it only
warns, and the notebook would run with the default.
"""

import ast
from collections.abc import Sequence

INJECTED = "# Parameters\n"  # papermill's first line


def misspelt(cells: Sequence[str]) -> str | None:
    """A sentence on a name that papermill set and the notebook does not declare, or None.

    cells: the code that has run, IPython's `In`.
    """
    for before, cell in zip(cells, cells[1:], strict=False):
        known = _names(before) if cell.startswith(INJECTED) else []
        unknown = [name for name in _names(cell) if name not in known] if known else []
        if unknown:
            return f"this notebook has no parameter {unknown[0]!r}; it takes {', '.join(known)}"
    return None


def _names(cell: str) -> list[str]:
    """Names that a cell of plain assignments sets; none for other code."""
    try:
        nodes = ast.parse(cell).body
    except SyntaxError:
        return []
    targets = [target for node in nodes if isinstance(node, ast.Assign | ast.AnnAssign)
               for target in (node.targets if isinstance(node, ast.Assign) else [node.target])]
    return [target.id for target in targets if isinstance(target, ast.Name)]
