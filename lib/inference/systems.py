"""A system: a policy and a rule that picks one of its answers, with a name to write and read.

`dpo` is the policy's single answer; `dpo+bon4@0.6` the best of four answers sampled at T = 0.6 by
the selector; `dpo+random4@0.6` one of the same four at random, the control of that choice.
"""

import re
from dataclasses import dataclass
from typing import Self

BEST, RANDOM = "bon", "random"
NAME = re.compile(r"(?P<policy>[^+@]+)"
                  r"(?:\+(?P<rule>[a-z_]+)(?P<n>\d+)@(?P<temperature>\d*\.?\d+(?:e-?\d+)?))?")


@dataclass(frozen=True)
class System:
    """A policy's single answer (no rule), or the pick of `rule` among `n` at `temperature`."""

    policy: str
    rule: str | None = None
    n: int = 1
    temperature: float | None = None

    @property
    def name(self) -> str:
        """Its name in tables, files and pages; one name a system (`@1`, never `@1.0`)."""
        return f"{self.family}@{self.temperature:g}" if self.rule else self.family

    @property
    def family(self) -> str:
        """The name without its temperature, `dpo+bon4`: one line of a figure over temperatures."""
        return f"{self.policy}+{self.rule}{self.n}" if self.rule else self.policy

    @property
    def control(self) -> Self:
        """A random pick of the same candidates, the baseline of what the rule adds."""
        return type(self)(self.policy, RANDOM, self.n, self.temperature)

    @classmethod
    def parse(cls, name: str) -> Self:
        """The system of this name; raises ValueError for any other text."""
        match = NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} names no system; write a policy, or for example "
                             "dpo+bon4@0.6")
        if match["rule"] is None:
            return cls(match["policy"])
        return cls(match["policy"], match["rule"], int(match["n"]), float(match["temperature"]))
