"""Features of answers: packed equals one by one, and no text is read twice."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from lib.data.chat import encode_prompt, encode_response
from lib.data.sources import SAMPLE
from lib.inference.rewards import Conversation
from lib.inference.rewards.heads import feature_store, features
from lib.inference.rewards.heads.answers import scored_answers
from lib.inference.rewards.heads.features import POOLING, Backbone, answer_features, load_backbone
from lib.inference.rewards.heads.lean_layers import lean_layers
from lib.inference.rewards.heads.views import READ, SHOWN, seen_as, view_features
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.hidden import hidden_states
from lib.modeling.packed.packing import SharedPrompt, collate
from lib.modeling.smoke import smoke_model
from lib.runtime.files import read_jsonl
from lib.study.reward_models.references import sample_references


def conversation(prompt: str, answer: str) -> Conversation:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


CONVERSATIONS = [conversation(f"What is {n}?", "It is a number. " * (n + m) or "?")
                 for n in range(4) for m in range(1, 4)]


def test_features_are_the_mean_hidden_state_of_the_answer_read_alone(
        folder: Path, backbone: Backbone) -> None:
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    found = answer_features(backbone, CONVERSATIONS, (1, 2))
    assert found.shape == (12, 2 * 64)
    assert found.dtype == np.float32
    for row, (question, answer) in zip(found, CONVERSATIONS, strict=True):
        prompt = encode_prompt(backbone.tokenizer, [question])
        response = encode_response(backbone.tokenizer, [question], answer["content"])
        with torch.no_grad():
            states = _layer_outputs(plain, prompt + response)
        expected = np.concatenate([state[len(prompt):].mean(0) for state in states])
        assert row == pytest.approx(expected, abs=1e-5)


def test_a_cut_off_answer_is_read_without_an_end_of_turn(folder: Path, backbone: Backbone) -> None:
    question, answer = CONVERSATIONS[0]
    row = {"prompt": question["content"], "answers": [
        {"text": answer["content"], "score": 1.0, "flaws": flaws} for flaws in ([], ["cut_off"])]}
    whole, cut = answer_features(backbone, scored_answers([row], "two").conversations, (1, 2))
    assert not np.allclose(whole, cut, atol=1e-4)
    prompt = encode_prompt(backbone.tokenizer, [question])
    ids = prompt + encode_response(backbone.tokenizer, [question], answer["content"])[:-1]
    with torch.no_grad():
        states = _layer_outputs(AutoModelForCausalLM.from_pretrained(folder).eval(), ids)
    assert cut == pytest.approx(np.concatenate([s[len(prompt):].mean(0) for s in states]), abs=1e-5)


def _layer_outputs(model: torch.nn.Module, ids: list[int]) -> list[np.ndarray]:
    """Outputs of both decoder layers, before the final norm, [tokens, 64] each."""
    seen = []
    hooks = [layer.register_forward_hook(
        lambda module, given, out: seen.append(out[0] if isinstance(out, tuple) else out))
        for layer in model.model.layers]
    model(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    return [state.reshape(len(ids), -1).numpy() for state in seen]


def test_order_and_company_do_not_change_features(backbone: Backbone) -> None:
    together = answer_features(backbone, CONVERSATIONS, (2,))
    backwards = answer_features(backbone, CONVERSATIONS[::-1], (2,))[::-1]
    alone = np.vstack([answer_features(backbone, [each], (2,)) for each in CONVERSATIONS])
    assert backwards == pytest.approx(together, abs=1e-5)
    assert alone == pytest.approx(together, abs=1e-5)


def test_prompts_that_begin_alike_share_that_beginning(backbone: Backbone,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [each for each in seen_as("answer_then_prompt", CONVERSATIONS) if each]  # own prompts
    alone = np.vstack([answer_features(backbone, [each], (1, 2)) for each in seen])
    read: list[int] = []
    original = features.collate
    monkeypatch.setattr(features, "collate", lambda prompts, device: (
        read.append(sum(map(len, prompts))), original(prompts, device))[1])
    together = answer_features(backbone, seen, (1, 2))
    whole = sum(len(encode_prompt(backbone.tokenizer, each[:-1]))
                + len(encode_response(backbone.tokenizer, each[:-1], each[-1]["content"]))
                for each in seen)
    assert sum(read) < 0.9 * whole
    assert together == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lean_layers_give_transformers_numbers_and_leave_the_model_as_it_was(
        kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(
        "gemma3_text" if kind == "gemma3" else kind, vocab_size=60, hidden_size=32,
        intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, pad_token_id=0)).to(dtype).eval()
    use_packed_attention(model, "segments")
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    row = collate([SharedPrompt((3, 4, 5), ((6, 7), (8, 9, 10))), SharedPrompt((), ((11, 12),))])
    expected = hidden_states(model, row, (1, 3))
    with lean_layers(model):
        found = hidden_states(model, row, (1, 3))
    for layer, state in expected.items():
        torch.testing.assert_close(found[layer], state, atol=1e-5, rtol=2**-8)
    assert all(weight.equal(before[name]) for name, weight in model.named_parameters())
    assert all("forward" not in vars(module) for module in model.modules())


def test_a_text_that_is_cached_is_not_read_again(backbone: Backbone, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    first = answer_features(backbone, CONVERSATIONS[:7], (1,), tmp_path)
    read: list[int] = []
    original = features.hidden_states
    monkeypatch.setattr(features, "hidden_states", lambda model, batch, layers: (
        read.append(batch.answers), original(model, batch, layers))[1])
    whole = answer_features(backbone, CONVERSATIONS, (1,), tmp_path)
    assert sum(read) == 5
    assert np.array_equal(whole[:7], first)
    assert np.array_equal(answer_features(backbone, CONVERSATIONS, (1,), tmp_path), whole)
    assert sum(read) == 5


def test_a_killed_pass_keeps_its_finished_parts(backbone: Backbone, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "ANSWERS_A_PART", 3)
    monkeypatch.setattr(features, "TOKENS_A_ROW", 100)
    original, calls = features.hidden_states, []

    def killed(model: torch.nn.Module, batch: object, layers: list[int]) -> dict:
        calls.append(batch.answers)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(model, batch, layers)

    monkeypatch.setattr(features, "hidden_states", killed)
    with pytest.raises(KeyboardInterrupt):
        answer_features(backbone, CONVERSATIONS, (1,), tmp_path)
    done = sum(calls[:2])
    assert done >= 3
    calls[:] = [0] * 3
    answer_features(backbone, CONVERSATIONS, (1,), tmp_path)
    assert sum(calls) == 12 - done


def test_a_damaged_part_is_put_aside_and_its_answers_read_again(
        backbone: Backbone, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = answer_features(backbone, CONVERSATIONS, (1,), tmp_path)
    (part,) = tmp_path.rglob("*.npz")
    part.write_bytes(part.read_bytes()[:200])
    assert np.array_equal(answer_features(backbone, CONVERSATIONS, (1,), tmp_path), whole)
    assert "is damaged" in capsys.readouterr().out
    assert part.with_suffix(".damaged").exists()
    assert part.exists()


def test_other_weights_have_another_cache_folder_and_another_precision_the_same(
        backbone: Backbone, folder: Path, tmp_path: Path) -> None:
    half = load_backbone(folder, torch.bfloat16)
    other = load_backbone(smoke_model(tmp_path / "other", seed=1), torch.float32)
    assert backbone.digest == half.digest != other.digest
    exact, rounded = (answer_features(model, CONVERSATIONS, (2,)) for model in (backbone, half))
    assert rounded == pytest.approx(exact, abs=0.05)
    assert not np.array_equal(rounded, exact)


def test_two_views_stand_side_by_side_and_the_second_reads_the_prompt_after_the_answer(
        backbone: Backbone) -> None:
    several = [*CONVERSATIONS[0][:1], {"role": "assistant", "content": "Eh?"}, *CONVERSATIONS[4]]
    (turned,) = seen_as("answer_then_prompt", [several])
    assert turned[0]["content"].startswith("Here is a text:\n\nIt is a number. It is a number.")
    assert turned[1] == {"role": "assistant", "content": "What is 1?"}
    both = view_features(backbone, [several, CONVERSATIONS[0]], (1, 2))
    assert both.shape == (2, 2 * 2 * 64)
    assert np.array_equal(both[:1, :128], answer_features(backbone, [several], (1, 2)))
    assert both[:1, 128:] == pytest.approx(answer_features(backbone, [turned], (1, 2)), abs=1e-5)


def test_the_second_view_tells_apart_prompts_and_the_answers_to_one_prompt(
        backbone: Backbone) -> None:
    turned = view_features(backbone, CONVERSATIONS[:4], (2,), ("answer_then_prompt",))
    assert len(np.unique(turned.round(4), axis=0)) == 4


def test_the_view_with_the_reference_shows_it_before_the_answer_and_is_missing_without_one(
        backbone: Backbone) -> None:
    earlier = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    cut = {"role": "assistant", "content": "A number.", "finish": "length"}
    known = [*earlier, {"role": "user", "content": "What is 1?"}, cut]
    unknown = conversation("What is 2?", "A number.")
    references = {"What is 1?": "The number one."}
    told, none = seen_as(SHOWN, [known, unknown], references)
    assert none is None
    assert told[:2] == earlier
    assert "What is 1?" in told[2]["content"]
    assert "The number one." in told[2]["content"]
    assert told[3] == known[3]
    found = view_features(backbone, [known, unknown], (2,), (SHOWN,), references=references)
    assert found[:1] == pytest.approx(answer_features(backbone, [told], (2,)), abs=1e-5)
    assert np.isnan(found[1]).all()


def test_a_view_that_is_not_known_is_an_error(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="view is 'upside down'; use prompt_then_answer, answer"):
        view_features(backbone, CONVERSATIONS, (1,), ("upside down",))


def test_the_sample_corpus_comes_with_features_of_all_its_scored_answers() -> None:
    parts = list(feature_store.SHIPPED.glob("*-mean-19/*.npz"))
    shipped = {key for part in parts for key in np.load(part)["keys"].astype(str)}
    for name in ("on_policy", "judged", "audit"):
        answers = scored_answers(read_jsonl(SAMPLE / f"{name}.jsonl"), name)
        for view in (*READ, SHOWN):
            read = seen_as(view, answers.conversations, sample_references())
            assert {feature_store.conversation_key(each) for each in read} <= shipped


def test_shipped_features_are_read_instead_of_computed(
        backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "SHIPPED", tmp_path / "shipped")
    computed = answer_features(backbone, CONVERSATIONS, (1,), tmp_path / "cache")
    store = feature_store.FeatureStore(tmp_path / "cache", backbone.digest, POOLING, 1)
    feature_store.ship_features(store, CONVERSATIONS, "sample")
    monkeypatch.setattr(features, "hidden_states", None)
    found = answer_features(backbone, CONVERSATIONS, (1,))
    half_a_step = (computed.max(0) - computed.min(0)) / 510
    assert (np.abs(found - computed) <= half_a_step + 1e-5).all()
