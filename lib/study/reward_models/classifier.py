"""A full reward model, trained on the run's pairs: an option beside the embedded heads.

    python -m lib.study.reward_models.classifier --run runs/laptop   trains runs/laptop/reward_model
    python -m lib.study --run runs/own --set rewards.selector=runs/laptop/reward_model/model

Training starts from the profile's model, uses the pairs of notebook 01, and writes a sequence
classifier of transformers. DPO learns from the same pairs: the model may select, but never judge.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.analysis.judges.quality import pair_accuracy
from lib.analysis.tables.findings import accuracy_words
from lib.modeling.loading import load_scalar_model, load_tokenizer, model_hash
from lib.runtime.files import FileError, read_json, write_json, write_jsonl
from lib.runtime.progress import say
from lib.study.profiles import ProfileError, parse_setting
from lib.study.run import Study, StudyError, open_study, run_stage, stage_hash
from lib.study.stages.data import load_part, prepare_data
from lib.training.loop import Run, train
from lib.training.pairs import pair_rewards
from lib.training.reward import RewardObjective, encode_reward_pairs, save_reward_model


def train_reward_model(study: Study) -> dict[str, Any]:
    """Train reward_model/model, unless it is finished; returns its report.

    {"n", "missing", "accuracy", "ci_low", "ci_high"} on validation pairs (clustered by prompt), and
    "dropped": counts of dropped pairs by part and reason.
    """
    profile = study.profile
    folder = run_stage(
        study, "reward_model", {"model": profile.model, "reward_model": profile.reward_model,
                                "max_length": profile.data.max_pair_length},
        outputs=["model", "metrics.jsonl", "validation_rewards.jsonl", "report.json"],
        work=lambda folder: _train(study, folder), inputs={"data": stage_hash(study, "data")})
    return read_json(folder / "report.json")


def _train(study: Study, folder: Path) -> None:
    profile, device = study.profile, study.device
    settings, model_name = profile.reward_model, profile.model
    tokenizer = load_tokenizer(model_name.name, model_name.revision)
    encoded = {part: encode_reward_pairs(load_part(study, part), tokenizer,
                                         profile.data.max_pair_length)
               for part in ("preferences", "preferences_validation")}
    pairs, held = (RewardObjective(part.pairs, settings) for part in encoded.values())
    model = load_scalar_model(model_name.name, device.device, model_name.revision,
                              model_name.attention, profile.seed)
    if settings.activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    state = train(Run(model, pairs, held, settings, folder, profile.seed, device.device,
                      device.dtype, name="reward model",
                      start=model_hash(model_name.name, model_name.revision)))
    leads = pair_rewards(model, held, device.device)
    write_jsonl(folder / "validation_rewards.jsonl", leads)
    gaps = np.array([lead["chosen"] - lead["rejected"] for lead in leads])
    write_json(folder / "report.json",
               pair_accuracy(gaps, [lead["prompt"] for lead in leads])
               | {"dropped": {part: found.dropped for part, found in encoded.items()}})
    save_reward_model(model, state, tokenizer, folder / "model", pairs.pairs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the data and train as the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lib.study.reward_models.classifier",
                                     description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="laptop",
                        help="smoke, laptop, gemma, paper, t4 or a YAML file")
    parser.add_argument("--run", default="", help="folder of the run (default runs/<profile>)")
    parser.add_argument("--set", dest="settings", action="append", nargs="+", default=[],
                        metavar="KEY=VALUE", help="settings, for example reward_model.margin=0.5")
    parser.add_argument("--force", action="store_true", help="train again")
    given = parser.parse_args(arguments)
    try:
        settings = dict(parse_setting(text) for group in given.settings for text in group)
        study = open_study(given.profile, given.run, settings, given.force)
        prepare_data(study)
        report = train_reward_model(study)
    except (ProfileError, StudyError, FileError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    say(f"validation accuracy {accuracy_words(report)}; use it with --set rewards.selector="
        f"{study.path('reward_model', 'model')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
