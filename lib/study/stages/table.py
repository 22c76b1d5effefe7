"""The stages of a run in one table: who makes each, and what each reads.

`lib.study.run` names the notebook to run first, `lib.study.notebooks` asks whether a notebook is up
to date, and every stage takes its inputs from here, so that the three cannot disagree.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A folder of a run: the notebook that makes it and the stages that it reads.

    `where_made` are stages that a run need not have; where one is there it is an input too.
    """

    name: str
    notebook: str
    inputs: tuple[str, ...] = ()
    where_made: tuple[str, ...] = ()


STAGES = {stage.name: stage for stage in (
    Stage("data", "01_data"),
    Stage("sft", "02_sft", ("data",)),
    Stage("dpo", "03_dpo", ("data", "sft"), ("rewards",)),
    Stage("dpo_other", "03_dpo", ("data", "sft"), ("rewards",)),
    Stage("rewards", "04_best_of_n"),
    Stage("responses", "04_best_of_n", ("data", "sft", "dpo"), ("rewards",)),
    Stage("deep", "04_best_of_n", ("data", "sft", "dpo"), ("rewards",)),
    Stage("selection", "04_best_of_n", ("responses",), ("deep",)),
    Stage("movement", "05_analysis", ("data", "sft", "dpo", "responses")),
    Stage("results", "05_analysis", ("data", "sft", "dpo", "responses", "selection", "movement"),
          ("dpo_other", "rewards", "deep")))}
SHOWN = {"07": ("responses", "results")}  # of notebooks that make no stage


def stages_before(number: str) -> list[str]:
    """The stages of other notebooks that notebook `number` ("05") reads, in the table's order."""
    made = [stage for stage in STAGES.values() if stage.notebook.startswith(number)]
    read = {name for stage in made for name in (*stage.inputs, *stage.where_made)}
    read |= set(SHOWN.get(number, ()))
    return [name for name in STAGES if name in read - {stage.name for stage in made}]
