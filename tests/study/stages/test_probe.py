"""The probe's KL from the reference, on fresh answers of the policy."""

from pathlib import Path

import pytest
import torch

from lib.inference.sampling_settings import SamplingSettings
from lib.modeling.loading import load_model, load_tokenizer
from lib.modeling.smoke import smoke_model
from lib.study.stages.probe import fresh_kl

PROMPTS = [{"id": str(number), "prompt": f"Name a number above {number}.", "source": "a"}
           for number in range(12)]
SAMPLING = SamplingSettings(samples=1, temperature=0.2, top_k=3, max_new_tokens=12)


@pytest.fixture(scope="module")
def reference() -> Path:
    return smoke_model()


def moved(reference: Path, by: float) -> torch.nn.Module:
    """The reference with every weight moved at random."""
    policy = load_model(str(reference))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return policy


def test_a_policy_that_did_not_move_is_0_nats_away(reference: Path) -> None:
    found = fresh_kl(moved(reference, 0.0), str(reference), load_tokenizer(str(reference)),
                     PROMPTS, SAMPLING)
    assert [found[name] for name in ("kl", "k1", "k3")] == pytest.approx([0, 0, 0], abs=1e-5)
    assert found["kl_n"] == 12


def test_it_grows_with_the_distance_and_does_not_depend_on_the_runs_sampler(
        reference: Path) -> None:
    tokenizer = load_tokenizer(str(reference))
    near, far = (fresh_kl(moved(reference, by), str(reference), tokenizer, PROMPTS, SAMPLING)
                 for by in (0.01, 0.03))
    assert 0 < near["kl"] < far["kl"]
    assert near["kl_low"] <= near["kl"] <= near["kl_high"]
    assert near["k3"] >= 0
    other = SamplingSettings(samples=1, temperature=1.5, max_new_tokens=12, top_p=0.5)
    assert fresh_kl(moved(reference, 0.01), str(reference), tokenizer, PROMPTS, other) == near
