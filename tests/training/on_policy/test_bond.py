"""BOND's law, divergences and scores against the vector and by counting."""

import json

import numpy as np
import pytest

from lib import ROOT
from lib.training.on_policy.bond import (
    backward_scores,
    best_of_n_law,
    jeffreys,
    jeffreys_terms,
    kl_weight,
    quantiles,
)

VECTOR = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())["4_bond"]
REFERENCE, N = np.array(VECTOR["in"]["ref_pmf_ascending_reward"]), VECTOR["in"]["N"]


def close(got: object, expected: object) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_theorem_1_and_the_divergences_agree_with_the_vector() -> None:
    expected, policy = VECTOR["out"], VECTOR["in"]["policy"]
    law = best_of_n_law(REFERENCE, N)
    close(law, expected["bon_pmf"])
    close(law, np.diff(np.cumsum(REFERENCE) ** N, prepend=0))
    close(jeffreys_terms(policy, law), (expected["forward_KL_bon_to_policy"],
                                        expected["backward_KL_policy_to_bon"]))
    close(jeffreys(policy, law, 0.5), expected["jeffreys_beta_half"])
    close(kl_weight(N), expected["beta_bond"])


def test_quantiles_are_those_of_the_vector() -> None:
    """Ten samples in the reference's proportions: the estimate is the truth."""
    samples = np.repeat(np.arange(4.0), np.round(10 * REFERENCE).astype(int))
    close(quantiles(np.arange(4.0), samples), VECTOR["out"]["p_le"])
    close(np.log(quantiles(np.arange(4.0), samples)), VECTOR["out"]["log_p_le"])


def test_a_reward_that_is_worse_than_every_sample_has_a_finite_log() -> None:
    assert quantiles([-1.0, 9.0], [0.0, 1, 2]).tolist() == [0.25, 1.0]


def test_missing_rewards_are_left_out_of_the_quantiles() -> None:
    nan = np.nan
    found = quantiles([[1.0, nan], [1.0, 2.0]], [[0.0, 2.0, nan], [nan, nan, nan]])
    np.testing.assert_array_equal(found, [[0.5, nan], [nan, nan]])


def test_best_of_one_is_the_reference_and_has_nothing_to_distil() -> None:
    close(best_of_n_law(REFERENCE, 1), REFERENCE)
    with pytest.raises(ValueError, match="n is 1; the best of n needs n of at least 2"):
        kl_weight(1)


def test_jeffreys_is_forward_at_0_backward_at_1_and_0_between_equals() -> None:
    law, policy = best_of_n_law(REFERENCE, N), VECTOR["in"]["policy"]
    forward, backward = jeffreys_terms(policy, law)
    assert (jeffreys(policy, law, 0), jeffreys(policy, law, 1)) == (forward, backward)
    assert jeffreys(law, law, 0.3) == 0.0


def test_the_backward_scores_have_the_gradient_of_the_divergence() -> None:
    """Over all outcomes: grad KL(pi || best of n) = -E[grad log pi * (score - log pi + log ref)].

    The terms beside p_le^(n-1) in Theorem 1 are left out, as the paper does: exact without ties and
    with fine outcomes, so 2,000 of them.
    """
    import torch
    torch.manual_seed(0)
    reference = torch.full((2000,), 1 / 2000, dtype=torch.float64)
    target = torch.tensor(best_of_n_law(reference.numpy(), N))
    logits = torch.randn(2000, dtype=torch.float64, requires_grad=True)
    log_policy = logits.log_softmax(-1)
    policy = log_policy.exp()
    exact, = torch.autograd.grad((policy * (log_policy - target.log())).sum(), logits,
                                 retain_graph=True)
    rewards = np.arange(2000.0)
    scores = torch.tensor(backward_scores(rewards, rewards, N, 1.0))
    rewarded = scores - (log_policy - reference.log())
    ours, = torch.autograd.grad(-(policy.detach() * rewarded.detach() * log_policy).sum(), logits)
    assert float((ours - exact).norm() / exact.norm()) < 0.02
    close(backward_scores(rewards, rewards, N, 0.25), 0.25 * scores)
