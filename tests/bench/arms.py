"""Does each arm of notebook 06 move what it optimises, on prompts that it was not trained on?

    python tests/bench/arms.py --from-run runs/laptop --arms all --out figures/bench/arms.jsonl

Every arm trains from the SFT model of a finished run on the same small budget (`SETTINGS`). Then
its function is called once more with validation prompts in place of training prompts, and each
training that it asks for is measured instead: the mean loss of its own objective on those rows,
without dropout, before and after the training. So a loss is asked of the kind of rows, and with the
beta, normalisation and margin, with which the arm trained. An arm that samples is also asked for
the selector's score of fresh answers. The study's held-out prompts are never read. --out keeps a
line for every finished arm, so that the command goes on where it stopped; it ends with the table.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

from lib.data.parquet import read_parquet, write_parquet
from lib.data.schema import PreferenceRow, is_cut_off, prompt_text
from lib.data.splits import held_out_subset
from lib.modeling.loading import load_model, model_hash, rounded_to
from lib.runtime.files import Record, Row, append_jsonl, read_jsonl, sha256_of_value, write_jsonl
from lib.runtime.progress import say
from lib.study.beyond.arm import ArmError, ArmRun, kl_from_sft, sample_scored
from lib.study.beyond.catalogue import ARMS, OWN
from lib.study.beyond.names import NAMES
from lib.study.beyond.online import log_ratios
from lib.study.beyond.settings import ANCHOR
from lib.study.pools.self_generated import prompts_of
from lib.study.run import Study, open_study
from lib.study.stages.data import load_part, prepare_data
from lib.study.stages.rewards import fit_rewards
from lib.study.stages.sft import train_sft
from lib.training.dpo import LOSSES, DPOObjective
from lib.training.job import Job, Setup, read_examples, set_up
from lib.training.loop import TrainingError
from lib.training.objective import Objective
from lib.training.on_policy.answers import encode_answers, group_answers
from lib.training.on_policy.rloo import shaped_rewards
from lib.training.on_policy.summed import SummedObjective
from lib.training.on_policy.train import policy_objective
from lib.training.pairs import encode_pairs, group_by_prompt, pairs_hash
from lib.training.processes import ALONE
from lib.training.reference import reference_logps
from lib.training.settings import DPOSettings, PolicyGradientSettings, TrainingSettings
from lib.training.sft import SFTObjective, encode_sft
from tests.bench.arms_table import arms_table, without
from tests.bench.machine import machine, versions

# Rates, betas and all else are the laptop profile's; a step has few pairs so that there are many.
SETTINGS: dict[str, Any] = {
    "beyond.prompts": 48, "beyond.trained_tokens": 10_000, "beyond.kl_prompts": 12,
    "evaluation.probe_prompts": 8, "dpo.batch_size": 4, "dpo.checkpoint_every": 0,
    "sampling.max_new_tokens": 96}
LONGEST = 160  # tokens of a prompt with one of its answers
PAIRS = {"written": ("other_pairs", "other_validation"),
         "own": ("preferences", "preferences_validation")}
SCORE = "selector's score of fresh answers"


@dataclass(frozen=True)
class ShortRun(ArmRun):
    """An arm on the short prompts of one part of the data."""

    part: str

    @property
    def prompts(self) -> list[Row]:
        """The prompts all of whose pairs are short, at most `beyond.prompts` of them."""
        rows = load_part(self.study, self.part)
        long = {prompt_text(row) for row in rows if len(row["prompt_ids"]) + max(
            len(row["chosen_ids"]), len(row["rejected_ids"])) > LONGEST}
        short = prompts_of([row for row in rows if prompt_text(row) not in long])
        return held_out_subset(short, min(self.study.profile.beyond.prompts, len(short)),
                               self.study.profile.data.seed)

    def pairs(self) -> list[PreferenceRow]:
        """The pairs of these prompts."""
        chosen = {prompt_text(row) for row in self.prompts}
        return [row for row in load_part(self.study, self.part) if prompt_text(row) in chosen]

    def first_answers(self, prompts: Sequence[Row] | None = None) -> list[Row]:
        """The SFT model's scored answers, which all arms share."""
        shared = {row["id"]: row for row in self.fresh(
            self.sft, self.study.path("arms", f"{self.part}.jsonl"))}
        rows = [shared[row["id"]] for row in prompts or self.prompts]
        self._charge("sft_answers", rows)
        return self._with_ends(rows)

    def fresh(self, model: Path, file: Path) -> list[Row]:
        """A model's scored answers to the prompts, with the same random numbers for every model."""
        settings = self.study.profile.beyond
        return sample_scored(self.study, model, self.prompts, "fresh", file, settings.samples,
                             settings.temperature, ["selector"])


@dataclass(frozen=True)
class HeldOut(ShortRun):
    """A trained arm that is asked again, on validation prompts; `train` measures instead."""

    trained: Path  # the model that the arm made
    found: list[Row] = field(default_factory=list)
    asked: list[TrainingSettings] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """A folder of its own beside the arm's trainings."""
        return super().folder / "held_out"

    def rounds(self, count: int) -> list[list[Row]]:
        """All prompts in each round: none of them is trained on."""
        return [self.prompts] * count

    def _check_budget(self, name: str, answers: int) -> None:
        """Answers that only measure are on no budget."""

    def train(self, method: Any, rows: Sequence[Record], settings: TrainingSettings,
              start: Path | None = None, name: str = "training", share: float = 1.0,
              tokens: int | None = None, probe: Any = None, **fields: Any) -> Path:
        """Measure the objective on the rows before and after this training; the trained model."""
        start, study = start or self.sft, self.study
        trained = super().folder / name / "model"
        trained = trained if trained.exists() else self.trained
        file = self.folder / name / "rows.parquet"
        rows = [{**row, "id": f"{row['id']} of {row['age']} rounds ago"} if row.get("age") else row
                for row in rows]  # each round has all prompts, so that ids would come twice
        write_parquet(rows, file, like=rows)
        objective = objective_of(set_up(Job(
            method, str(start), str(file), str(file.parent), settings=settings,
            max_length=study.profile.data.max_pair_length, seed=study.profile.seed,
            device=study.profile.model.device, precision=study.profile.model.precision,
            attention=study.profile.model.attention, **fields), ALONE))
        after = mean_losses(loaded(study, trained), objective)
        before = (losses_at_start(objective) if isinstance(objective, DPOObjective)
                  else mean_losses(loaded(study, start), objective))
        self.asked.append(settings)
        self.found.append({"objective": words_of(settings), "name": name, "sign": -1,
                           "weights": list(map(objective.weight, objective.groups)),
                           "before": before, "after": after})
        return trained


def objective_of(setup: Setup) -> Objective:
    """A job's objective on its rows, as its training has it.

    Log-probabilities of other policies are those of rows that hold one prompt, as `mean_losses`
    reads them, so that a model and itself agree to the last bit.
    """
    job, settings = setup.job, setup.job.settings
    if isinstance(settings, DPOSettings):
        return pair_objective(setup, settings, job.rows)
    if not isinstance(settings, PolicyGradientSettings):
        return SFTObjective(read_examples(setup, job.rows, encode_sft), settings.token_budget)
    answers = encode_answers(read_parquet(job.rows), setup.tokenizer, job.max_length,
                             settings).answers
    policy = policy_objective(setup, answers, group_answers(answers), "training")
    if not job.pairs:
        return policy
    of_pairs = DPOSettings(beta=settings.pair_beta, token_budget=settings.token_budget)
    return SummedObjective({"dpo": (pair_objective(setup, of_pairs, job.pairs), 1.0),
                            "policy": (policy, settings.policy_weight)})


def pair_objective(setup: Setup, settings: DPOSettings, path: str) -> DPOObjective:
    """A loss of the DPO family on a file's pairs; the reference is the model at the start.

    Arms with the same pairs and start share its log-probabilities.
    """
    pairs, start = read_examples(setup, path, encode_pairs), model_hash(setup.job.model)
    name = sha256_of_value([start, pairs_hash(pairs)])
    shared = Path(setup.job.folder).parents[2] / f"reference_{name}.jsonl"
    with rounded_to(setup.model, setup.device.dtype):
        reference = reference_logps(setup.model, pairs, group_by_prompt(pairs),
                                    settings.token_budget, start, shared, setup.device.device)
    return DPOObjective(pairs, reference, settings)


def losses_at_start(objective: DPOObjective) -> list[float]:
    """What `mean_losses` gives for the reference itself, from its log-probabilities."""
    logps = 2 * tuple(objective.reference.T)
    given = LOSSES[objective.settings.loss]((*logps, objective.settings.beta), objective.settings,
                                            objective.pairs)
    return [given[group].mean().item() for group in objective.groups]


def loaded(study: Study, model: Path) -> Any:
    """A model as the run computes with it."""
    return load_model(str(model), study.device.dtype, study.device.device)


def mean_losses(model: Any, objective: Objective) -> list[float]:
    """The objective's mean loss on each of its groups (a prompt's pairs or answers)."""
    with torch.no_grad():
        return [sum(objective.loss(model, row)[0].item()
                    for row in objective.rows(group, model.device)) / objective.weight(group)
                for group in objective.groups]


def words_of(settings: TrainingSettings) -> str:
    """What a training minimises, in words."""
    if isinstance(settings, DPOSettings):
        return f"loss {settings.loss}"
    if not isinstance(settings, PolicyGradientSettings):
        return "-log p of picked answers, a token"
    both = "loss dpo and " if settings.policy_weight != 1 else ""
    return f"{both}clipped surrogate of answers"


def fresh_scores(run: HeldOut) -> Row:
    """The selector's mean score of fresh answers, SFT's before, less what the arm's own KL costs.

    Of BOND, whose scores are quantiles, the plain score.
    """
    settings = run.asked[-1]
    rows = {"before": run.first_answers(),
            "after": run.fresh(run.trained, run.folder / "fresh.jsonl")}
    scores = {end: np.array([[np.nan if answer["rewards"]["selector"] is None else
                              answer["rewards"]["selector"] for answer in row["candidates"]]
                             for row in found]) for end, found in rows.items()}
    words = SCORE
    if isinstance(settings, PolicyGradientSettings) and run.name != "bond":
        words += f", less {settings.kl_weight:g} a nat from SFT"
        for end, found in rows.items():
            scores[end] -= settings.cut_off_penalty * np.array(
                [[is_cut_off(answer) for answer in row["candidates"]] for row in found])
        scores["after"] = shaped_rewards(
            scores["after"], log_ratios(run, rows["after"], run.trained), 0.0, settings.kl_weight)
    means = {end: np.nanmean(found, -1) for end, found in scores.items()}
    known = ~np.isnan(means["before"] + means["after"])
    return {"objective": words, "name": "fresh", "sign": 1, "weights": [1.0] * int(known.sum()),
            **{end: found[known].tolist() for end, found in means.items()}}


def measured(study: Study, name: str, parts: tuple[str, str]) -> Row:
    """Train an arm and ask it on validation prompts; its line of the report."""
    started, arm = time.perf_counter(), ARMS[name]
    say(f"{name}: {arm.idea}")
    run = ShortRun(study, name, parts[0])
    model = arm.train(run)
    if name == ANCHOR:
        write_jsonl(run.folder / "kl.jsonl",
                    kl_from_sft(study, model, name, run.folder / "kl_answers.jsonl"))
    held = HeldOut(study, name, parts[1], model)
    without(arm).train(held)
    if arm.group == OWN and name != "dice" or name == "raft_random":
        held.found.append(fresh_scores(held))
    steps = [sum(row["split"] == "train" for row in read_jsonl(file))
             for file in sorted(run.folder.glob("*/metrics.jsonl"))]
    for trained in run.folder.glob("*/model"):
        shutil.rmtree(trained)
    return {"arm": name, "steps": sum(steps), **run.costs(),
            "seconds": round(time.perf_counter() - started), "found": [
                {key: [float(f"{one:.6g}") for one in value] if isinstance(value, list) else value
                 for key, value in row.items()} for row in held.found]}


def opened(options: argparse.Namespace) -> Study:
    """The run folder with the data, the SFT model and the reward heads of the finished run."""
    study = open_study("laptop", options.run, SETTINGS, from_run=options.from_run)
    prepare_data(study)
    train_sft(study)
    fit_rewards(study)
    return study


def chosen(parser: argparse.ArgumentParser, arms: str) -> list[str]:
    """The names in `arms`, which the parser refuses if one is unknown."""
    names = list(NAMES) if arms == "all" else arms.split(",")
    for name in names:
        if name not in ARMS:
            parser.error(f"--arms has {name!r}; use all, or some of {', '.join(NAMES)}")
    return names


def report_of(out: Path, head: Row) -> list[Row]:
    """The finished arms' lines of a report; raises SystemExit for one with other settings."""
    lines = read_jsonl(out) if out.exists() else []
    if not lines:
        append_jsonl(out, head | {"machine": machine(), "versions": versions("torch")})
        return []
    if any(lines[0][key] != value for key, value in head.items()):
        sys.exit(f"{out} was made with {lines[0]}, and now it is {head}; choose another --out")
    return lines[1:]


def main() -> None:
    """Train and measure the arms that the report lacks, then print its table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", default="all", help="all, or names with commas between")
    parser.add_argument("--from-run", default="", help="a finished run of the laptop profile")
    parser.add_argument("--run", default="runs/arms", help="the folder in which arms train")
    parser.add_argument("--pairs", choices=PAIRS, default="written",
                        help="fixed pairs: written by others, or of the model's own answers")
    parser.add_argument("--out", type=Path, default=Path("figures/bench/arms.jsonl"))
    options = parser.parse_args()
    names = chosen(parser, options.arms)
    lines = report_of(options.out, {"settings": SETTINGS, "longest": LONGEST,
                                    "pairs": options.pairs})
    todo = [name for name in names if name not in {line["arm"] for line in lines}]
    study = opened(options) if todo else None
    for name in todo:
        assert study
        try:
            append_jsonl(options.out, measured(study, name, PAIRS[options.pairs]))
        except (ArmError, TrainingError, ValueError) as error:
            say(f"{name}: {error}; the other arms go on")
    print(arms_table(read_jsonl(options.out)[1:]))


if __name__ == "__main__":
    main()
