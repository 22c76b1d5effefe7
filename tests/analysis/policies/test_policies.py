"""How far a policy moved and what it kept: divergence, displacement, retention."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2Config, Qwen2ForCausalLM

from lib import ROOT
from lib.analysis import tables
from lib.analysis.policies.displacement import displacement, reward_accuracy, reward_intervals
from lib.analysis.policies.divergence import kl_divergence, sampler_divergence
from lib.analysis.policies.retention import choice_accuracy, retention
from lib.analysis.statistics import wilson_interval
from lib.analysis.tables.findings import accuracy_words, dpo_findings, sft_findings
from lib.inference.engine.distributions import sampling_logps
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.divergence import _token_values, answer_divergence, whole_vocabulary
from lib.modeling.packed.packing import SharedPrompt, collate
from lib.modeling.smoke import smoke_tokenizer
from lib.study.publish.training_lines import choice_lines, movement_lines
from lib.study.stages.multiple_choice import continuation_prompts

NATS = st.lists(st.floats(0.5, 200), min_size=2, max_size=30)


def tiny(seed: int, packed: bool = True) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1)).eval()
    if packed:
        use_packed_attention(model)
    return model


def test_the_divergence_of_packed_answers_is_that_of_each_alone() -> None:
    policy, reference = tiny(0), tiny(1)
    trees = [SharedPrompt((1, 2, 3), ((4, 5),)), SharedPrompt((6, 7), ((8, 9, 10),))]
    found = answer_divergence(policy, reference, collate(trees))
    for place, tree in enumerate(trees):
        prompt, answer = list(tree.prompt), list(tree.answers[0])
        ids = torch.tensor([prompt + answer])
        with torch.no_grad():
            p, q = (model(ids).logits[0, len(prompt) - 1:-1].log_softmax(-1)
                    for model in (tiny(0, packed=False), tiny(1, packed=False)))
        picked = torch.arange(len(answer)), torch.tensor(answer)
        expected = p[picked].sum(), q[picked].sum(), (p.exp() * (p - q)).sum()
        assert [float(values[place]) for values in found] == pytest.approx(
            [*(float(value) for value in expected), 0], abs=1e-4)


def top_two(logits: torch.Tensor) -> torch.Tensor:
    """Logits as a sampler of the two likeliest tokens at temperature 0.5."""
    return sampling_logps(logits, temperature=0.5, top_k=2, top_p=1.0)


def test_samplers_are_compared_on_the_tokens_that_both_can_write() -> None:
    """Where top-k parts them the KL is infinite: such tokens are counted and left out."""
    policy, reference, prompt = tiny(0), tiny(3), [1, 2, 3]
    with torch.no_grad():
        logits = [model(torch.tensor([prompt])).logits[0, -1]
                  for model in (tiny(0, packed=False), tiny(3, packed=False))]
    tops = [set(values.topk(25).indices.tolist()) for values in logits]
    shared = sorted(tops[0] & tops[1])
    assert 1 < len(shared) < 25  # the case that we mean
    p, q = ((values[shared] / 0.5).log_softmax(0) for values in logits)  # over what both can write
    sampler = partial(sampling_logps, temperature=0.5, top_k=25, top_p=1.0)
    for token in sorted(tops[0]):
        found = answer_divergence(policy, reference,
                                  collate([SharedPrompt(tuple(prompt), ((token,),))]), sampler)
        own, other = (sampler(values[None])[0, token] for values in logits)
        assert float(found.kl) == pytest.approx(float((p.exp() * (p - q)).sum()), abs=1e-5)
        assert bool(found.outside) == (token not in shared)
        assert [float(found.logp), float(found.reference_logp)] == pytest.approx(
            [float(own), float(other)] if token in shared else [0, 0], abs=1e-4)


def test_a_tail_that_no_sampler_reaches_is_in_the_policies_kl_and_not_in_the_samplers() -> None:
    """The case in which the whole vocabulary's KL would seem to exceed what sampling shows."""
    head, tail = torch.tensor([2.0, 1.9]), torch.full((48,), -1.0)
    policy, reference = torch.cat((head, tail))[None], torch.cat((head, tail - 4))[None]
    none = torch.tensor([0])
    whole = _token_values(*map(whole_vocabulary, (policy, reference)), none)
    sampled = _token_values(*map(top_two, (policy, reference)), none)
    assert float(whole.kl) > 0.5
    assert float(sampled.kl) == pytest.approx(0, abs=1e-6)


def test_the_share_of_answers_outside_has_its_interval_and_the_samplers_kl_no_k3() -> None:
    found = sampler_divergence([-1.0] * 10, [-1.5] * 10, [0.4] * 10, [0] * 8 + [1, 3], 100)
    assert (found["kl"], found["k1"], found["outside"]) == pytest.approx((0.4, 0.5, 0.2))
    assert (found["outside_low"], found["outside_high"]) == pytest.approx(wilson_interval(2, 10))
    assert "k3" not in found
    json.dumps(found, allow_nan=False)


def movement() -> dict:
    shown = {"ci_low": 0.9, "ci_high": 1.15, "n": 64, "k1": 0.3, "k1_low": 0.0, "k1_high": 0.7,
             "top_k": 50, "mean_tokens": 66.0, "kl_per_token": 0.01}
    return {"kl": shown | {"kl": 1.03, "temperature": 1.0},
            "sampler_kl": shown | {"kl": 0.34, "ci_low": 0.1, "ci_high": 0.6, "temperature": 0.6,
                                   "outside": 0.2, "outside_low": 0.1, "outside_high": 0.3,
                                   "best_of_n": 4, "best_of_n_bound": 0.64},
            "retention": [{"policy": "base", "n": 64, "loss": 2.9, "ci_low": 2.8,
                           "ci_high": 3.0, "change": None}]}


def test_best_of_ns_bound_stands_beside_the_samplers_kl_and_never_beside_the_policies() -> None:
    policies, samplers = tables.divergence_table(movement()).splitlines()[2:]
    assert "whole vocabulary, T = 1 | 64" in policies
    assert ".64" not in policies
    assert "T = 0.6, top-k 50" in samplers
    assert samplers.endswith(".20 [.10, .30] | .64 (n = 4) |")
    whole, sampler, _ = movement_lines(movement())
    assert "1.03" in whole
    assert "Best-of" not in whole
    assert ".34 [.10, .60]" in sampler
    assert sampler.endswith("Best-of-4 adds at most .64.")


def test_a_run_without_a_samplers_kl_states_no_bound() -> None:
    without = movement() | {"sampler_kl": None}
    assert ".64" not in tables.divergence_table(without)
    assert not any("Best-of" in line for line in movement_lines(without))


def test_a_policy_does_not_diverge_from_itself() -> None:
    model = tiny(0)
    logp, again, kl, _ = answer_divergence(model, model,
                                           collate([SharedPrompt((1, 2), ((3, 4, 5),))]))
    assert torch.equal(logp, again)
    assert float(kl) == pytest.approx(0, abs=1e-6)


def test_the_exact_divergence_is_the_mean_of_the_sampled_one_with_less_noise() -> None:
    random = np.random.default_rng(0)
    exact = np.full(400, 1.0)
    noise = random.normal(1.0, 2.0, 400)  # log-ratios of sampled tokens around the same mean
    found = kl_divergence(noise, np.zeros(400), exact, resamples=500)
    assert found["k1_low"] < found["kl"] == 1 < found["k1_high"]
    assert found["ci_high"] - found["ci_low"] < found["k1_high"] - found["k1_low"]
    json.dumps(found, allow_nan=False)


def test_the_estimators_of_one_answer_agree_with_the_vector() -> None:
    vector = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())["8_kl_estimators"]
    for place, pair in enumerate(zip(*vector["in"].values(), strict=True)):
        found = kl_divergence([pair[0]], [pair[1]], [0.0], resamples=10)
        for name in ("k1", "k3"):
            assert found[name] == pytest.approx(vector["out"][name][place], abs=1e-9)


def test_the_divergence_of_several_answers_is_their_mean_and_zero_for_equal_policies() -> None:
    found = kl_divergence([-1.0, -2.0], [-1.2, -1.5], [0.1, 0.2])
    assert (found["kl"], found["k1"]) == pytest.approx((0.15, -0.15))
    assert found["k3"] == pytest.approx((0.018730753078 + 0.1487212707) / 2, abs=1e-9)
    same = kl_divergence([-3.0, -4.0], [-3.0, -4.0], [0.0, 0.0])
    assert (same["kl"], same["k1"], same["k3"]) == (0, 0, 0)


def test_displacement_takes_the_first_and_last_validation_in_order_of_steps() -> None:
    rows = [{"split": "validation", "step": step, "n": 9, "logps/chosen": -10.0 - step,
             "logps/rejected": -10.0 - 2 * step} for step in (8, 0, 4)]
    rewards = [{"prompt": prompt, "chosen": 0.1 * (-8 + noise), "rejected": 0.1 * (-16 - noise)}
               for prompt, noise in enumerate((-2, -1, 0, 1, 2))]
    chosen, rejected = displacement([*rows, {"split": "train", "step": 99}], rewards, beta=0.1)
    assert (chosen["before"], chosen["after"], chosen["change"]) == (-10, -18, -8)
    assert (rejected["change"], rejected["n"]) == (-16, 9)
    assert chosen["change_low"] < -8 < chosen["change_high"] < 0
    assert "| chosen | 9 | -10.00 | -18.00 | -8.00 [-9.96, -6.04] |" in \
        tables.displacement_table([chosen, rejected])
    assert displacement(rows[:1], rewards, 0.1) == []


def test_displacement_takes_gains_where_the_losss_rewards_are_none() -> None:
    """SimPO's reward is a mean log-probability: divided by beta it is no change."""
    rows = [{"split": "validation", "step": step, "n": 3, "logps/chosen": -10.0 - step,
             "logps/rejected": -10.0 - step} for step in (0, 2)]
    rewards = [{"prompt": prompt, "chosen": -3.0, "rejected": -4.0, "chosen_gain": -2 + noise,
                "rejected_gain": -2 - noise} for prompt, noise in enumerate((-0.1, 0, 0.1))]
    chosen, _ = displacement(rows, rewards, beta=2.0)
    assert -2.5 < chosen["change_low"] < chosen["change"] < chosen["change_high"] < -1.5


def test_rewards_of_validation_pairs_have_intervals_that_count_prompts() -> None:
    pairs = [{"prompt": 0, "chosen": 0.4, "rejected": 0.1}, {"prompt": 1, "chosen": 0.1,
             "rejected": 0.2}, {"prompt": 2, "chosen": 0.3, "rejected": -0.3}]
    found = reward_intervals(pairs)
    low, high = found["rewards/margins"]
    assert low < np.mean([0.3, -0.1, 0.6]) < high
    for name, ends in reward_intervals(pairs * 4).items():  # said four times, known once
        assert found[name] == pytest.approx(ends)
    assert reward_accuracy(pairs)["accuracy"] == pytest.approx(2 / 3)
    evaluation = {"n": 3, "loss": 0.6, "rewards/margins": 0.27, "intervals": found,
                  "accuracy": reward_accuracy(pairs), "rewards/accuracies": 2 / 3,
                  "rewards/chosen": 0.27, "rewards/rejected": 0.0}
    table = tables.dpo_paper_table(evaluation)
    assert "| loss | .5630 | .600 |" in table
    assert "| rewards/margins | .5798 | .270 [-" in table


def test_accuracy_has_one_value_and_one_interval_wherever_it_is_stated() -> None:
    pairs = [{"prompt": place // 6, "chosen": gap, "rejected": 0.0} for place, gap in
             enumerate([0.2] * 12 + [-0.1] * 6 + [0.0] * 6)]  # equal rewards are half right
    accuracy = reward_accuracy(pairs)
    shown = tables.formatting.interval(accuracy, "accuracy", digits=3)
    assert shown.startswith(".625 [")
    low, high = wilson_interval(15, 24)
    assert accuracy["ci_low"] < low < high < accuracy["ci_high"]  # four prompts, not 24 pairs
    last = {"split": "validation", "step": 1, "n": 24, "loss": 0.6, "rewards/margins": 0.1,
            "rewards/chosen": 0.1, "rewards/rejected": 0.0, "rewards/accuracies": 0.5}
    evaluation = last | {"accuracy": accuracy, "intervals": reward_intervals(pairs)}
    assert f"| rewards/accuracies | .6923 | {shown} |" in tables.dpo_paper_table(evaluation)
    assert f"The reward accuracy is {accuracy_words(accuracy)};" in dpo_findings([last], accuracy)


def test_retention_weighs_tokens_and_pairs_the_change_by_conversation() -> None:
    base, sft, dpo = retention({"base": [30.0, 10.0], "sft": [20.0, 5.0], "dpo": [20.0, 5.0]},
                               [10, 10], resamples=200)
    assert (base["loss"], sft["loss"], base["tokens"]) == (2, 1.25, 20)
    assert base["perplexity"] == pytest.approx(np.exp(2))
    assert base["change"] is None
    assert (sft["change"], dpo["change"]) == (-0.75, 0)
    assert (dpo["change_low"], dpo["change_high"]) == (0, 0)
    json.dumps([base, sft, dpo], allow_nan=False)


@settings(deadline=None, max_examples=40)
@given(NATS)
def test_a_retention_interval_holds_its_loss(nats: list[float]) -> None:
    [row] = retention({"base": nats}, [10] * len(nats), resamples=400)
    assert row["ci_low"] - 1e-9 <= row["loss"] <= row["ci_high"] + 1e-9


def test_policies_that_read_other_conversations_are_refused() -> None:
    with pytest.raises(ValueError, match="sft read 1 conversations of 2; every policy must"):
        retention({"base": [1.0, 2.0], "sft": [1.0]}, [5, 5])


def test_without_validation_rows_every_measure_is_empty_and_its_sentence_says_so() -> None:
    assert retention({"base": [], "sft": []}, []) == []
    assert (reward_accuracy([]), reward_intervals([])) == ({}, {})
    assert continuation_prompts([], tokenizer=None) == []
    assert "No validation pairs were set aside" in dpo_findings([], {})
    assert "No validation rows were set aside" in sft_findings([{"split": "train"}])
    evaluated = {"n": 0, "accuracy": {}, "intervals": {}, "displacement": []}
    assert tables.dpo_paper_table(evaluated) == "No validation pairs were set aside."
    assert tables.retention_table([]) == "No validation conversations were set aside."


def test_choices_count_the_true_continuation_and_pair_the_change_by_question() -> None:
    right, wrong, even = [-1.0, -2.0, -3.0, -4.0], [-2.0, -1.0, -3.0, -4.0], [-1.0, -1.0, -3, -4]
    sft, dpo = choice_accuracy({"sft": [right, right, wrong, even],
                                "dpo": [right, wrong, wrong, right]})
    assert (sft["accuracy"], dpo["accuracy"], sft["chance"], sft["n"]) == (0.5, 0.5, 0.25, 4)
    assert sft["ci_low"] < 0.5 < sft["ci_high"]
    assert sft["change"] is None
    assert dpo["change"] == 0
    assert dpo["change_low"] == pytest.approx(-dpo["change_high"])  # one lost, one gained
    json.dumps([sft, dpo], allow_nan=False)
    assert choice_accuracy({"base": [], "sft": []}) == []


def test_choices_are_shown_with_their_interval_and_what_guessing_gets() -> None:
    rows = choice_accuracy({"sft": [[-1.0, -2.0, -3.0, -4.0]] * 4,
                            "dpo": [[-1.0, -2.0, -3.0, -4.0]] * 3 + [[-2.0, -1.0, -3.0, -4.0]]})
    assert "| dpo | 4 | .25 | .75 [.30, .95] | -.25 [" in tables.choices_table(rows)
    assert "did not measure the choice" in tables.choices_table([])
    [line] = choice_lines(rows)
    assert "4 questions (guessing gets .25): sft 1.00 [" in line
    assert choice_lines([]) == []


def test_choices_that_policies_were_asked_differently_are_refused() -> None:
    with pytest.raises(ValueError, match="dpo answered 1 questions and sft 2"):
        choice_accuracy({"sft": [[-1.0, -2.0]] * 2, "dpo": [[-1.0, -2.0]]})
    with pytest.raises(ValueError, match="an option of sft has no log-probability"):
        choice_accuracy({"sft": [[float("nan"), -2.0]]})


def test_a_question_offers_its_own_answer_first_and_three_others_of_its_source() -> None:
    tokenizer = smoke_tokenizer(300)
    rows = [{"source": source, "messages": [{"role": "user", "content": f"Ask {i}"},
                                            {"role": "assistant", "content": answer}]}
            for i, (source, answer) in enumerate(
                [("a", "Red"), ("b", "Six"), ("a", "Blue"), ("a", "Red"), ("a", "Green"),
                 ("a", "Pink")])]
    trees = continuation_prompts(rows, tokenizer)
    shown = [[tokenizer.decode(branch, skip_special_tokens=True).strip() for branch in
              tree.answers] for tree in trees]
    assert shown[0] == ["Red", "Blue", "Green", "Pink"]  # the other Red is passed over
    assert shown[1][0] == "Blue"
    assert [options[0] for options in shown] == ["Red", "Blue", "Red", "Green", "Pink", "Six"]
    assert all(len(set(options)) == 4 for options in shown)
    assert continuation_prompts(rows[:1], tokenizer) == []
