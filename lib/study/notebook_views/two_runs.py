"""This run beside another one, in a notebook: what `python -m lib.study.compare` prints."""

from lib.runtime.files import shown
from lib.runtime.places import typed_path
from lib.study.compare.comparison import compare_runs
from lib.study.compare.report import comparison_text
from lib.study.run import Study

NONE = ("No other run was named; `other_run` takes a run folder, and `python -m lib.study.compare` "
        "does the same in a terminal.")


def compared_with(study: Study, other_run: str) -> str:
    """The comparison of this run (b) with another one (a) as Markdown, or why there is none.

    Its page and its numbers are in the run's folder `compared/`.
    """
    if not other_run:
        return NONE
    other = typed_path(other_run)
    out = study.path("compared", other.name)
    try:
        text = comparison_text(compare_runs(other, study.folder, out))
    except ValueError as error:
        return f"Not compared: {error}."
    return f"{text}\n\nThe answers of both runs side by side: `{shown(out / 'compare.html')}`"
