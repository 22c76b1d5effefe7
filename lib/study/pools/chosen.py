"""Stage `chosen_pairs`: the training pairs that `data` chooses, in their order.

Label noise, margin, filtered DPO, clusters and curriculum (`lib.data.pair_selection`) work on the
pairs that were read or made, whatever their kind. Filtered DPO samples own answers from the SFT
model, once before training (with a single epoch its authors' method does the same), and the
selector scores them beside the chosen ones. preferences.parquet holds the pairs, report.json the
count after each step. Validation pairs stay as they are.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib.data.pair_selection.select import Measures, selected_pairs
from lib.data.parquet import write_parquet
from lib.data.schema import PreferenceRow, prompt_text
from lib.inference.embeddings import prompt_embeddings
from lib.inference.rewards import conversation
from lib.inference.rewards.heads.features import load_backbone
from lib.modeling.loading import model_hash
from lib.runtime.files import Row, read_json, read_jsonl, write_json
from lib.runtime.progress import say
from lib.study.policies import load_policy
from lib.study.pools.pool import Pool
from lib.study.pools.sampled import sample_pools
from lib.study.pools.self_generated import prompts_of
from lib.study.run import Study, StudyError, run_stage
from lib.study.stages.data import load_part
from lib.study.stages.rewards import Scorer, fit_rewards, score_rows
from lib.training.pairs import encode_pairs
from lib.training.reference import reference_logps


def choose_pairs(study: Study) -> list[Row] | None:
    """Choose the pairs, unless it is finished; the count after each step, None without a choice.

    Raises StudyError where a choice cannot be made.
    """
    profile, data = study.profile, study.profile.data
    if not data.changes_pairs:
        return None
    if data.fdpo_threshold is not None:
        fit_rewards(study, says=False)
    folder = run_stage(
        study, "chosen_pairs",
        {"model": profile.model, "choice": data.choice(), "max_length": data.max_pair_length,
         "selector": profile.rewards.selector, "backbone": profile.rewards.backbone,
         "sampling": _pool(study).settings(study).deciding()},
        outputs=["preferences.parquet", "report.json"],
        work=lambda folder: _choose(study, folder))
    return read_json(folder / "report.json")


def _choose(study: Study, folder: Path) -> None:
    rows, data = load_part(study, "preferences", chosen=False), study.profile.data
    try:
        chosen, report = selected_pairs(rows, data, measures(study, folder), data.seed)
    except ValueError as error:
        raise StudyError(f"the pairs cannot be chosen as data asks: {error}") from None
    write_parquet(chosen, folder / "preferences.parquet")
    write_json(folder / "report.json", report)
    say(f"pairs: {len(chosen)} of {len(rows)} chosen by {data.choice()}")


def measures(study: Study, folder: Path) -> Measures:
    """What the run's models say about pairs; answers and log-probabilities stay in `folder`."""
    return Measures(own_scores=lambda rows: _own_scores(study, rows, folder),
                    reference_gaps=lambda rows: _reference_gaps(study, rows, folder),
                    embeddings=lambda rows: _embeddings(study, rows))


def _pool(study: Study) -> Pool:
    data = study.profile.data
    return Pool("sft", data.pair_temperature, data.fdpo_samples)


def _own_scores(study: Study, rows: Sequence[PreferenceRow],
                folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The selector's scores of SFT's own answers, [pairs, samples], and of the chosen, [pairs]."""
    pool = _pool(study)
    sample_pools(study, [pool], prompts_of(rows), folder / "pools")
    answered = score_rows(Scorer(study, ["selector"]), read_jsonl(pool.file(folder / "pools")))
    return own_and_chosen(study, rows, answered)


def own_and_chosen(study: Study, rows: Sequence[PreferenceRow],
                   answered: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """The selector's scores of own answers, [pairs, samples], and of chosen ones, [pairs].

    answered: a row with scored candidates for every prompt of the pairs. NaN: not scored.
    """
    own = {prompt_text(row): [answer["rewards"]["selector"] for answer in row["candidates"]]
           for row in answered}
    chosen = Scorer(study, ["selector"]).score([
        conversation(row["prompt"], row["chosen"], row.get("cut_off_chosen", False))
        for row in rows])["selector"]
    return (np.array([own[prompt_text(row)] for row in rows], dtype=float),
            np.array(chosen, dtype=float))


def _reference_gaps(study: Study, rows: Sequence[PreferenceRow], folder: Path) -> np.ndarray:
    """The SFT model's summed log-probability of chosen minus rejected, in nats, [pairs]."""
    model, tokenizer = load_policy(study, "sft")
    pairs = encode_pairs(rows, tokenizer, study.profile.data.max_pair_length)
    logps = reference_logps(model, pairs, [], study.profile.dpo.token_budget,
                            model_hash(study.path("sft", "model")), folder / "reference.jsonl",
                            study.device.device)
    return (logps[:, 0] - logps[:, 1]).numpy()


def _embeddings(study: Study, rows: Sequence[PreferenceRow]) -> np.ndarray:
    """The selector backbone's embedding of each pair's prompt, [pairs, width]."""
    device, prompts = study.device, prompts_of(rows)
    backbone = load_backbone(study.profile.rewards.backbone, device.dtype, device.device)
    found = prompt_embeddings(backbone.model, backbone.tokenizer, prompts)
    place = {prompt_text(prompt): number for number, prompt in enumerate(prompts)}
    return found[[place[prompt_text(row)] for row in rows]]
