"""Our numbers against TRL's and transformers' on the same batches, in float32."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from lib.data.chat import encode_conversation
from lib.modeling.packaged import is_whole, packaged_model
from lib.modeling.packages import PACKAGED
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.logps import response_logps, response_token_logps
from lib.modeling.packed.packing import SharedPrompt, collate
from lib.modeling.smoke import smoke_model
from lib.runtime.places import kept
from lib.training.dpo import DPOObjective
from lib.training.pairs import Pair
from lib.training.plain import token_logps
from lib.training.settings import PER_TOKEN, DPOSettings
from lib.training.sft import SFTObjective

TEXTS = [("Why is the sky blue?", "Short waves scatter more.", "Because it likes blue a lot."),
         ("Name a prime.", "Seven.", "Eight, which is a very nice prime number indeed.")]


def rows() -> list[dict]:
    return [{"prompt": [{"role": "user", "content": prompt}],
             "chosen": [{"role": "assistant", "content": chosen}],
             "rejected": [{"role": "assistant", "content": rejected}]}
            for prompt, chosen, rejected in TEXTS]


@pytest.fixture
def folder() -> Path:
    return smoke_model()


def load(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def trl_options(tmp_path: Path) -> dict:
    return {"output_dir": str(tmp_path), "use_cpu": True, "report_to": "none", "bf16": False,
            "gradient_checkpointing": False, "max_length": 256, "per_device_train_batch_size": 2}


def gradients(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters()}


def assert_close_gradients(ours: dict, theirs: dict) -> None:
    for name, grad in theirs.items():
        assert (ours[name] - grad).norm() <= 1e-3 * grad.norm() + 1e-7, name


@pytest.mark.parametrize(("loss", "theirs_is", "pairs_compared"), [
    ("dpo", ["sigmoid"], 2), ("robust", ["robust"], 2), ("ipo_per_token", ["ipo"], 2),
    ("length_normalised", ["sigmoid_norm"], 2),
    ("dpo_sft", ["sigmoid", "sft"], 1)])  # over two answers, TRL's mean is over all tokens
def test_losses_metrics_and_gradients_equal_trls(tmp_path: Path, folder: Path, loss: str,
                                                 theirs_is: list[str],
                                                 pairs_compared: int) -> None:
    settings, places = DPOSettings(loss=loss), range(pairs_compared)
    policy = load(folder)
    torch.manual_seed(5)
    for parameter in policy.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))  # so that policy != reference
    trainer = DPOTrainer(policy, ref_model=load(folder), args=DPOConfig(
        beta=settings.beta, loss_type=theirs_is, label_smoothing=settings.label_smoothing or 0.0,
        **trl_options(tmp_path)), train_dataset=Dataset.from_list(rows()),
        processing_class=AutoTokenizer.from_pretrained(folder))
    trainer.model.eval()
    batch = trainer.data_collator([trainer.train_dataset[i] for i in places])
    theirs = trainer.compute_loss(trainer.model, batch)
    theirs.backward()
    expected = gradients(trainer.model)
    metrics = {name: values[-1] for name, values in trainer._metrics["eval"].items()} or {
        name: values[-1] for name, values in trainer._metrics["train"].items()}

    ours = load(folder)
    ours.load_state_dict(trainer.model.state_dict())
    pairs = pairs_from(trainer.train_dataset)
    reference = reference_of(load(folder), pairs)
    objective = DPOObjective(pairs, reference, settings)
    use_packed_attention(ours, "segments")
    row, = objective.rows(places, torch.device("cpu"))
    loss, sums = objective.loss(ours, row)
    (loss / len(places)).backward()
    assert loss.item() / len(places) == pytest.approx(theirs.item(), abs=1e-5, rel=1e-6)
    for name in ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies",
                 "logps/chosen", "logps/rejected"):
        if name.startswith("logps") or settings.loss not in PER_TOKEN:  # TRL's rewards are sums
            assert sums[name] / len(places) == pytest.approx(float(metrics[name]), abs=1e-3), name
    assert_close_gradients(gradients(ours), expected)


def pairs_from(dataset: Dataset) -> list[Pair]:
    """TRL's own token ids (its chosen_ids end in the template's newline) as our pairs."""
    return [Pair(str(i), tuple(row["prompt_ids"]), tuple(row["chosen_ids"]),
                 tuple(row["rejected_ids"])) for i, row in enumerate(dataset)]


def reference_of(model: PreTrainedModel, pairs: list[Pair]) -> torch.Tensor:
    use_packed_attention(model, "segments")
    prompts = [SharedPrompt(p.prompt, (p.chosen, p.rejected)) for p in pairs]
    with torch.no_grad():
        return response_logps(model, collate(prompts)).view(-1, 2)


def test_sft_loss_and_gradients_equal_trls(tmp_path: Path, folder: Path) -> None:
    data = Dataset.from_list([{"prompt": row["prompt"], "completion": row["chosen"]}
                              for row in rows()])
    trainer = SFTTrainer(load(folder), args=SFTConfig(loss_type="nll", **trl_options(tmp_path)),
                         train_dataset=data, processing_class=AutoTokenizer.from_pretrained(folder))
    trainer.model.eval()
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(2)])
    theirs = trainer.compute_loss(trainer.model, batch)
    theirs.backward()
    sequences = [SharedPrompt((), (tuple(ids[:len(labels)].tolist()),),
                              (tuple(int(label != -100) for label in labels),))
                 for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True)]
    ours = load(folder)
    use_packed_attention(ours, "segments")
    objective = SFTObjective(sequences, 4096)
    row, = objective.rows([0, 1], torch.device("cpu"))
    loss = objective.loss(ours, row)[0] / objective.weight([0, 1])
    loss.backward()
    assert loss.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert_close_gradients(gradients(ours), gradients(trainer.model))


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGED)
def test_packed_log_probs_of_a_packaged_model_equal_transformers_padded_forward(name: str) -> None:
    if PACKAGED[name].terms and not is_whole(kept("models") / PACKAGED[name].title):
        pytest.skip(f"{name} is fetched only where someone asks for it")
    folder = packaged_model(name)
    model, tokenizer = load(folder), AutoTokenizer.from_pretrained(folder)
    encoded = [encode_conversation(tokenizer, [*row["prompt"], *row[side]], 256)
               for row in rows() for side in ("chosen", "rejected")]
    with torch.no_grad():
        expected, mask = token_logps(model, [(e.input_ids, e.response_mask) for e in encoded])
        use_packed_attention(model, "segments")
        batch = collate([SharedPrompt((), (tuple(e.input_ids),), (tuple(e.response_mask),))
                         for e in encoded])
        # A token's, not an answer's: either forward is 2e-5 a token from float64, and sums add up.
        torch.testing.assert_close(response_token_logps(model, batch), expected[mask == 1],
                                   atol=1e-4, rtol=0)
        torch.testing.assert_close(response_logps(model, batch), (expected * mask).sum(1),
                                   atol=0, rtol=1e-5)
