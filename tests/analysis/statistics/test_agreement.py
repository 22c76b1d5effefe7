"""Agreement of judges beyond chance."""

import numpy as np
import pytest

from lib.analysis.statistics.agreement import agreement, cohen_kappa, gwet_ac1


def test_judges_of_one_mind_have_no_kappa_but_an_ac1_of_one() -> None:
    found = agreement(["A"] * 5, ["A"] * 5)
    assert (found["kappa"], found["agreement"], found["ac1"]) == (None, 1, 1)


def test_kappa_is_zero_at_chance_and_ignores_unlabelled_items() -> None:
    assert cohen_kappa(["A", "A", "B", "B", None], ["A", "B", "A", "B", "A"]) == pytest.approx(0)
    with pytest.raises(ValueError, match="same items"):
        cohen_kappa(["A"], ["A", "B"])


def test_judges_that_labelled_nothing_in_common_have_no_agreement_and_are_counted() -> None:
    apart = ["A", None, np.nan], [None, "B", "A"]
    assert agreement(*apart) == {"n": 0, "missing": 3, "agreement": None, "kappa": None,
                                 "ac1": None}
    for measure in (cohen_kappa, gwet_ac1):
        with pytest.raises(ValueError, match="no item has a label from both judges"):
            measure(*apart)
