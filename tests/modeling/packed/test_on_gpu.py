"""Packed rows on a GPU: flex attention of changing lengths, the head's chunks, equal bits."""

import pytest
import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from lib.modeling.loading import cast_parameters
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.gradients import set_master
from lib.modeling.packed.logps import response_logps
from lib.modeling.packed.packing import PackedBatch, SharedPrompt, collate

pytestmark = [pytest.mark.cuda,
              pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def qwen(window: int | None = None) -> PreTrainedModel:
    """Seven query heads a key head, as Qwen2.5-0.5B has them; perhaps with a sliding window."""
    torch.manual_seed(0)
    windows = {} if window is None else {
        "use_sliding_window": True, "sliding_window": window, "max_window_layers": 1}
    return Qwen2ForCausalLM(Qwen2Config(
        vocab_size=307, hidden_size=448, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=14, num_key_value_heads=2, max_position_embeddings=2048,
        tie_word_embeddings=True, **windows)).cuda()


def ids(count: int) -> tuple[int, ...]:
    return tuple(torch.randint(3, 307, (count,)).tolist())


def row(scale: int) -> PackedBatch:
    """A pair, a conversation and a prompt with three answers: about 10 * scale tokens."""
    torch.manual_seed(scale)
    made = [SharedPrompt(ids(scale), (ids(scale), ids(2 * scale))), SharedPrompt((), (ids(scale),)),
            SharedPrompt(ids(2 * scale), (ids(3), ids(scale), ids(scale)))]
    return collate(made, "cuda")


def logps_and_gradients(model: PreTrainedModel, method: str,
                        batch: PackedBatch) -> list[torch.Tensor]:
    use_packed_attention(model, method)
    model.zero_grad()
    logps = response_logps(model, batch)
    logps.sum().backward()
    return [logps.detach(), *(p.grad.clone() for p in model.parameters())]


@pytest.mark.parametrize("window", [None, 90])
def test_flex_attention_trains_as_a_dense_mask_does_at_every_length(window: int | None) -> None:
    model = qwen(window)
    for scale in (5, 17, 40, 111, 13, 170):
        batch = row(scale)
        flex, masked = (logps_and_gradients(model, method, batch) for method in ("flex", "masked"))
        for one, other in zip(flex, masked, strict=True):
            assert (one - other).norm() <= 2e-3 * other.norm() + 1e-6, (scale, one.shape)


def test_flex_attention_is_compiled_for_a_few_lengths_and_then_for_all() -> None:
    model = qwen()
    use_packed_attention(model, "flex")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for scale in (30, 31, 47, 64, 80, 99, 120, 133, 150):
        response_logps(model, row(scale)).sum().backward()
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs <= 3, f"{graphs} graphs for 9 lengths"


def test_bf16_keeps_the_log_probs_to_its_precision() -> None:
    model, batch = qwen(), row(60)
    exact = logps_and_gradients(model, "flex", batch)[0]
    cast_parameters(model, torch.bfloat16)
    rounded = logps_and_gradients(model, "flex", batch)[0]
    assert (rounded - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize("method", ["flex", "segments"])
def test_equal_rows_give_equal_bits_of_log_probs_and_gradients(method: str) -> None:
    model, batch = qwen(), row(120)
    cast_parameters(model, torch.bfloat16)
    embedding = model.get_input_embeddings().weight
    runs = []
    use_packed_attention(model, method)
    for _ in range(2):
        master = embedding.detach().float().requires_grad_()
        set_master(embedding, master)  # takes the embedding's gradient
        model.zero_grad()
        logps = response_logps(model, batch)
        logps.sum().backward()
        runs.append([logps.detach(), master.grad,
                     *(p.grad for p in model.parameters() if p.grad is not None)])
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))
