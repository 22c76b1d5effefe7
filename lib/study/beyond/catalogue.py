"""The table of arms: one line each for its idea, formula, source and cost, and its function.

A function takes an `lib.study.beyond.arm.ArmRun` and returns the folder of its trained model.
Modules are imported when an arm runs, so that the table itself costs nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name

from lib.runtime.files import Row

SAMPLES = "generates"  # the cost of an arm that learns from answers of its own
OFFLINE = "generates nothing"


@dataclass(frozen=True)
class Arm:
    """One method. function: `module:name`, called with the run and `options`.

    control: the arm that differs in nothing but the idea (the same number of pairs at random), so
    that the idea's gain is measured against it and not against another amount of data.
    """

    name: str
    idea: str
    formula: str
    source: str
    cost: str
    function: str
    options: tuple[tuple[str, object], ...] = ()
    control: str = ""

    def train(self, run: object) -> object:
        """Call the arm's function; see the module's docstring."""
        return self.call()(run, **dict(self.options))

    def call(self) -> Callable[..., object]:
        """The arm's function, whose source notebook 06 shows."""
        return resolve_name(self.function)


OWN = "lib.study.beyond"
MATCHED = {  # losses at equal movement: their formulas, of h and d as in lib.training.losses
    "ipo": ("(d - 1 / (2 beta))^2", "Azar et al. 2023, eq. 17"),
    "odpo": ("-log sigmoid(beta d - alpha log(score gap))", "Amini et al. 2024"),
    "simpo": ("-log sigmoid(beta (mean logp chosen - mean logp rejected) - gamma)",
              "Meng et al. 2024, sec. 3"),
    "robust": ("((1 - e) L(d) - e L(-d)) / (1 - 2 e)", "Chowdhury et al. 2024")}
ARMS: dict[str, Arm] = {arm.name: arm for arm in (
    Arm("offline_dpo", "the study's own loss on fixed pairs of these prompts",
        "-log sigmoid(beta d)", "Rafailov et al. 2023, eq. 7", OFFLINE,
        f"{OWN}.offline:preference_loss", (("loss", "dpo"),)),
    *(Arm(f"{loss}_matched", f"{loss} at the learning rate that moves it as far as offline_dpo",
          formula, source, "generates nothing, trains up to three times",
          f"{OWN}.matched:equal_movement", (("loss", loss),), "offline_dpo")
      for loss, (formula, source) in MATCHED.items()),
)}


def catalogue_rows(names: Sequence[str] = tuple(ARMS)) -> list[Row]:
    """The table's rows: {"arm", "idea", "formula", "source", "cost", "control"}."""
    return [{"arm": arm.name, "idea": arm.idea, "formula": arm.formula, "source": arm.source,
             "cost": arm.cost, "control": arm.control} for arm in map(ARMS.__getitem__, names)]
