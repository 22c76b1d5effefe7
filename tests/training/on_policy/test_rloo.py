"""RLOO's arithmetic against the vectors, by hand, and by finite differences."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from lib import ROOT
from lib.training.on_policy.rloo import (
    clipped_loss,
    effective_sample_size,
    generalised_advantages,
    is_clipped,
    kl_estimates,
    leave_one_out_advantages,
    ratios_of,
    shaped_rewards,
)

VECTORS: dict[str, Any] = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())


def close(got: object, expected: object) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def tensor(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_rloo_agrees_with_the_vectors() -> None:
    given, expected = VECTORS["8_rloo"]["in"], VECTORS["8_rloo"]["out"]
    shaped = shaped_rewards(given["reward"], given["logp_policy"], given["logp_ref"],
                            given["kl_beta"])
    close(shaped, expected["shaped_reward"])
    advantages = tensor(leave_one_out_advantages(shaped))
    close(advantages, expected["advantage"])
    policy = tensor(given["logp_policy"])
    close(-(advantages * policy).mean(), expected["loss_on_policy_reinforce"])
    log_ratios = policy - tensor(given["logp_old"])
    close(ratios_of(log_ratios), [1.10517091808, 1.6487212707, 0.740818220682, 1.0])
    losses = clipped_loss(log_ratios, advantages, given["clip"])
    close(losses, expected["per_seq_loss"])
    close(losses.mean(), expected["loss_clipped"])
    assert (~is_clipped(log_ratios, advantages, given["clip"])).tolist() == expected["grad_active"]
    close(clipped_loss(0 * policy, advantages, given["clip"]).mean(),
          expected["on_policy_loss_value_ratio1"])
    close(kl_estimates(policy, tensor(given["logp_ref"])).k1, expected["kl_seq"])


def test_token_ratios_agree_with_the_vectors() -> None:
    given, expected = VECTORS["8_ppo_token"]["in"], VECTORS["8_ppo_token"]["out"]
    per_token = [clipped_loss(tensor(new) - tensor(old), tensor([advantage] * len(new)),
                              given["clip"])
                 for new, old, advantage in zip(given["logp_new"], given["logp_old"],
                                                given["advantage"], strict=True)]
    for got, want in zip(per_token, expected["per_token"], strict=True):
        close(got, want)
    close(torch.cat(per_token).mean(), expected["mean_over_tokens"])
    close(np.mean([each.mean() for each in per_token]), expected["mean_over_seq_means"])


def test_advantages_from_a_critic_and_kl_estimates_agree_with_the_vectors() -> None:
    given, expected = VECTORS["8_gae"]["in"], VECTORS["8_gae"]["out"]
    advantages = generalised_advantages(**given)
    close(advantages, expected["advantage"])
    close(advantages + given["values"], expected["returns"])
    given, expected = VECTORS["8_kl_estimators"]["in"], VECTORS["8_kl_estimators"]["out"]
    found = kl_estimates(tensor(given["logp_policy"]), tensor(given["logp_ref"]))
    for name in ("k1", "k2", "k3"):
        close(getattr(found, name), expected[name])


def test_with_a_constant_baseline_the_critics_advantage_is_the_reward_less_it() -> None:
    """gamma = lam = 1, a reward at the end: what RLOO does, with the others' mean as V."""
    close(generalised_advantages([0, 0, 2.0], [0.5] * 3, 1.0, 1.0), [1.5] * 3)


def test_two_answers_have_opposite_advantages() -> None:
    close(leave_one_out_advantages([1.0, 0.2]), VECTORS["8_rloo"]["out"]["k2_identity"]["adv"])


@pytest.mark.parametrize("k", [2, 3, 7])
def test_an_advantage_is_the_reward_less_the_mean_of_the_others(k: int) -> None:
    rewards = np.random.default_rng(k).normal(size=(5, k))
    advantages = leave_one_out_advantages(rewards)
    for place in range(k):
        close(advantages[:, place], rewards[:, place] - np.delete(rewards, place, 1).mean(1))
    close(advantages.sum(1), 0)


def test_equal_rewards_have_no_advantage_and_shift_nothing() -> None:
    assert not leave_one_out_advantages([3.25] * 4).any()
    close(leave_one_out_advantages([1, 2, 4.0]), leave_one_out_advantages([101, 102, 104.0]))


def test_one_answer_alone_has_no_baseline() -> None:
    with pytest.raises(ValueError, match="has 1 answer; leave-one-out needs at least 2"):
        leave_one_out_advantages([[1.0], [2.0]])


@pytest.mark.parametrize("clip", [0.1, 0.2, 0.9])
def test_the_clipped_losss_gradient_is_right_in_float64(clip: float) -> None:
    torch.manual_seed(0)
    log_ratios = torch.randn(40, dtype=torch.float64, requires_grad=True)
    advantages = torch.randn(40, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda given: clipped_loss(given, advantages, clip), log_ratios)
    clipped_loss(log_ratios, advantages, clip).sum().backward()
    assert torch.equal(log_ratios.grad == 0, is_clipped(log_ratios, advantages, clip))


def test_an_answer_that_the_policy_moved_away_from_wrongly_keeps_its_gradient() -> None:
    """Worse than before though better than average, or better though worse than average."""
    log_ratios, advantages = tensor([-1.0, 1.0, 1.0, -1.0]), tensor([1.0, -1.0, 1.0, -1.0])
    assert is_clipped(log_ratios, advantages, 0.2).tolist() == [False, False, True, True]


def test_on_policy_samples_count_fully_and_one_dominant_sample_counts_alone() -> None:
    assert effective_sample_size(torch.zeros(8)) == 8
    assert effective_sample_size(tensor([50.0, 0, 0, 0])) == pytest.approx(1)
    assert np.isfinite(effective_sample_size(tensor([900.0, 0])))


def test_the_third_kl_estimate_is_never_negative_and_right_on_average() -> None:
    p, q = tensor([0.5, 0.3, 0.2]).log(), tensor([0.2, 0.3, 0.5]).log()
    found = kl_estimates(p, q)
    exact = float((p.exp() * (p - q)).sum())
    assert bool((found.k3 >= 0).all())
    for estimate in (found.k1, found.k3):
        assert float((p.exp() * estimate).sum()) == pytest.approx(exact)
