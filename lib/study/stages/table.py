"""The stages of a run in one table: each stage's notebook and inputs.

Errors name the notebook to run first, the runner decides whether a notebook is up to date, and
every stage takes its inputs: all three read this table, so that they cannot disagree.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A folder of a run, the notebook that makes it, and its input stages.

    `where_made` are optional stages: they are inputs if the run has them.
    """

    name: str
    notebook: str
    inputs: tuple[str, ...] = ()
    where_made: tuple[str, ...] = ()


STAGES = {stage.name: stage for stage in (
    Stage("data", "01_data"),
    Stage("sft", "02_sft", ("data",)),
    Stage("pairs", "03_dpo", ("data", "sft"), ("rewards",)),
    Stage("chosen_pairs", "03_dpo", ("data", "sft"), ("rewards", "pairs")),
    Stage("dpo", "03_dpo", ("data", "sft"), ("rewards", "pairs", "chosen_pairs")),
    Stage("warning", "03_dpo", ("data", "sft"), ("rewards", "pairs")),
    Stage("rewards", "04_best_of_n"),
    Stage("responses", "04_best_of_n", ("data", "sft", "dpo"), ("rewards",)),
    Stage("deep", "04_best_of_n", ("data", "sft", "dpo"), ("rewards",)),
    Stage("selection", "04_best_of_n", ("responses",), ("deep",)),
    Stage("movement", "05_analysis", ("data", "sft", "dpo", "responses")),
    Stage("verdicts", "05_analysis", ("data", "responses")),
    Stage("results", "05_analysis", ("data", "sft", "dpo", "responses", "selection", "movement"),
          ("warning", "rewards", "deep", "verdicts")),
    Stage("beyond", "06_beyond_the_paper", ("data", "sft", "dpo", "responses"),
          ("rewards", "pairs", "results")))}
SHOWN = {"07": ("responses", "results")}  # read by notebooks without a stage


def stages_needed(number: str) -> list[str]:
    """The stages that must be finished before notebook `number` ("05") can start."""
    return _of_others(number, {name for stage in _made_by(number) for name in stage.inputs})


def stages_before(number: str) -> list[str]:
    """The needed and the optional stages before a notebook, in the table's order."""
    return _of_others(number, {name for stage in _made_by(number)
                               for name in (*stage.inputs, *stage.where_made)})


def _of_others(number: str, read: set[str]) -> list[str]:
    own = {stage.name for stage in _made_by(number)}
    return [name for name in STAGES if name in (read | set(SHOWN.get(number, ()))) - own]


def _made_by(number: str) -> list[Stage]:
    return [stage for stage in STAGES.values() if stage.notebook.startswith(number)]
