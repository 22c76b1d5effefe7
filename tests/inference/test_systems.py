"""A system writes and reads its own name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.analysis.figures.theme import readable
from lib.analysis.tables.comparisons import systems_table
from lib.inference.systems import COEFFICIENTS, RULES, System

temperatures = st.floats(0, 2).map(lambda t: float(f"{t:g}"))


@given(st.sampled_from(["base", "sft", "dpo", "my-policy_2"]), st.sampled_from(RULES),
       st.integers(1, 64), temperatures)
def test_a_system_reads_the_name_that_it_writes(policy: str, rule: str, n: int,
                                                temperature: float) -> None:
    system = System(policy, rule, n, temperature)
    assert System.parse(system.name) == system
    assert System.parse(policy) == System(policy)


@given(st.sampled_from(list(COEFFICIENTS)), st.floats(1e-12, 1e20), temperatures)
def test_a_coefficient_is_read_to_its_last_digit(rule: str, value: float,
                                                 temperature: float) -> None:
    system = System("dpo", rule, 4, temperature, value)
    assert System.parse(system.name) == system


def test_a_name_has_the_coefficient_only_where_it_is_not_the_default() -> None:
    names = ["dpo+softbon4@0.6", "dpo+softbon4_lam2@0.6", "dpo+mbr4@0.6", "dpo+mbr4_beta8@0.6",
             "dpo+klbon4@0.6", "dpo+klbon4_beta0.1@0.6", "dpo+mbr4_beta0@1"]
    assert [System.parse(name).name for name in names] == names
    assert System.parse("dpo+mbr4_beta2.0@0.6").name == "dpo+mbr4@0.6"
    assert System("dpo", "mbr", 4, 0.6, 2) == System("dpo", "mbr", 4, 0.6)
    assert System.parse("dpo+mbr4_beta8@0.6").family == "dpo+mbr4_beta8"
    assert len({System.parse(name) for name in names}) == len(names)


def test_a_temperature_of_one_has_one_name() -> None:
    assert System.parse("dpo+bon4@1.0").name == System.parse("dpo+bon4@1").name == "dpo+bon4@1"


@pytest.mark.parametrize("name", ["dpo+bon4@0.6", "dpo+mbr4_beta8@0.6"])
def test_the_control_picks_among_the_same_candidates(name: str) -> None:
    assert System.parse(name).control.name == "dpo+random4@0.6"


@pytest.mark.parametrize("name", ["", "dpo+bon4", "dpo+bon@0.6", "dpo@", "dpo+bon4@warm",
                                  "dpo+mbr4_beta@0.6", "dpo+mbr4_8@0.6", "dpo+mbr_beta8@0.6",
                                  "dpo+mbr4_lam8@0.6", "dpo+softbon4_beta1@0.6"])
def test_a_text_that_names_no_system_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="names no system"):
        System.parse(name)


@pytest.mark.parametrize(("name", "reason"), [
    ("dpo+best4@0.6", "the rule 'best' of dpo is not known; use bon, random, softbon, mbr, klbon"),
    ("dpo+bon4_beta2@0.6", "bon takes no coefficient, but has 2.0; only softbon, mbr, klbon"),
    ("dpo+softbon4_lam0@0.6", "lam of softbon is 0.0; use a number above 0"),
    ("dpo+mbr4_beta1e999@0.6", "beta of mbr is inf; use a number of at least 0")])
def test_a_rule_or_coefficient_that_means_nothing_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        System.parse(name)


def test_every_rule_has_words_in_figures_and_tables() -> None:
    names = [System("dpo", rule, 4, 0.6).name for rule in RULES]
    assert len({readable(name) for name in names}) == len(RULES)
    assert readable("dpo+mbr4_beta8@0.6") == "DPO MBR best of 4 (beta 8, T\u00a00.6)"
    assert "(beta = 8)" in systems_table(["dpo+mbr4_beta8@0.6"])
    assert systems_table(names).count("| of 4 answers of the SFT model") == len(RULES)
