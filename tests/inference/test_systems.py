"""A system writes and reads its own name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.inference.systems import System


@given(st.sampled_from(["base", "sft", "dpo", "my-policy_2"]), st.sampled_from(["bon", "random"]),
       st.integers(1, 64), st.floats(0, 2).map(lambda t: float(f"{t:g}")))
def test_a_system_reads_the_name_that_it_writes(policy: str, rule: str, n: int,
                                                temperature: float) -> None:
    system = System(policy, rule, n, temperature)
    assert System.parse(system.name) == system
    assert System.parse(policy) == System(policy)


def test_a_temperature_of_one_has_one_name() -> None:
    assert System.parse("dpo+bon4@1.0").name == System.parse("dpo+bon4@1").name == "dpo+bon4@1"


def test_the_control_picks_among_the_same_candidates() -> None:
    assert System.parse("dpo+bon4@0.6").control.name == "dpo+random4@0.6"


@pytest.mark.parametrize("name", ["", "dpo+bon4", "dpo+bon@0.6", "dpo@", "dpo+bon4@warm"])
def test_a_text_that_names_no_system_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="names no system"):
        System.parse(name)
