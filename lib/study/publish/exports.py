"""The run's answers and models in the formats of other tools, and the models' cards.

`write_exports` writes exports/ (the class leaderboard's JSONL, LLM Comparator, AlpacaEval, TRL's
preference Parquet) and a README.md beside each trained model, which no stage's hash includes. Only
this command uploads anything:

    python -m lib.study.publish.exports runs/laptop --push dpo owner/name
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.analysis.exports import formats
from lib.analysis.exports.model_card import model_card
from lib.inference.rewards import ROLES
from lib.runtime.files import Row, read_json, write_json, write_jsonl, write_text
from lib.runtime.manifest import manifest_of
from lib.runtime.progress import say
from lib.study.policies import load_systems
from lib.study.run import Study
from lib.study.stages.data import load_part

TRAINED = ("sft", "dpo")
HUB_NAMES = {"packaged": "HuggingFaceTB/SmolLM2-135M-Instruct", "gemma": "google/gemma-3-270m"}
LICENSES = {"gemma": "gemma"}  # of what is trained from a model; others: that of this project


def write_exports(study: Study, results: Mapping[str, Any]) -> list[Path]:
    """Write every export and both model cards; returns the files."""
    systems, folder = load_systems(study), study.view("exports")
    written = []
    for name, rows in systems.items():
        written += [folder / "leaderboard" / f"{name}.jsonl",
                    folder / "alpaca_eval" / f"{name}.json"]
        write_jsonl(written[-2], formats.leaderboard_rows(rows, name))
        write_json(written[-1], formats.alpaca_eval_outputs(rows, name))
    for a, b in results["confounds"]:
        written.append(folder / "llm_comparator" / f"{a}_over_{b}.json")
        write_json(written[-1], formats.llm_comparator(systems[a], systems[b], a, b, ROLES))
    written.append(folder / "preferences.parquet")
    formats.write_preferences(written[-1], load_part(study, "preferences"))
    return [*written, *write_model_cards(study, results)]


def write_model_cards(study: Study, results: Mapping[str, Any]) -> list[Path]:
    """README.md beside each trained model: data, recipe, results with intervals, limits, hashes."""
    profile, paths = study.profile, []
    by_judge = [row for row in results["win_rates"] if row["judge"] == "judge"]
    for stage in TRAINED:
        paths.append(study.view(stage, "model", "README.md"))
        write_text(paths[-1], model_card(
            f"{profile.name} study: {stage.upper()}", stage,
            HUB_NAMES.get(profile.model.name, profile.model.name), manifest_of(study.path(stage)),
            by_judge, results["text_metrics"], _data_name(study, stage),
            LICENSES.get(profile.model.name, "apache-2.0")))
    return paths


def export_lines(run: Path, paths: Sequence[Path]) -> list[Row]:
    """The written files by folder: {"folder", "files", "kilobytes"}."""
    folders: dict[str, list[Path]] = {}
    for path in paths:
        inside = path.is_relative_to(run)  # a read-only run's are elsewhere
        folders.setdefault(str(path.parent.relative_to(run) if inside else path.parent),
                           []).append(path)
    return [{"folder": folder, "files": len(files),
             "kilobytes": round(sum(file.stat().st_size for file in files) / 1000)}
            for folder, files in folders.items()]


def _data_name(study: Study, stage: str) -> str:
    data = study.profile.data
    named = data.sft_path if stage == "sft" else data.preferences_path
    return named or "the study's sample corpus"


def main(arguments: Sequence[str] | None = None) -> int:
    """Upload one trained model of a finished run with its card; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lib.study.publish.exports",
                                     description=main.__doc__)
    parser.add_argument("run", type=Path, help="a run folder, for example runs/laptop")
    parser.add_argument("--push", nargs=2, metavar=("STAGE", "REPOSITORY"), required=True,
                        help="sft or dpo, and owner/name on the hub")
    parser.add_argument("--public", action="store_true", help="make the repository public")
    options = parser.parse_args(arguments)
    stage, repository = options.push
    folder = options.run / stage / "model"
    if stage not in TRAINED or not (folder / "README.md").exists():
        print(f"error: {folder} has no model with a card; use sft or dpo, and run notebook "
              "05_analysis first", file=sys.stderr)
        return 2
    if read_json(folder.parent / "manifest.json")["git"].get("dirty"):
        say("note: this model was trained from code with uncommitted changes")
    say(f"uploaded: {formats.push_to_hub(folder, repository, private=not options.public)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
