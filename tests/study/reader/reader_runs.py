"""A run folder with what a reader needs, and scores for its answers."""

import json
from pathlib import Path

from lib.data.parquet import write_parquet
from lib.runtime.files import Row, read_json, write_json, write_jsonl

PROMPTS = [f"p{number}" for number in range(12)]
SYSTEMS = ("base", "sft", "dpo", "sft+bon4@0.6", "dpo+bon4@0.6")
SHARED = "Both say this."


def answer_of(system: str, prompt: str) -> str:
    """What a system answers; every third prompt has one answer that two systems give."""
    if int(prompt[1:]) % 3 == 0 and system in ("sft", "sft+bon4@0.6"):
        return SHARED
    return f"Reply {sum(map(ord, system))} about {prompt[1:]}."


def reader_run(folder: Path, systems: tuple[str, ...] = SYSTEMS,
               answers: dict[tuple[str, str], str] | None = None) -> Path:
    """A run of twelve prompts; answers: (system, prompt) -> another text than the made-up one."""
    write_json(folder / "data" / "manifest.json", {"parameters": {"data": {"seed": 3}}})
    write_parquet([{"id": prompt, "prompt": f"Ask {prompt[1:]}?", "reference": f"Good {prompt}.",
                    "source": ("advice", "coding")[place % 2],
                    "instruction_id_list": [], "kwargs": []}
                   for place, prompt in enumerate(PROMPTS)], folder / "data" / "heldout.parquet")
    for system in (*systems, "dpo+random4@0.6"):
        write_jsonl(folder / "responses" / f"{system}.jsonl", [
            _row(system, prompt, (answers or {}).get((system, prompt)) or answer_of(system, prompt))
            for prompt in PROMPTS])
    return folder


def with_arms(run: Path, arms: dict[str, str]) -> Path:
    """The run with finished arms; arms: name -> how its first answers begin."""
    for arm, begin in arms.items():
        rows = [_row(arm, prompt, "") | {"candidates": [
            {"text": f"{begin} {prompt}", "tokens": 3, "finish": "stop",
             "rewards": {"selector": 0.0, "judge": place / 8}},
            {"text": f"second of {begin}", "tokens": 3, "finish": "stop",
             "rewards": {"selector": 0.0, "judge": 0.0}}]}
            for place, prompt in enumerate(PROMPTS)]
        for row in rows:
            del row["chosen"]
        write_jsonl(run / "arms" / arm / "answers.jsonl", rows)
        write_jsonl(run / "arms" / arm / "kl.jsonl", [])
        write_json(run / "arms" / arm / "manifest.json", {"outputs": {}})
    return run


def _row(system: str, prompt: str, text: str) -> Row:
    candidates = [{"text": "not picked"}, {"text": f" {text}\n", "tokens": 3, "finish": "length",
                                           "rewards": {"selector": 0.25, "judge": -0.125}}]
    return {"id": prompt, "prompt": f"Ask {prompt[1:]}?", "source": "advice", "chosen": 1,
            "candidates": candidates}


def batch(run: Path, name: str) -> Row:
    """A batch as a program reads it."""
    return read_json(run / "reader" / "batches" / f"{name}.json")


def keys(run: Path, name: str) -> list[str]:
    """The keys of a batch, in its order."""
    return [answer["key"] for prompt in batch(run, name)["prompts"]
            for answer in prompt["answers"]]


def filled(run: Path, name: str, reader: str, path: Path) -> Path:
    """A score file for a batch: a score that depends on the key alone."""
    path.write_text("".join(json.dumps({"key": key, "score": score_of(key), "reader": reader})
                            + "\n" for key in keys(run, name)), encoding="utf-8")
    return path


def score_of(key: str) -> float:
    """A score in halves from 1 to 5.5."""
    return 1 + int(key, 16) % 10 / 2


def files(run: Path) -> dict[str, bytes]:
    """Every file that was exported, by its name."""
    return {file.name: file.read_bytes() for file in (run / "reader" / "batches").iterdir()}
