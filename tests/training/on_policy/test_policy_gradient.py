"""The policy-gradient objective: REINFORCE at step 0, packed = padded, TRL's loss, metrics."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from trl import RLOOConfig, RLOOTrainer

from lib.modeling.loading import rounded_to
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.smoke import smoke_model
from lib.training import plain
from lib.training.objective import Metrics
from lib.training.on_policy.answers import Answer, answer_rows, group_answers
from lib.training.on_policy.policy_gradient import PolicyGradientObjective, advantages_of
from lib.training.on_policy.rloo import (
    clipped_loss,
    effective_sample_size,
    leave_one_out_advantages,
)
from lib.training.settings import PolicyGradientSettings
from tests.training.small_runs import CPU, RLOO, answers, ids, model, policy_objective

ONE_ROW = replace(RLOO, token_budget=4096)
PLAIN = [replace(answer, sft_weight=0.0) for answer in answers()]


def moved(policy: PreTrainedModel, by: float = 0.05) -> PreTrainedModel:
    torch.manual_seed(9)
    for parameter in policy.parameters():
        parameter.data.add_(by * torch.randn_like(parameter))
    return policy


def step(objective: PolicyGradientObjective, policy: PreTrainedModel,
         examples: Sequence[int] | None = None) -> tuple[float, Metrics, dict[str, torch.Tensor]]:
    """Mean loss, metrics and gradients of a step over the examples (all by default)."""
    examples = list(range(len(objective.answers))) if examples is None else examples
    policy.zero_grad()
    sums: Metrics = {}
    weight = objective.weight(examples)
    for row in objective.rows(examples, CPU):
        loss, metrics = objective.loss(policy, row)
        (loss / weight).backward()
        for name, value in (metrics | {"loss": loss.item()}).items():
            sums[name] = sums.get(name, 0.0) + value
    means = objective.means(sums, weight)
    return means["loss"], means, {name: parameter.grad.clone()
                                  for name, parameter in policy.named_parameters()}


def assert_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    for name, grad in theirs.items():
        assert (ours[name] - grad).norm() <= 1e-3 * grad.norm() + 1e-7, name


def padded_logps(policy: PreTrainedModel, examples: Sequence[Answer]) -> list[torch.Tensor]:
    """The same log-probabilities by transformers' forward on one padded batch."""
    policy.eval().set_attn_implementation("sdpa")
    logps, mask = plain.token_logps(policy, [
        (list(a.prompt + a.tokens), [0] * len(a.prompt) + [1] * len(a.tokens)) for a in examples])
    use_packed_attention(policy, "segments")
    return [row[kept == 1] for row, kept in zip(logps, mask, strict=True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_at_step_0_every_ratio_is_exactly_one(dtype: torch.dtype, ratio: str) -> None:
    policy = model()
    with rounded_to(policy, dtype):
        objective = policy_objective(policy, replace(RLOO, ratio=ratio), PLAIN)
        _, means, _ = step(objective, policy)
    assert (means["effective_samples"], means["clip_fraction"], means["kl/old"]) == (1, 0, 0)
    assert means["kl/reference"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_on_policy_the_gradient_is_reinforce_with_the_advantage(ratio: str) -> None:
    policy = model()
    objective = policy_objective(policy, replace(RLOO, ratio=ratio), PLAIN)
    *_, ours = step(objective, policy)
    policy.zero_grad()
    logps = torch.stack([each.sum() for each in padded_logps(policy, PLAIN)])
    scores = np.array([answer.score for answer in PLAIN]).reshape(10, 3)
    advantages = torch.tensor(leave_one_out_advantages(scores).ravel())
    (-(advantages * logps).mean()).backward()
    assert_close(ours, {name: p.grad for name, p in policy.named_parameters()})


def test_on_policy_the_whole_answers_loss_is_0_though_its_gradient_is_not() -> None:
    loss, _, gradients = step(policy_objective(model(), replace(RLOO, ratio="sequence"), PLAIN),
                              model())
    assert loss == pytest.approx(0, abs=1e-5)
    assert max(float(grad.norm()) for grad in gradients.values()) > 1e-3


def test_packed_rows_give_the_loss_and_gradient_of_a_padded_batch() -> None:
    objective, policy = policy_objective(model(), RLOO), moved(model())
    loss, _, ours = step(objective, policy)
    policy.zero_grad()
    parts = []
    for place, logps in enumerate(padded_logps(policy, objective.answers)):
        advantage = objective.advantages[place].float()
        parts.append(clipped_loss(logps - objective.old[place], advantage, RLOO.clip).sum()
                     - objective.answers[place].sft_weight * logps.sum())
    padded = torch.stack(parts).mean()
    padded.backward()
    assert loss == pytest.approx(padded.item(), rel=1e-4)
    assert_close(ours, {name: p.grad for name, p in policy.named_parameters()})


def test_a_step_in_one_row_equals_the_same_in_many_rows() -> None:
    policy = moved(model())
    examples = [5, 1, 0, 20, 3, 29, 4, 2]
    many, one = (policy_objective(model(), settings) for settings in (RLOO, ONE_ROW))
    assert len(many.rows(examples, CPU)) > len(one.rows(examples, CPU)) == 1
    (loss, means, grads), (whole, whole_means, whole_grads) = (
        step(objective, policy, examples) for objective in (many, one))
    assert loss == pytest.approx(whole, rel=1e-5)
    assert means == pytest.approx(whole_means, rel=1e-4)
    assert_close(grads, whole_grads)


def test_answers_of_one_prompt_share_its_computation_where_they_fit() -> None:
    sampled = answers()
    row, = answer_rows(sampled, range(3), 4096, CPU)
    assert row.batch.prompts == 1
    assert row.batch.answers == 3
    rows = answer_rows(sampled, range(3), 5 + max(len(a.tokens) for a in sampled), CPU)
    assert sorted(i for row in rows for i in row.examples) == [0, 1, 2]
    assert len(rows) > 1
    with pytest.raises(ValueError, match="more than token_budget=6; raise it or lower max_length"):
        answer_rows(sampled, range(3), 6, CPU)


def test_metrics_say_how_far_the_policy_has_moved() -> None:
    objective, policy = policy_objective(model(), ONE_ROW, PLAIN), moved(model())
    _, means, _ = step(objective, policy)
    logps = padded_logps(policy, PLAIN)
    moves = torch.stack([(new - old).sum() for new, old in
                         zip(logps, objective.old, strict=True)]).detach()
    assert means["kl/reference"] == pytest.approx(moves.mean().item(), rel=1e-3)
    assert means["effective_samples"] == pytest.approx(
        effective_sample_size(moves) / len(PLAIN), rel=1e-3)
    assert means["kl/old"] > 0
    assert means["reward"] == pytest.approx(np.mean([answer.score for answer in PLAIN]))
    assert 0 < means["clip_fraction"] < 1


def test_a_whole_answers_ratio_is_clipped_long_before_its_tokens_are() -> None:
    """A shift of .02 nats a token: nothing is clipped by token, everything gained by answer."""
    long = [Answer(str(i), (3, 4), ids(30), float(i)) for i in range(2)]
    shares = {}
    for ratio in ("token", "sequence"):
        objective = policy_objective(model(), replace(ONE_ROW, ratio=ratio), long)
        objective.old = [old - 0.02 for old in objective.old]  # the policy has gained since
        _, means, _ = step(objective, model())
        shares[ratio] = means["clip_fraction"]
    assert shares == {"token": 0.0, "sequence": 0.5}  # the worse answer's gradient stays


def test_the_kl_penalty_is_in_the_advantage_and_replayed_ages_do_not_mix() -> None:
    sampled = [Answer(f"{age}/{i}", (3, 4), (5, 6 + i), float(i), age)
               for age in (0, 1) for i in range(2)]
    assert group_answers(sampled) == [[0, 1], [2, 3]]
    old, reference = torch.tensor([-4.0, -5, -6, -7]), torch.tensor([-4.0, -5, -7, -7])
    found = advantages_of(sampled, old, reference, 0.5)
    assert found.tolist() == [-1.0, 1.0, -1.5, 1.5]  # of age 1, the first lost .5 to the KL


def test_an_sft_weight_alone_is_the_loss_of_sft_on_that_answer() -> None:
    policy = model()
    only = [replace(answer, score=0.0, sft_weight=float(place == 1))
            for place, answer in enumerate(answers()[:3])]
    objective = policy_objective(policy, ONE_ROW, only)
    loss, _, _ = step(objective, policy)
    assert objective.learns
    assert not objective.advantages.any()
    assert loss == pytest.approx(-padded_logps(policy, only)[1].sum().item() / 3, rel=1e-5)


def test_the_whole_answers_loss_and_gradient_are_trls(tmp_path: Path) -> None:
    folder = smoke_model()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def load() -> PreTrainedModel:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    trainer = RLOOTrainer(
        moved(load(), 0.002), reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=RLOOConfig(output_dir=str(tmp_path), use_cpu=True, report_to="none", bf16=False,
                        gradient_checkpointing=False, num_generations=2,
                        per_device_train_batch_size=2, epsilon=0.2),
        train_dataset=Dataset.from_list([{"prompt": "Why?"}]), processing_class=tokenizer)
    theirs_model = trainer.model.eval()
    torch.manual_seed(3)
    sampled = [Answer(str(i), (7, 8, 9), tuple(torch.randint(3, 200, (n,)).tolist()), score)
               for i, (n, score) in enumerate([(4, 1.0), (6, 0.2), (3, -0.5), (6, 0.9)])]
    ours = load()
    use_packed_attention(ours, "segments")
    settings = PolicyGradientSettings(ratio="sequence", kl_weight=0.05)
    objective = policy_objective(ours, settings, sampled)
    width = max(len(answer.tokens) for answer in sampled)
    spare = [width - len(answer.tokens) for answer in sampled]
    loss = trainer._compute_loss(theirs_model, {
        "prompt_ids": torch.tensor([answer.prompt for answer in sampled]),
        "prompt_mask": torch.ones(4, 3, dtype=torch.long),
        "completion_ids": torch.tensor([[*a.tokens, *[0] * n] for a, n in
                                        zip(sampled, spare, strict=True)]),
        "completion_mask": torch.tensor([[1] * len(a.tokens) + [0] * n for a, n in
                                         zip(sampled, spare, strict=True)]),
        "old_logps": torch.stack([old.sum() for old in objective.old]),
        "advantages": objective.advantages.float()})
    loss.backward()
    ours.load_state_dict(theirs_model.state_dict())
    found, means, gradients = step(objective, ours)
    assert found == pytest.approx(loss.item(), abs=1e-5)
    assert means["effective_samples"] < 1
    assert_close(gradients, {name: p.grad for name, p in theirs_model.named_parameters()})
