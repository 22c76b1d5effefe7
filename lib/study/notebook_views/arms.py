"""Real pairs, prompts and weights for notebook 06, by which arms are computed by hand.

`trained` is what training computes for a pair, by the very table that it reads.
"""

from textwrap import shorten
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lib.data.schema import prompt_text
from lib.data.tokens import pair_ids
from lib.modeling.lora import merge_lora, targeted_layers, with_lora
from lib.runtime.files import Row, read_jsonl
from lib.study.beyond.adapters import ALPHA, FASTER, RANK
from lib.study.notebook_views.lessons import load_plain_model
from lib.study.policies import load_pools
from lib.study.run import Study, stage_hash
from lib.study.stages.data import load_part
from lib.training.dpo import LOSSES
from lib.training.pairs import Pair
from lib.training.plain import Tokens, answer_logps, sft_step
from lib.training.settings import DPOSettings, PreferenceLoss

MADE_UP = "made up, for this run has too few"
SCORES = (0.1, 0.4, -0.2, 0.3)  # of made-up answers
MADE_UP_PAIR: Row = {
    "id": MADE_UP, "prompt": MADE_UP, "h_chosen": 2.0, "h_rejected": -1.0, "logp_chosen": -40.0,
    "logp_rejected": -60.0, "tokens_chosen": 20, "tokens_rejected": 25, "score_gap": 2.0}


def seen_pairs(study: Study) -> list[Row]:
    """Validation pairs as DPO's model and its reference see them.

    {"id", "prompt" (its beginning), "logp_chosen", "logp_rejected" (of the policy, summed),
    "h_chosen", "h_rejected" (gained over the reference), "tokens_chosen", "tokens_rejected",
    "score_gap" (None without scores)} each; made-up ones where fewer than two pairs were set aside.
    """
    rows = {row["id"]: row for row in load_part(study, "preferences_validation")}
    stage_hash(study, "dpo")
    before = _reference(study)
    found = [_seen(rows[gained["id"]], gained, before[gained["id"]])
             for gained in read_jsonl(study.path("dpo", "validation_rewards.jsonl"))
             if gained["id"] in rows and gained["id"] in before]
    return found if len(found) > 1 else [MADE_UP_PAIR | {"h_chosen": 2.0 - number,
                                                         "tokens_chosen": 20 + number}
                                         for number in range(4)]


def _seen(row: Row, gained: Row, reference: list[float]) -> Row:
    scores = row["score_chosen"], row["score_rejected"]
    found: Row = {"id": row["id"], "prompt": shorten(prompt_text(row), 60, placeholder=" …"),
                  "score_gap": None if None in scores else scores[0] - scores[1]}
    for side, before in zip(("chosen", "rejected"), reference, strict=True):
        gain = gained[f"{side}_gain"]
        found |= {f"h_{side}": gain, f"logp_{side}": before + gain,
                  f"tokens_{side}": len(row[f"{side}_ids"])}
    return found


def one_pair(study: Study) -> Row:
    """The pair of `seen_pairs` whose scores lie furthest apart; a made-up one without scores."""
    scored = [pair for pair in seen_pairs(study) if (pair["score_gap"] or 0) > 0]
    return max(scored, key=lambda pair: pair["score_gap"], default=MADE_UP_PAIR)


def _reference(study: Study) -> dict[str, list[float]]:
    """Log-probabilities of chosen and rejected under DPO's reference, by the pair's id."""
    path = study.path("dpo", "reference_validation.jsonl")
    lines = read_jsonl(path)[1:] if path.exists() else []
    return {name: logps for line in lines for name, logps in line["logps"].items()}


def trained(pair: Row, loss: PreferenceLoss) -> tuple[float, float, float]:
    """What training computes for a pair of `seen_pairs` with a loss at its own defaults.

    The loss, and how hard its gradient pulls up the log-probability of the chosen and of the
    rejected answer, per nat; a negative pull is down.
    """
    settings = DPOSettings(loss=loss)
    chosen, rejected, reference_chosen, reference_rejected = (
        torch.tensor([pair[f"logp_{side}"] - back * pair[f"h_{side}"]], dtype=torch.float64,
                     requires_grad=not back)
        for back in (0, 1) for side in ("chosen", "rejected"))
    ids = {side: (0,) * pair[f"tokens_{side}"] for side in ("chosen", "rejected")}
    value = LOSSES[loss](
        (chosen, rejected, reference_chosen, reference_rejected, settings.beta), settings,
        [Pair(pair["id"], (), ids["chosen"], ids["rejected"], pair["score_gap"])])
    up, down = torch.autograd.grad(value.sum(), (chosen, rejected))
    return value.item(), -up.item(), -down.item()


def one_adapter(study: Study) -> Row:
    """SFT's model with LoRA on one training pair's chosen answer, after one step of SFT on it.

    One adapted layer: {"layer", "W", "B", "A", "merged"} as NumPy arrays, with W and merged [out,
    in]. The answer's log p: {"reference" (without LoRA), "on", "off", "merged_logp"}.
    """
    model, tokenizer = load_plain_model(study, "sft")
    ids = pair_ids(load_part(study, "preferences")[0], tokenizer)
    answer: list[Tokens] = [([*ids["prompt_ids"], *ids["chosen_ids"]],
                             [0] * len(ids["prompt_ids"]) + [1] * len(ids["chosen_ids"]))]
    found: Row = {"layer": targeted_layers(model, RANK)[0], "reference": _logp(model, answer)}
    wrapped: Any = with_lora(model, RANK, ALPHA)
    trains = [weight for weight in wrapped.parameters() if weight.requires_grad]
    sft_step(wrapped, AdamW(trains, lr=FASTER * study.profile.dpo.learning_rate), answer)
    layer: Any = model.get_submodule(found["layer"])
    found |= {"on": _logp(wrapped, answer), "W": _weight(layer), "A": _numpy(
        layer.lora_A["default"].weight), "B": _numpy(layer.lora_B["default"].weight)}
    with wrapped.disable_adapter():
        found["off"] = _logp(wrapped, answer)
    merge_lora(wrapped)
    merged = model.get_submodule(found["layer"])
    return found | {"merged": _weight(merged), "merged_logp": _logp(model, answer)}


def _logp(model: PreTrainedModel, answer: list[Tokens]) -> float:
    with torch.no_grad():
        return answer_logps(model, answer).item()


def _weight(layer: Any) -> np.ndarray:
    """A linear layer's own weight, [out, in]; GPT-2's are stored the other way round."""
    inner = getattr(layer, "base_layer", layer)
    return _numpy(inner.weight.T if isinstance(inner, Conv1D) else inner.weight)


def _numpy(weight: Tensor) -> np.ndarray:
    return weight.detach().cpu().numpy().copy()


def four_answers(study: Study) -> Row:
    """SFT's first four answers to a prompt that all ended and differ in the selector's score.

    A row of the pool. Where no prompt has such answers, as with a random model, the first one's
    have an end and, where scores are missing or equal, made-up scores.
    """
    stage_hash(study, "responses")
    pool = next(rows for pool, rows in load_pools(study).items() if pool.policy == "sft")
    four = [{**row, "candidates": row["candidates"][:4]} for row in pool]
    return next(filter(_usable, four), None) or _made_usable(four[0])


def _usable(row: Row) -> bool:
    scores = [answer["rewards"]["selector"] for answer in row["candidates"]]
    return None not in scores and len(set(scores)) == len(scores) and all(
        answer["finish"] == "stop" for answer in row["candidates"])


def _made_usable(row: Row) -> Row:
    ended = {**row, "candidates": [{**answer, "finish": "stop"} for answer in row["candidates"]]}
    if _usable(ended):
        return ended
    return {**ended, "prompt": f"{row['prompt']} (scores {MADE_UP})", "candidates": [
        {**answer, "rewards": {"selector": score}}
        for answer, score in zip(ended["candidates"], SCORES, strict=False)]}


def six_pairs(study: Study) -> list[Row]:
    """The first six training pairs that have scores; made-up ones where none has."""
    scored = [row for row in load_part(study, "preferences")
              if None not in (row["score_chosen"], row["score_rejected"])]
    return scored[:6] or [
        {"id": f"{number}", "prompt": [{"role": "user", "content": f"({MADE_UP})"}],
         "chosen": "yes", "rejected": "no", "score_chosen": 5.0 + number % 3,
         "score_rejected": 4.0} for number in range(6)]
