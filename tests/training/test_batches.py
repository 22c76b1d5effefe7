"""The examples of each step: whole rows, shared prompts, and the order that was asked for."""

from dataclasses import replace

import pytest
import torch

from lib.training.dpo import DPOObjective
from lib.training.objective import step_batches
from lib.training.settings import DPOSettings
from lib.training.sft import SFTObjective
from tests.training.small_runs import CPU, pairs, sequences
from tests.training.test_loop import DPO


def untrained(settings: DPOSettings) -> DPOObjective:
    """The pairs with a reference of zeros, for what needs no log-probabilities."""
    return DPOObjective(pairs(), torch.zeros(len(pairs()), 2), settings)


def test_a_row_longer_than_the_token_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="more than token_budget=4"):
        SFTObjective(sequences(), 4)
    objective = untrained(replace(DPO, token_budget=8))
    with pytest.raises(ValueError, match="pair 0/0 has 18 tokens, more than token_budget=8"):
        objective.rows([0], CPU)


def test_pairs_of_one_prompt_share_its_computation() -> None:
    objective = untrained(replace(DPO, token_budget=4096))
    row, = objective.rows([1, 2], CPU)
    tokens = row.batch.answer_slices[-1][-1].stop
    assert tokens == 5 + 6 + 7 + 4  # prompt, best, worst, middle: each once
    assert objective.tokens([1, 2]) == 2 * (5 + 5) + 6 + 7 + 6 + 4


def test_shuffling_keeps_pairs_of_a_prompt_together_and_visits_each_once() -> None:
    objective = untrained(DPO)
    order = [i for batch in step_batches(objective.groups, DPO, seed=3) for i in batch]
    assert sorted(order) == list(range(len(pairs())))
    assert order != list(range(len(pairs())))
    place = {example: n for n, example in enumerate(order)}
    for group in objective.groups:
        spots = [place[example] for example in group]
        assert max(spots) - min(spots) == len(group) - 1


@pytest.mark.parametrize("epochs", [0.01, 0.25, 0.5, 1, 1.5])
def test_a_part_of_an_epoch_takes_its_share_of_the_examples_and_one_at_least(
        epochs: float) -> None:
    groups = [[0], [1, 2], [3, 4, 5], [6, 7]]
    batches = step_batches(groups, replace(DPO, epochs=epochs, batch_size=3), seed=3)
    assert sum(map(len, batches)) == max(1, 8 * epochs)
    assert all(len(batch) <= 3 for batch in batches)


@pytest.mark.parametrize("epochs", [1, 2, 0.5, 1.5])
def test_a_curriculums_order_is_kept_in_every_epoch_and_whole_in_a_part_of_one(
        epochs: float) -> None:
    settings = replace(DPO, order="file", epochs=epochs, batch_size=4)
    count = len(pairs())
    batches = step_batches(untrained(settings).groups, settings, seed=3)
    order = [i for batch in batches for i in batch]
    whole, part = order[:int(epochs) * count], order[int(epochs) * count:]
    assert whole == list(range(count)) * int(epochs)
    assert part == list(range(0, count, 2)) * (epochs % 1 == 0.5)
