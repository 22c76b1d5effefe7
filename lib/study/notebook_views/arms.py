"""One real pair and one real prompt for notebook 06, by which arms are computed by hand.

`trained_loss` is what training computes for the pair, by the very table that it reads.
"""

import torch

from lib.runtime.files import Row, read_jsonl
from lib.study.policies import load_pools
from lib.study.run import Study
from lib.study.stages.data import load_part
from lib.training.dpo import LOSSES
from lib.training.pairs import Pair
from lib.training.settings import DPOSettings, PreferenceLoss

MADE_UP = "made up, for this run has none"
SCORES = (0.1, 0.4, -0.2, 0.3)  # of made-up answers


def one_pair(study: Study) -> Row:
    """The first validation pair that has scores, as DPO's model and its reference see it.

    {"id", "logp_chosen", "logp_rejected" (of the policy, summed), "h_chosen", "h_rejected" (gained
    over the reference), "tokens_chosen", "tokens_rejected", "score_gap"}; made-up numbers where no
    pair was set aside.
    """
    rows = {row["id"]: row for row in load_part(study, "preferences_validation")}
    before = _reference(study)
    for gained in read_jsonl(study.path("dpo", "validation_rewards.jsonl")):
        row, name = rows.get(gained["id"], {}), gained["id"]
        scores = [row.get(f"score_{side}") for side in ("chosen", "rejected")]
        if None not in scores and scores[0] > scores[1] and name in before:
            h = gained["chosen_gain"], gained["rejected_gain"]
            return {"id": name, "h_chosen": h[0], "h_rejected": h[1],
                    "logp_chosen": before[name][0] + h[0], "logp_rejected": before[name][1] + h[1],
                    "tokens_chosen": len(row["chosen_ids"]),
                    "tokens_rejected": len(row["rejected_ids"]), "score_gap": scores[0] - scores[1]}
    return {"id": MADE_UP, "h_chosen": 2.0, "h_rejected": -1.0, "logp_chosen": -40.0,
            "logp_rejected": -60.0, "tokens_chosen": 20, "tokens_rejected": 25, "score_gap": 2.0}


def _reference(study: Study) -> dict[str, list[float]]:
    """Log-probabilities of chosen and rejected under DPO's reference, by the pair's id."""
    path = study.path("dpo", "reference_validation.jsonl")
    lines = read_jsonl(path)[1:] if path.exists() else []
    return {name: logps for line in lines for name, logps in line["logps"].items()}


def trained_loss(pair: Row, loss: PreferenceLoss) -> float:
    """What training computes for a pair of `one_pair` with a loss at its own defaults."""
    settings = DPOSettings(loss=loss)
    chosen, rejected, reference_chosen, reference_rejected = (
        torch.tensor([pair[f"logp_{side}"] - back * pair[f"h_{side}"]], dtype=torch.float64)
        for back in (0, 1) for side in ("chosen", "rejected"))
    ids = {side: (0,) * pair[f"tokens_{side}"] for side in ("chosen", "rejected")}
    return LOSSES[loss](
        (chosen, rejected, reference_chosen, reference_rejected, settings.beta), settings,
        [Pair(pair["id"], (), ids["chosen"], ids["rejected"], pair["score_gap"])]).item()


def four_answers(study: Study) -> Row:
    """SFT's first four answers to a prompt that all ended and differ in the selector's score.

    A row of the pool. Where no prompt has such answers, as with a random model, the first one's
    have an end and, where scores are missing or equal, made-up scores.
    """
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
    return scored[:6] or [{"id": f"{number}, {MADE_UP}", "score_chosen": 5.0 + number % 3,
                           "score_rejected": 4.0} for number in range(6)]
