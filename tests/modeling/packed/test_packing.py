"""Packed rows give what one-by-one and padded forwards give, for three architectures."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from lib.modeling.packed import head_blocks
from lib.modeling.packed.attention import (
    QUERY_BLOCK,
    masked_attention,
    segments_attention,
    use_packed_attention,
)
from lib.modeling.packed.head_blocks import BlockedLogps
from lib.modeling.packed.hidden import hidden_states
from lib.modeling.packed.logps import response_logps
from lib.modeling.packed.masks import block_mask, dense_mask
from lib.modeling.packed.packing import ROW_MULTIPLE, Layout, SharedPrompt, Span, collate, pack
from lib.modeling.packed.token_logps import ChunkedLogps
from lib.training.plain import Tokens, answer_logps

SMALL = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
         "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def llama() -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**SMALL))


def qwen2() -> PreTrainedModel:
    return Qwen2ForCausalLM(Qwen2Config(**SMALL, tie_word_embeddings=True))


def gemma3() -> PreTrainedModel:
    """Sliding windows of 5 tokens in two of three layers, shorter than the sequences."""
    return Gemma3ForCausalLM(Gemma3TextConfig(
        **SMALL, sliding_window=5, query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"]))


@pytest.fixture(params=[llama, qwen2, gemma3], ids=lambda make: make.__name__)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    return request.param().eval()


def ids(count: int) -> tuple[int, ...]:
    return tuple(torch.randint(3, 97, (count,)).tolist())


@pytest.fixture
def prompts() -> list[SharedPrompt]:
    torch.manual_seed(1)
    return [SharedPrompt(ids(9), (ids(7), ids(11))), SharedPrompt(ids(4), (ids(1),)),
            SharedPrompt((), (ids(13),), ((0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1),)),
            SharedPrompt(ids(12), (ids(5), ids(8), ids(3)))]


def sequences(prompts: list[SharedPrompt]) -> list[Tokens]:
    """Every answer behind its own copy of the prompt, as the plain functions take them."""
    return [(shared.prompt + answer, (0,) * len(shared.prompt)
             + (shared.masks[number] if shared.masks else (1,) * len(answer)))
            for shared in prompts for number, answer in enumerate(shared.answers)]


@pytest.mark.parametrize("method", ["segments", "masked"])
def test_packed_rows_give_the_log_probs_and_gradients_of_single_and_padded_sequences(
        model: PreTrainedModel, prompts: list[SharedPrompt], method: str) -> None:
    model.set_attn_implementation("eager")
    expected = torch.cat([answer_logps(model, [one]) for one in sequences(prompts)])
    expected.sum().backward()
    expected_grads = {n: p.grad.clone() for n, p in model.named_parameters()}
    torch.testing.assert_close(answer_logps(model, sequences(prompts)), expected, atol=1e-4, rtol=0)
    model.zero_grad()
    use_packed_attention(model, method)
    packed = response_logps(model, collate(prompts))
    packed.sum().backward()
    torch.testing.assert_close(packed, expected, atol=1e-4, rtol=0)
    for name, parameter in model.named_parameters():
        error = (parameter.grad - expected_grads[name]).norm()
        assert error <= 1e-3 * expected_grads[name].norm() + 1e-6, name


@pytest.mark.parametrize("window", [None, 70])
@pytest.mark.parametrize("kv_heads", [1, 2])
def test_long_pieces_are_computed_in_blocks_that_change_nothing(window: int | None,
                                                              kv_heads: int) -> None:
    spans = (Span(0, 150, (300, 41)), Span(491, 0, (QUERY_BLOCK + 1,)))
    layout = Layout(spans, 491 + QUERY_BLOCK + 1)
    query, key, value = (torch.randn(1, heads, layout.tokens, 8, dtype=torch.double)
                         for heads in (4, kv_heads, kv_heads))
    results = []
    for attend in (segments_attention, masked_attention):
        inputs = [x.clone().requires_grad_() for x in (query, key, value)]
        out, _ = attend(None, *inputs, None, layout, scaling=0.3, sliding_window=window)
        (out * torch.arange(8)).sum().backward()
        results.append([out, *(x.grad for x in inputs)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_flex_attention_gives_the_same_log_probs(model: PreTrainedModel,
                                                 prompts: list[SharedPrompt]) -> None:
    use_packed_attention(model, "masked")
    with torch.no_grad():
        expected = response_logps(model, collate(prompts))
        use_packed_attention(model, "flex")
        torch.testing.assert_close(response_logps(model, collate(prompts)), expected, atol=1e-4,
                                   rtol=0)


@pytest.mark.parametrize("window", [None, 100])
def test_flex_attention_skips_the_blocks_that_a_dense_mask_hides(window: int | None) -> None:
    spans = (Span(0, 70, (40,)), Span(110, 150, (300, 41, 700)), Span(1301, 0, (64,)))
    layout, cpu = Layout(spans, 1365), torch.device("cpu")
    ours = block_mask(layout, window, cpu)
    dense = dense_mask(layout, window, cpu)
    exact = create_block_mask(lambda b, h, query, key: dense[query, key], None, None, 1365, 1365,
                              device="cpu")
    if window is None:
        assert torch.equal(ours.to_dense(), exact.to_dense())
        assert torch.equal(ours.full_kv_num_blocks, exact.full_kv_num_blocks)
    else:
        assert not (exact.to_dense() > ours.to_dense()).any()
        assert not ours.full_kv_num_blocks.any()


def test_a_shared_prompt_equals_two_sequences(model: PreTrainedModel,
                                              prompts: list[SharedPrompt]) -> None:
    use_packed_attention(model, "segments")
    apart = [SharedPrompt(shared.prompt, (answer,)) for shared in prompts if not shared.masks
             for answer in shared.answers]
    together = [shared for shared in prompts if not shared.masks]
    torch.testing.assert_close(response_logps(model, collate(together)),
                               response_logps(model, collate(apart)), atol=1e-4, rtol=0)


def test_answers_of_one_prompt_do_not_see_each_other(model: PreTrainedModel) -> None:
    use_packed_attention(model, "segments")
    torch.manual_seed(2)
    prompt, first = ids(6), ids(5)
    alone = response_logps(model, collate([SharedPrompt(prompt, (first, ids(9)))]))[0]
    beside = response_logps(model, collate([SharedPrompt(prompt, (first, ids(4)))]))[0]
    torch.testing.assert_close(alone, beside, atol=1e-5, rtol=0)


METHODS = {"blocks": BlockedLogps, "chunks": ChunkedLogps}  # of words on a CPU, of tokens elsewhere


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_sizes_of_a_chunk_agree_and_gradients_equal_autograds(
        method: str, softcap: float | None, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    hidden = torch.randn(11, 16, requires_grad=True)
    weight = torch.randn(53, 16, requires_grad=True)
    shift = torch.randn(53, requires_grad=True) if bias else None
    targets, grad = torch.randint(0, 53, (11,)), torch.randn(11)
    logits = torch.nn.functional.linear(hidden, weight, shift)
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    expected = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    leaves = [leaf for leaf in (hidden, weight, shift) if leaf is not None]
    expected_grads = torch.autograd.grad(expected, leaves, grad)
    for size, kept in ((1, 0), (4, 2**25), (11, 300), (64, 0), (64, 2**25)):
        monkeypatch.setattr(head_blocks, "KEPT_ELEMENTS", kept)
        got = METHODS[method].apply(hidden, weight, shift, targets, softcap, size)
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
        for ours, autograds in zip(torch.autograd.grad(got, leaves, grad), expected_grads,
                                   strict=True):
            torch.testing.assert_close(ours, autograds, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("method", METHODS)
def test_a_frozen_head_gives_the_same_gradients_and_computes_its_logits_once(
        method: str, softcap: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    hidden, weight = torch.randn(96, 16, requires_grad=True), torch.randn(53, 16)
    targets, grad = torch.randint(0, 53, (96,)), torch.randn(96)
    logps_of = METHODS[method]
    trained = logps_of.apply(hidden, weight.clone().requires_grad_(), None, targets, softcap, 32)
    expected, = torch.autograd.grad(trained, [hidden], grad)
    heads: list[int] = []
    module, compute = sys.modules[logps_of.__module__], head_blocks.head_logits
    monkeypatch.setattr(module, "head_logits", lambda *given: heads.append(1) or compute(*given))
    frozen = logps_of.apply(hidden, weight, None, targets, softcap, 32)
    found, = torch.autograd.grad(frozen, [hidden], grad)
    assert len(heads) == {"blocks": 2, "chunks": 3}[method]
    assert frozen.equal(trained)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_kept_logits_are_not_computed_again_and_a_second_backward_is_the_same(
        monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    hidden, weight = (torch.randn(size, 16, requires_grad=True) for size in (32, 100))
    targets, heads, compute = torch.randint(0, 100, (32,)), [], head_blocks.head_logits
    monkeypatch.setattr(head_blocks, "head_logits",
                        lambda *given: heads.append(1) or compute(*given))
    monkeypatch.setattr(head_blocks, "KEPT_ELEMENTS", 32 * 60)  # two of four blocks
    total = BlockedLogps.apply(hidden, weight, None, targets, None, 25).sum()
    first = torch.autograd.grad(total, [hidden, weight], retain_graph=True)
    assert len(heads) == 4 + 2
    second = torch.autograd.grad(total, [hidden, weight])
    assert all(one.equal(other) for one, other in zip(first, second, strict=True))


def test_hidden_states_are_those_of_the_model_and_stop_at_the_highest_layer(
        model: PreTrainedModel, prompts: list[SharedPrompt]) -> None:
    use_packed_attention(model, "segments")
    shared = prompts[0]
    calls = []
    model.get_decoder().layers[2].register_forward_hook(lambda *_: calls.append(1))
    states = hidden_states(model, collate([shared]), [1, 2])
    model.set_attn_implementation("eager")
    alone = model(torch.tensor([shared.prompt + shared.answers[0]]), output_hidden_states=True)
    length = len(shared.prompt) + len(shared.answers[0])
    for layer in (1, 2):
        torch.testing.assert_close(states[layer][:length], alone.hidden_states[layer][0],
                                   atol=1e-4, rtol=1e-4)
    assert len(calls) == 1  # the full forward only
    with pytest.raises(ValueError, match="use numbers from 1 to 3"):
        hidden_states(model, collate([shared]), [4])


def test_a_packed_forward_keeps_no_cache_of_keys_and_values(
        model: PreTrainedModel, prompts: list[SharedPrompt]) -> None:
    use_packed_attention(model, "segments")
    caches = []
    model.get_decoder().register_forward_hook(
        lambda _, given, out: caches.append(out.past_key_values))
    response_logps(model, collate(prompts))
    assert caches == [None]


def test_packing_fills_rows_keeps_every_item_and_never_splits_one() -> None:
    lengths = [7, 3, 9, 2, 5, 5, 1, 12, 4]
    rows = pack(lengths, 12)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= 12 for row in rows)
    assert len(rows) == 4  # 48 tokens fill four rows of 12 exactly
    assert pack([20, 1], 12) == [[0], [1]]


def test_a_row_is_filled_up_by_a_sequence_that_changes_nothing(model: PreTrainedModel) -> None:
    shared = SharedPrompt(ids(9), (ids(4), ids(6)))
    batch = collate([shared])
    assert batch.tokens == ROW_MULTIPLE
    assert batch.answers == len(batch.answer_slices[0]) == 2
    assert batch.input_ids[0, :len(shared)].tolist() == [*shared.prompt, *shared.answers[0],
                                                       *shared.answers[1]]
    assert int(batch.predict_from.max()) < len(shared)


def test_a_tree_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="drop empty rows"):
        collate([SharedPrompt((), ((),))])


@pytest.mark.parametrize(("device", "expected"), [("cpu", "segments"), ("cuda", "flex")])
def test_the_attention_method_follows_the_device(device: str, expected: str) -> None:
    chosen: list[str] = []
    model = SimpleNamespace(device=torch.device(device), set_attn_implementation=chosen.append,
                            modules=list)
    use_packed_attention(model)
    use_packed_attention(model, "masked")
    assert chosen == [f"packed_{expected}", "packed_masked"]
    with pytest.raises(ValueError, match="use auto, segments, flex, masked"):
        use_packed_attention(model, "flash")
