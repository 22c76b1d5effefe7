"""The study's answers in the formats of other tools.

The class leaderboard's JSONL, Google's LLM Comparator, AlpacaEval's outputs and TRL's preference
schema. Pure functions from response rows to plain rows, but for `write_preferences` and
`push_to_hub`.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import HfApi

from lib.analysis.comparisons.scoreboard import answered, chosen, scoreboard
from lib.analysis.statistics.intervals import wilson_interval
from lib.data.parquet import to_trl
from lib.data.schema import is_missing
from lib.runtime.files import Row, atomic_write, sha256_of_value

REPEATED = re.compile(r"~\d+$")  # what `lib.data.schema.convert` adds to an id that is not unique


def leaderboard_rows(rows: Sequence[Row], model: str, dataset: str = "ultrafeedback",
                     split: str = "test") -> list[Row]:
    """The paper's class leaderboard: one object a prompt, with the id that its file gave it.

    An id that is a hash of the prompt (ours of a row without one, UltraFeedback's) becomes the
    row's number, as in the leaderboard's own file: "0", "1", ...
    """
    return [{"prompt": row["prompt"], "response": chosen(row)["text"],
             "id": str(number) if _is_hash_of_prompt(row) else row["id"],
             "model": model, "dataset": dataset, "split": split}
            for number, row in enumerate(rows) if not is_missing(chosen(row))]


def reconstructed_score(rows: Sequence[Row], reference_scores: Mapping[str, float | None],
                        judge: str) -> Row:
    """Share of prompts on which a judge scores the answer above the reference answer.

    The leaderboard's scoring code is not public: call this score a reconstruction.
    reference_scores: prompt id -> the judge's score of the reference. Prompts without both scores
    are left out and counted. Raises ValueError when none is left.
    """
    pairs = [(chosen(row).get("rewards", {}).get(judge), reference_scores.get(row["id"]))
             for row in rows]
    kept = [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
    if not kept:
        raise ValueError(f"{judge} scored no answer together with its reference; score both first")
    wins = sum(ours > theirs for ours, theirs in kept)
    low, high = wilson_interval(wins, len(kept))
    return {"judge": judge, "n": len(kept), "missing": len(rows) - len(kept), "wins": wins,
            "reconstructed_score": wins / len(kept), "ci_low": low, "ci_high": high}


def llm_comparator(rows_a: Sequence[Row], rows_b: Sequence[Row], a: str, b: str,
                   judges: Sequence[str], source: str = "") -> Row:
    """One JSON for Google's LLM Comparator; a score above 0 means that a is better.

    Every judge is a rater that gives 1, 0 or -1; an example's score is their mean. Lengths and
    rewards become custom fields. Raises ValueError for different prompt sets.
    """
    board = scoreboard({a: rows_a, b: rows_b}, judges)
    by_id = [{row["id"]: row for row in rows} for rows in (rows_a, rows_b)]
    ratings = np.stack([2 * board.outcomes(judge, a, b) - 1 for judge in judges], axis=1)
    return {"metadata": {"source_path": source, "custom_fields_schema": _custom_schema(judges)},
            "models": [{"name": a}, {"name": b}],
            "examples": [_example(by_id[0][key], by_id[1][key], judges, rating)
                         for key, rating in zip(board.prompts, ratings, strict=True)]}


def alpaca_eval_outputs(rows: Sequence[Row], generator: str) -> list[Row]:
    """AlpacaEval's model outputs: instruction, output, generator, dataset."""
    return [{"instruction": row["prompt"], "output": chosen(row)["text"], "generator": generator,
             "dataset": row.get("source", "")} for row in answered(rows)]


def write_preferences(path: Path | str, rows: Sequence[Row]) -> None:
    """Write preference rows as a Parquet file that TRL's trainers load unchanged, atomically."""
    message = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    schema = pa.schema([("prompt", message), ("chosen", message), ("rejected", message),
                        ("score_chosen", pa.float64()), ("score_rejected", pa.float64())])
    with atomic_write(path) as temporary:
        pq.write_table(pa.Table.from_pylist(to_trl(rows), schema=schema), temporary)


def push_to_hub(folder: Path | str, repo_id: str, private: bool = True) -> str:
    """Upload a model folder to the Hugging Face hub; no stage of the study calls it.

    The token comes from the environment (`hf auth login` or HF_TOKEN). Returns the address.
    """
    api = HfApi()
    api.create_repo(repo_id, private=private, exist_ok=True)
    return str(api.upload_folder(repo_id=repo_id, folder_path=str(folder)))


def _is_hash_of_prompt(row: Row) -> bool:
    text = row["prompt"]
    return REPEATED.sub("", row["id"]) in (
        sha256_of_value(text)[:16], hashlib.sha256(text.encode("utf-8", "replace")).hexdigest())


def _custom_schema(judges: Sequence[str]) -> list[Row]:
    return [{"name": "tokens", "type": "per_model_number"},
            *({"name": f"reward: {judge}", "type": "per_model_number"} for judge in judges)]


def _example(row_a: Row, row_b: Row, judges: Sequence[str], rating: np.ndarray) -> Row:
    answers = chosen(row_a), chosen(row_b)
    raters = [{"score": float(score), "is_flipped": False, "rationale": ""}
              for score in rating if not np.isnan(score)]
    fields = {"tokens": [answer.get("tokens") for answer in answers]} | {
        f"reward: {judge}": [answer.get("rewards", {}).get(judge) for answer in answers]
        for judge in judges}
    mean = float(np.mean([rater["score"] for rater in raters])) if raters else None  # not a tie
    return {"input_text": row_a["prompt"], "tags": [row_a.get("source", "")],
            "output_text_a": answers[0]["text"], "output_text_b": answers[1]["text"],
            "score": mean, "individual_rater_scores": raters, "custom_fields": fields}
