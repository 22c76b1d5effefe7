"""The choices of a profile's `data` in their order, with their counts and their control."""

from dataclasses import replace

import numpy as np
import pytest

from lib.data.pair_selection.select import Measures, selected_pairs
from lib.data.pair_selection.settings import PairSelection
from lib.data.settings import DataSettings
from tests.data.pair_selection.test_filters import pairs

GAPS = [float(number % 7) + 0.5 for number in range(40)]


def measured() -> Measures:
    """Own answers beat the chosen one of every fifth pair; ids are the reference's gaps."""
    return Measures(lambda kept: (np.array([float(row["id"]) % 5 == 0 for row in kept]),
                                  np.full(len(kept), 0.5)),
                    lambda kept: np.array([float(row["id"]) for row in kept]),
                    lambda kept: np.eye(2)[[int(int(row["id"]) % 3 == 0) for row in kept]])


def never(*_: object) -> None:
    pytest.fail("asked a model that no choice needs")


def select(settings: PairSelection, seed: int = 0) -> tuple[list[str], list[dict]]:
    rows = pairs(*GAPS)
    found, report = selected_pairs(rows, settings, measured(), seed)
    return [row["id"] for row in found], report


CHOICES = {"margin": {"margin": 4.0}, "fdpo": {"fdpo_threshold": 0.0},
           "clusters": {"clusters": 2, "cluster_share": 0.2},
           "curriculum": {"curriculum": "score_gap"},
           "reference": {"curriculum": "reference_gap"}}


def test_without_a_choice_pairs_stay_as_they_are_and_no_model_is_asked() -> None:
    rows = pairs(*GAPS)
    assert selected_pairs(rows, PairSelection(), Measures(never, never, never), 0) == (rows, [])
    assert not PairSelection().changes_pairs


def test_each_choice_takes_its_pairs() -> None:
    assert set(select(PairSelection(margin=4.0))[0]) == {
        str(i) for i, gap in enumerate(GAPS) if gap >= 4}
    assert set(select(PairSelection(fdpo_threshold=0.0))[0]) == {
        str(i) for i in range(40) if i % 5}
    by_cluster = select(PairSelection(clusters=2, cluster_share=0.2))[0]
    assert len(by_cluster) == 8
    assert sum(int(number) % 3 == 0 for number in by_cluster) == 4
    gaps = [GAPS[int(number)] for number in select(PairSelection(curriculum="score_gap"))[0]]
    assert gaps == sorted(GAPS, reverse=True)
    assert select(PairSelection(curriculum="reference_gap"))[0] == [
        str(i) for i in reversed(range(40))]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_control_has_the_same_number_of_pairs_by_chance(choice: str) -> None:
    settings = PairSelection(**CHOICES[choice])
    own, control = select(settings)[0], select(replace(settings, random_control=True))[0]
    assert len(own) == len(control) == len(set(control))
    assert own != control != select(replace(settings, random_control=True), seed=1)[0]
    assert control == select(replace(settings, random_control=True))[0]


def test_noise_comes_first_and_every_step_is_counted() -> None:
    settings = PairSelection(label_noise=0.25, margin=2.0, fdpo_threshold=0.0, clusters=2,
                             curriculum="score_gap")
    ids, report = select(settings)
    assert [step["step"] for step in report] == ["label_noise", "margin", "fdpo", "clusters",
                                                 "curriculum"]
    assert len(report[0]["flipped"]) == 10
    assert [step["pairs"] for step in report] == sorted(
        (step["pairs"] for step in report), reverse=True)
    assert report[-1]["pairs"] == len(ids)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"label_noise": -0.1}, "label_noise is -0.1; use a number of at least 0 and at most 1"),
    ({"margin": 0}, "margin is 0; use a number above 0"),
    ({"clusters": 1}, "clusters is 1; use a whole number of at least 2"),
    ({"cluster_share": 0.3}, "data.cluster_share is 0.3 without data.clusters; set that too"),
    ({"fdpo_samples": 4}, "data.fdpo_samples is 4 without data.fdpo_threshold; set that too"),
    ({"curriculum": "hard_first"}, "curriculum is 'hard_first'; use"),
    ({"random_control": True}, "data.random_control is true, and nothing is chosen"),
    ({"random_control": True, "label_noise": 0.1}, "data.random_control is true")])
def test_a_choice_that_cannot_be_made_is_refused(wrong: dict, message: str) -> None:
    for kind in (PairSelection, DataSettings):
        with pytest.raises(ValueError, match=message):
            kind(**wrong)


def test_what_was_read_does_not_depend_on_the_choice_which_is_said_in_words() -> None:
    plain, chosen = DataSettings(), DataSettings(margin=2, label_noise=0.1)
    assert plain.read() == chosen.read()
    assert "margin" not in plain.read()
    assert (plain.choice(), chosen.choice()) == ("", "label_noise=0.1, margin=2.0")
