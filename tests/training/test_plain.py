"""The plain functions are the formulas, and the packed engine that trains gives what they give."""

import copy
import math

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.logps import response_logps
from lib.modeling.packed.packing import SharedPrompt, collate
from lib.modeling.smoke import smoke_model
from lib.training.dpo import DPOObjective, Pair
from lib.training.losses import dpo_loss, sft_loss
from lib.training.plain import (
    Tokens,
    answer_logps,
    dpo_batch_loss,
    dpo_step,
    sft_batch_loss,
    sft_step,
    token_logps,
)
from lib.training.settings import DPOSettings
from lib.training.sft import SFTObjective

BETA = 0.1


def load(shift: float = 0.0, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The smoke model, its weights moved at random by `shift`."""
    model = AutoModelForCausalLM.from_pretrained(smoke_model(), dtype=torch.float32).eval()
    torch.manual_seed(7)
    for parameter in model.parameters():
        parameter.data.add_(shift * torch.randn_like(parameter))
    return model.to(dtype)


def ids(count: int) -> tuple[int, ...]:
    return tuple(torch.randint(3, 1000, (count,)).tolist())


@pytest.fixture
def conversations() -> list[Tokens]:
    """Two single-turn conversations and one of two turns."""
    torch.manual_seed(1)
    return [(ids(12), (0,) * 5 + (1,) * 7), (ids(30), (0,) * 21 + (1,) * 9),
            (ids(17), (0,) * 4 + (1,) * 3 + (0,) * 6 + (1,) * 4)]


@pytest.fixture
def pairs() -> list[Pair]:
    """Three pairs, two of them of one prompt, with answers of different length."""
    torch.manual_seed(2)
    first, second = ids(9), ids(14)
    return [Pair("a", first, ids(7), ids(11)), Pair("b", first, ids(4), ids(5)),
            Pair("c", second, ids(3), ids(16))]


def sides(pairs: list[Pair]) -> tuple[list[Tokens], list[Tokens]]:
    """Chosen and rejected sequences as the plain functions take them."""
    return tuple([(pair.prompt + answer, (0,) * len(pair.prompt) + (1,) * len(answer))
                  for pair in pairs for answer in [getattr(pair, side)]]
                 for side in ("chosen", "rejected"))


def gradients(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.float().clone() for name, parameter in model.named_parameters()}


def assert_close_gradients(ours: dict, expected: dict, share: float = 1e-3) -> None:
    for name, grad in expected.items():
        assert (ours[name] - grad).norm() <= share * grad.norm() + 1e-7, name


def test_a_log_prob_is_that_of_the_token_after_it() -> None:
    model, (tokens, mask) = load(), (ids(6), (0, 0, 1, 1, 1, 1))
    with torch.no_grad():
        shares = [model(torch.tensor([tokens[:place]])).logits[0, -1].softmax(-1)[tokens[place]]
                  for place in range(1, 6)]
        logps, response = token_logps(model, [(tokens, mask)])
    torch.testing.assert_close(logps[0].exp(), torch.stack(shares), atol=1e-6, rtol=1e-4)
    assert response.tolist() == [[0, 1, 1, 1, 1]]


def test_padding_changes_no_log_prob(conversations: list[Tokens]) -> None:
    model = load()
    with torch.no_grad():
        alone = torch.cat([answer_logps(model, [one]) for one in conversations])
        torch.testing.assert_close(answer_logps(model, conversations), alone, atol=1e-4, rtol=0)


def test_the_sft_loss_is_transformers_own_and_that_of_the_losses(
        conversations: list[Tokens]) -> None:
    model = load()
    tokens, mask = conversations[1]
    labels = torch.tensor([[token if answer else -100 for token, answer in zip(
        tokens, mask, strict=True)]])
    with torch.no_grad():
        theirs = model(torch.tensor([tokens]), labels=labels).loss
        torch.testing.assert_close(sft_batch_loss(model, [conversations[1]]), theirs)
        torch.testing.assert_close(sft_batch_loss(model, conversations),
                                   sft_loss(*token_logps(model, conversations)))


def test_the_dpo_loss_is_that_of_the_losses_and_starts_at_ln_2(pairs: list[Pair]) -> None:
    policy, reference, (chosen, rejected) = load(0.02), load(), sides(pairs)
    with torch.no_grad():
        four = [answer_logps(model, side) for model in (policy, reference)
                for side in (chosen, rejected)]
        torch.testing.assert_close(dpo_batch_loss(policy, reference, chosen, rejected, BETA),
                                   dpo_loss(*four, BETA).mean())
        start = dpo_batch_loss(reference, reference, chosen, rejected, BETA)
    assert start.item() == pytest.approx(math.log(2), abs=1e-7)


def test_packed_sft_has_the_plain_loss_and_gradients(conversations: list[Tokens]) -> None:
    model = load(0.02)
    loss = sft_batch_loss(model, conversations)
    loss.backward()
    expected = gradients(model)
    model.zero_grad()
    assert packed_sft(model, conversations) == pytest.approx(loss.item(), abs=1e-5)
    assert_close_gradients(gradients(model), expected)


def test_a_first_token_has_no_log_prob_and_counts_nowhere() -> None:
    model, conversations = load(0.02), [(ids(4), (1,) * 4), (ids(6), (1,) * 6)]
    with torch.no_grad():
        expected = sft_batch_loss(model, conversations).item()
    assert packed_sft(model, conversations) == pytest.approx(expected, abs=1e-5)


def test_packed_dpo_has_the_plain_loss_and_gradients(pairs: list[Pair]) -> None:
    policy, reference = load(0.02), load()
    loss = dpo_batch_loss(policy, reference, *sides(pairs), BETA)
    loss.backward()
    expected = gradients(policy)
    policy.zero_grad()
    assert packed_dpo(policy, reference, pairs) == pytest.approx(loss.item(), abs=1e-5)
    assert_close_gradients(gradients(policy), expected)


def test_in_bfloat16_both_are_as_close_to_float32_as_its_rounding_allows(
        conversations: list[Tokens], pairs: list[Pair]) -> None:
    exact = sft_batch_loss(load(0.02), conversations).item()
    exact_dpo = dpo_batch_loss(load(0.02), load(), *sides(pairs), BETA).item()
    policy, reference = load(0.02, torch.bfloat16), load(0.0, torch.bfloat16)
    plain = sft_batch_loss(policy, conversations).item()
    plain_dpo = dpo_batch_loss(policy, reference, *sides(pairs), BETA).item()
    packed = packed_sft(policy, conversations)
    packed_pairs = packed_dpo(policy, reference, pairs)
    assert [plain, packed] == pytest.approx([exact] * 2, rel=1e-2)
    assert [plain_dpo, packed_pairs] == pytest.approx([exact_dpo] * 2, abs=3e-2)


def packed_sft(model: PreTrainedModel, conversations: list[Tokens]) -> float:
    """Loss of the training engine; its gradients are left on the model."""
    use_packed_attention(model, "segments")
    objective = SFTObjective([SharedPrompt((), (tokens,), (mask,))
                              for tokens, mask in conversations], 4096)
    everything = range(len(conversations))
    row, = objective.rows(everything, torch.device("cpu"))
    loss = objective.loss(model, row)[0] / objective.weight(everything)
    loss.backward()
    return loss.item()


def packed_dpo(policy: PreTrainedModel, reference: PreTrainedModel, pairs: list[Pair]) -> float:
    """Loss of the training engine; its gradients are left on the policy."""
    for model in (policy, reference):
        use_packed_attention(model, "segments")
    prompts = [SharedPrompt(pair.prompt, (pair.chosen, pair.rejected)) for pair in pairs]
    with torch.no_grad():
        logps = response_logps(reference, collate(prompts)).view(-1, 2)
    objective = DPOObjective(pairs, logps, DPOSettings(beta=BETA))
    everything = range(len(pairs))
    row, = objective.rows(everything, torch.device("cpu"))
    loss = objective.loss(policy, row)[0] / objective.weight(everything)
    loss.backward()
    return loss.item()


def test_a_step_lowers_the_loss_and_leaves_the_reference_alone(conversations: list[Tokens],
                                                               pairs: list[Pair]) -> None:
    model = load()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    before = sft_step(model, optimizer, conversations)
    assert sft_batch_loss(model, conversations).item() < before
    reference = load()
    policy = copy.deepcopy(reference)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    assert dpo_step(policy, reference, optimizer, *sides(pairs), BETA) == pytest.approx(math.log(2))
    assert dpo_batch_loss(policy, reference, *sides(pairs), BETA).item() < math.log(2)
    for name, parameter in load().named_parameters():
        torch.testing.assert_close(reference.get_parameter(name), parameter, rtol=0, atol=0)
