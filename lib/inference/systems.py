"""A system: a policy and a rule that picks one of its answers, with a name to write and read.

`dpo` is the policy's single answer; `dpo+bon4@0.6` the best of four answers sampled at T = 0.6 by
the selector; `dpo+random4@0.6` one of the same four at random, the control of that choice. The
other rules of `lib.inference.selection` are `softbon`, `mbr` and `klbon`; a coefficient other than
the rule's default is part of the name, as in `dpo+mbr4_beta8@0.6`.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

BEST, RANDOM, SOFT, MBR, KL = "bon", "random", "softbon", "mbr", "klbon"


class Coefficient(NamedTuple):
    """The symbol of a rule's coefficient in its formula, its default, and whether 0 is allowed."""

    symbol: str
    default: float
    zero: bool = False


# In units of the selector's standard deviation within a prompt; constants, tuned on nothing.
COEFFICIENTS = {SOFT: Coefficient("lam", 0.5), MBR: Coefficient("beta", 2.0, zero=True),
                KL: Coefficient("beta", 0.01, zero=True)}
RULES = (BEST, RANDOM, *COEFFICIENTS)
NUMBER = r"\d*\.?\d+(?:e[-+]?\d+)?"
NAME = re.compile(rf"(?P<policy>[^+@]+)(?:\+(?P<rule>[a-z]+)(?P<n>\d+)"
                  rf"(?:_(?P<symbol>[a-z]+)(?P<coefficient>{NUMBER}))?@(?P<temperature>{NUMBER}))?")


@dataclass(frozen=True)
class System:
    """A policy's single answer (no rule), or the pick of `rule` among `n` at `temperature`.

    coefficient: of the rule; None takes its default. Raises ValueError for a rule that is not
    known, or a coefficient that the rule does not take.
    """

    policy: str
    rule: str | None = None
    n: int = 1
    temperature: float | None = None
    coefficient: float | None = None

    def __post_init__(self) -> None:
        if self.rule is not None and self.rule not in RULES:
            raise ValueError(f"the rule {self.rule!r} of {self.policy} is not known; use "
                             f"{', '.join(RULES)}")
        known, given = COEFFICIENTS.get(self.rule or ""), self.coefficient
        if given is None:
            object.__setattr__(self, "coefficient", known and known.default)
        elif known is None:
            raise ValueError(f"{self.rule or self.policy} takes no coefficient, but has {given}; "
                             f"only {', '.join(COEFFICIENTS)} have one")
        elif not (0 < given < float("inf") or (known.zero and given == 0)):
            raise ValueError(f"{known.symbol} of {self.rule} is {given}; use a number "
                             f"{'of at least' if known.zero else 'above'} 0")

    @property
    def name(self) -> str:
        """Its name in tables, files and pages; one name a system (`@1`, never `@1.0`)."""
        return f"{self.family}@{self.temperature:g}" if self.rule else self.family

    @property
    def family(self) -> str:
        """The name without its temperature, `dpo+bon4`: one line of a figure over temperatures."""
        setting = f"_{self.setting.replace(' ', '')}" if self.setting else ""
        return f"{self.policy}+{self.rule}{self.n}{setting}" if self.rule else self.policy

    @property
    def control(self) -> Self:
        """A random pick of the same candidates, the baseline of what the rule adds."""
        return type(self)(self.policy, RANDOM, self.n, self.temperature)

    @property
    def selects(self) -> bool:
        """Whether it picks by the selector's scores, which a single or a random answer does not."""
        return self.rule not in (None, RANDOM)

    @property
    def setting(self) -> str:
        """Symbol and value of a coefficient other than the rule's default, `beta 8`; or empty."""
        known, given = COEFFICIENTS.get(self.rule or ""), self.coefficient
        if known is None or given is None or given == known.default:
            return ""
        return f"{known.symbol} {float(given)!r}".removesuffix(".0")

    @classmethod
    def parse(cls, name: str) -> Self:
        """The system of this name; raises ValueError for any other text."""
        match = NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} names no system; write a policy, or for example "
                             "dpo+bon4@0.6")
        if match["rule"] is None:
            return cls(match["policy"])
        rule, symbol, given = match["rule"], match["symbol"], match["coefficient"]
        if rule in COEFFICIENTS and symbol not in (None, COEFFICIENTS[rule].symbol):
            raise ValueError(f"{name!r} names no system; {rule}'s coefficient is "
                             f"{COEFFICIENTS[rule].symbol}")
        return cls(match["policy"], rule, int(match["n"]), float(match["temperature"]),
                   None if given is None else float(given))
