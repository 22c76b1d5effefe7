"""Float32 masters under rounded weights: small steps, overflow, the rate, the words' gradients."""

from dataclasses import replace

import pytest
import torch

from lib.modeling.packed.gradients import master_of, set_master
from lib.modeling.packed.packing import Layout, Span
from lib.training.engine.optimizer import LossScale, MasterWeights, learning_rate
from lib.training.settings import SFTSettings
from lib.training.sft import SFTObjective
from tests.training.small_runs import CPU, model, sequences


def test_bf16_weights_move_at_a_learning_rate_that_bf16_alone_could_not_see() -> None:
    small = model()
    weights = MasterWeights(small, torch.bfloat16)
    name = "model.layers.0.mlp.up_proj.weight"
    before = weights.masters[name].clone()
    optimizer = torch.optim.AdamW(weights.masters.values(), lr=1e-6)
    for _ in range(3):
        out = small(torch.tensor([[5, 6, 7]]), layout=Layout((Span(0, 0, (3,)),), 3))
        out.logits.float().sum().backward()
        optimizer.step()
    assert 0 < (weights.masters[name] - before).abs().max() < 1e-5


def test_an_overflow_in_fp16_skips_the_step_and_halves_the_scale() -> None:
    weights = MasterWeights(model(), torch.float16)
    scale = LossScale(True, scale=1024.0, growth_interval=2)
    master = next(iter(weights.masters.values()))
    master.grad = torch.full_like(master, float("inf"))
    assert not scale.unscale(weights)
    assert scale.scale == 512.0
    for _ in range(2):
        master.grad = torch.full_like(master, 512.0)
        assert scale.unscale(weights)
    assert scale.scale == 1024.0


def test_the_learning_rate_warms_up_and_decays() -> None:
    settings = SFTSettings(learning_rate=1.0, warmup_share=0.2)
    rates = [learning_rate(step, 10, settings) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[-1] == pytest.approx(1 / 8)
    assert learning_rate(9, 10, replace(settings, schedule="constant")) == 1.0
    assert learning_rate(6, 10, replace(settings, schedule="cosine")) == pytest.approx(0.5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.01), (torch.float32, 1e-6)])
def test_word_gradients_added_directly_are_those_of_autograd(dtype: torch.dtype,
                                                             tolerance: float) -> None:
    gradients = []
    for direct in (True, False):
        policy, objective = model(), SFTObjective(sequences(), 64)
        weights = MasterWeights(policy, dtype)
        if not direct:
            set_master(policy.get_input_embeddings().weight, None)
        for row in objective.rows(range(len(sequences())), CPU):
            objective.loss(policy, row)[0].backward()
        gradients.append({name: master.grad for name, master in weights.masters.items()})
    for name, expected in gradients[1].items():
        error = (gradients[0][name] - expected).norm() / expected.norm()
        assert error < tolerance, name


def test_a_float32_step_makes_no_dense_gradient_of_the_words_beside_the_sum() -> None:
    policy, objective = model(), SFTObjective(sequences(), 64)
    weights = MasterWeights(policy, torch.float32)
    words, dense = policy.get_input_embeddings().weight, []
    words.register_hook(lambda grad: dense.append(grad))  # called with what autograd delivers
    for row in objective.rows(range(len(sequences())), CPU):
        objective.loss(policy, row)[0].backward()
    assert not [grad for grad in dense if grad is not None]
    assert words.grad.abs().sum() > 0
    weights.release()
    assert master_of(words) is None
