"""Every loss of the family trains, and lowers itself on pairs that it has not seen."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lib.runtime.files import read_jsonl
from lib.training.betas.steering import steering_of
from lib.training.dpo import DPOObjective
from lib.training.loop import Run, train
from lib.training.pairs import Pair
from lib.training.reference import reference_logps
from lib.training.settings import LOSS_SETTINGS, REFERENCE_FREE, DPOSettings
from tests.training.small_runs import CPU, model


def pairs(count: int, seed: int, flipped: float = 0.0) -> list[Pair]:
    """Chosen answers of low token ids, rejected ones of high ids; a share of pairs is flipped."""
    generator = torch.Generator().manual_seed(seed)

    def some(low: int, high: int) -> tuple[int, ...]:
        size = int(torch.randint(3, 9, (), generator=generator))
        return tuple(torch.randint(low, high, (size,), generator=generator).tolist())
    made = [Pair(f"{seed}/{i}", some(3, 61), some(3, 30), some(32, 61), 1.5) for i in range(count)]
    return [replace(pair, chosen=pair.rejected, rejected=pair.chosen)
            if i < flipped * count else pair for i, pair in enumerate(made)]


def validation(loss: str, folder: Path, flipped: float = 0.0) -> list[dict]:
    """The metrics of held-out pairs before and after training on others."""
    settings = DPOSettings(loss=loss, learning_rate=2e-3, batch_size=8, token_budget=200, epochs=2,
                           checkpoint_every=0)
    policy, steering = model(), steering_of(settings)
    folder.mkdir(exist_ok=True)

    def objective(part: list[Pair], name: str) -> DPOObjective:
        reference = reference_logps(policy, part, [], 200, "model", folder / f"{name}.jsonl", CPU)
        return DPOObjective(part, reference, settings)
    training, held = objective(pairs(48, 1, flipped), "training"), objective(pairs(24, 2), "held")
    training.steering = steering
    train(Run(policy, training, held, settings, folder, 0, CPU, torch.float32, steering=steering))
    rows = read_jsonl(folder / "metrics.jsonl")
    assert all(math.isfinite(row["loss"]) and row.get("grad_norm", 1.0) > 0 for row in rows)
    return [row for row in rows if row["split"] == "validation"]


@pytest.mark.parametrize("loss", LOSS_SETTINGS)
def test_a_loss_falls_on_pairs_that_it_has_not_seen(tmp_path: Path, loss: str) -> None:
    before, after = validation(loss, tmp_path)
    assert after["loss"] < before["loss"]
    assert after["rewards/margins"] > before["rewards/margins"] + 0.01
    assert after["rewards/accuracies"] >= 0.8
    if loss not in REFERENCE_FREE:
        assert before["rewards/margins"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", LOSS_SETTINGS)
def test_no_loss_learns_an_order_from_labels_of_which_half_are_flipped(tmp_path: Path,
                                                                      loss: str) -> None:
    clean, noisy = (validation(loss, tmp_path / str(share), share)[-1]["rewards/margins"]
                    for share in (0.0, 0.5))
    assert abs(noisy) < clean / 2
