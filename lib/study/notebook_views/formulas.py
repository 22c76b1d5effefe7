"""Formulas as MathML, which browsers typeset without a script or a network.

JupyterLab and GitHub typeset `$...$` themselves; an exported page would need MathJax.
"""

import re

from latex2mathml.converter import convert
from nbformat import NotebookNode

DISPLAYED = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
INLINE = re.compile(r"(?<![\\$\w])\$([^\s$](?:[^$\n]*[^\s$])?)\$(?!\w)")
CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)


def typeset(notebook: NotebookNode) -> NotebookNode:
    """The notebook with the LaTeX of its markdown cells, `$$...$$` and `$...$`, as MathML."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = mathml(cell.source)
    return notebook


def mathml(text: str) -> str:
    """Markdown with its formulas as MathML; code keeps its dollar signs."""
    return "".join(part if place % 2 else _formulas(part)
                   for place, part in enumerate(CODE.split(text)))


def _formulas(text: str) -> str:
    text = DISPLAYED.sub(lambda found: convert(found[1].strip(), display="block").replace(
        "<math ", '<math style="font-size:1.15em" ', 1), text)
    return INLINE.sub(lambda found: convert(found[1]), text)
