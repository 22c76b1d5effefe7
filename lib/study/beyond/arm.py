"""What an arm works with: the same prompts, sampler, scores, trainers and budget as every other.

Answers are sampled from any model folder and scored by the run's selector; the judge reads only the
held-out answers. Everything that is sampled or trained stays in the arm's folder until the arm is
measured, so that an interrupted arm resumes.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from lib.data.parquet import write_parquet
from lib.data.schema import PreferenceRow, prompt_text
from lib.data.splits import held_out_subset
from lib.inference.sampling import sample_to_file
from lib.inference.sampling_settings import SamplingSettings
from lib.modeling.loading import load_model, load_tokenizer, model_hash
from lib.modeling.packed.divergence import whole_vocabulary
from lib.runtime.files import Record, Row, read_json, read_jsonl, write_json, write_jsonl
from lib.runtime.manifest import outputs_hash, read_manifest
from lib.runtime.progress import about
from lib.study.policies import load_policy
from lib.study.pools.self_generated import prompts_of
from lib.study.run import Study, run_stage, stage_hash
from lib.study.stages.data import load_part
from lib.study.stages.drift import divergence_rows
from lib.study.stages.rewards import Scorer, score_rows
from lib.study.workers.training import train_job, training_job
from lib.training import dpo, sft
from lib.training.job import Method, ProbeMaker
from lib.training.on_policy.train import train_policy_gradient
from lib.training.settings import LOSS_SETTINGS, DPOSettings, SFTSettings, TrainingSettings

TRAINERS: dict[str, Callable[..., None]] = {"sft": sft.train_sft, "dpo": dpo.train_dpo,
                                            "policy_gradient": train_policy_gradient}
SHARED = "sft_answers"  # the pool of the SFT model's answers, which all arms share


class ArmError(ValueError):
    """An arm that cannot go on; the text is one sentence, and the other arms go on."""


@dataclass(frozen=True)
class ArmRun:
    """One arm of a run, by its name in `lib.study.beyond.catalogue`."""

    study: Study
    name: str

    @property
    def folder(self) -> Path:
        """The arm's own folder."""
        return self.study.path("arms", self.name)

    @property
    def sft(self) -> Path:
        """The SFT model: the start of every arm, and the reference from which KL is measured."""
        return self.study.path("sft", "model")

    @property
    def prompts(self) -> list[Row]:
        """The training prompts, {"id", "prompt", "source"}, balanced over sources."""
        rows = prompts_of(load_part(self.study, "preferences"))
        return held_out_subset(rows, min(self.study.profile.beyond.prompts, len(rows)),
                               self.study.profile.data.seed)

    def rounds(self, count: int) -> list[list[Row]]:
        """The prompts dealt to `count` rounds, the first round first.

        Raises ArmError for fewer prompts than rounds.
        """
        prompts = self.prompts
        if len(prompts) < count:
            raise ArmError(f"{self.name} has {count} rounds and {len(prompts)} prompts; raise "
                           f"beyond.prompts to {count} or more")
        return [prompts[number::count] for number in range(count)]

    def pairs(self) -> list[PreferenceRow]:
        """The run's own preference pairs of these prompts."""
        chosen = {prompt_text(row) for row in self.prompts}
        return [row for row in load_part(self.study, "preferences") if prompt_text(row) in chosen]

    def first_answers(self, prompts: Sequence[Row] | None = None) -> list[Row]:
        """The SFT model's scored answers to the prompts (all by default), which all arms share.

        They are sampled once, and each arm that reads them is charged with them.
        """
        prompts = self.prompts if prompts is None else prompts
        self._check_budget(SHARED, len(prompts) * self.study.profile.beyond.samples)
        shared = {row["id"]: row for row in shared_answers(self.study)}
        rows = [shared[row["id"]] for row in prompts]
        self._charge(SHARED, rows)
        return self._with_ends(rows)

    def sample(self, model: Path, prompts: Sequence[Row], name: str,
               samples: int | None = None) -> list[Row]:
        """Answers of a model of this arm with the selector's scores; `name` is their file's.

        samples: a prompt, by default the whole budget's. Raises ArmError, before it samples, for
        more than the budget.
        """
        settings = self.study.profile.beyond
        count = samples or settings.samples
        self._check_budget(name, len(prompts) * count)
        rows = sample_scored(self.study, model, prompts, f"{self.name}/{name}",
                             self.folder / "pools" / f"{name}.jsonl", count, settings.temperature,
                             ["selector"])
        self._charge(name, rows)
        return self._with_ends(rows)

    def settings(self, loss: str = "dpo", **own: Any) -> DPOSettings:
        """The profile's DPO settings with another loss, at that loss's defaults but for `own`."""
        own_to_some = {"kl_target", "kl_horizon", *chain(*LOSS_SETTINGS.values())}
        shared = {name: value for name, value in self.study.profile.dpo.in_force().items()
                  if name not in own_to_some}
        return DPOSettings(**{**shared, "loss": loss, **own})

    def sft_settings(self, **own: Any) -> SFTSettings:
        """The profile's SFT settings, with `own` in place of some."""
        return replace(self.study.profile.sft, **own)

    def train(self, method: Method, rows: Sequence[Record], settings: TrainingSettings,
              start: Path | None = None, name: str = "training", share: float = 1.0,
              tokens: int | None = None, probe: ProbeMaker | None = None, **fields: Any) -> Path:
        """Train on the rows for `share` of the arm's token budget; the trained model's folder.

        method: of `TRAINERS`. start: a model folder, the SFT model by default, and DPO's reference.
        tokens: of one pass over the rows, where they are of a kind that `tokens_of` does not know.
        probe: of its evaluations, which are left out without one. fields: further ones of
        `lib.training.job.Job`. Raises ArmError without rows.
        """
        if not rows:
            raise ArmError(f"{self.name} has nothing to train on: no row is left")
        folder, profile = self.folder / name, self.study.profile
        if (folder / "model" / "config.json").exists() and (folder / "done.json").exists():
            return folder / "model"
        passes = share * profile.beyond.trained_tokens / (tokens or tokens_of(rows))
        write_parquet(list(rows), folder / "rows.parquet", like=list(rows))
        job = training_job(
            self.study, method, folder, ("preferences", "preferences"),
            model=str(start or self.sft), max_length=profile.data.max_pair_length,
            settings=replace(settings, epochs=passes,
                             evaluate_every=settings.evaluate_every if probe else 0))
        train_job(TRAINERS[method], replace(job, rows=str(folder / "rows.parquet"), validation="",
                                            **fields), probe)
        steps = [row for row in read_jsonl(folder / "metrics.jsonl") if row["split"] == "train"]
        write_json(folder / "done.json", {  # no step where there was nothing to learn
            "passes": passes, "tokens": steps[-1]["num_tokens"] if steps else 0})
        return folder / "model"

    def costs(self) -> Row:
        """{"generated_tokens", "answers", "trained_tokens"} of everything the arm has used."""
        charged = [read_json(file) for file in sorted((self.folder / "charged").glob("*.json"))]
        return {"generated_tokens": sum(each["tokens"] for each in charged),
                "answers": sum(each["answers"] for each in charged),
                "trained_tokens": sum(read_json(file)["tokens"]
                                      for file in self.folder.glob("*/done.json"))}

    def _with_ends(self, rows: list[Row]) -> list[Row]:
        """The rows, all answers as if they had ended where the profile keeps cut-off ones."""
        if self.study.profile.beyond.cut_off_answers == "left_out":
            return rows
        return [{**row, "candidates": [{**answer, "finish": "stop"} for answer in
                                       row["candidates"]]} for row in rows]

    def _check_budget(self, name: str, answers: int) -> None:
        """Raise ArmError where so many answers, beside those charged, are more than every arm's."""
        used = answers + sum(read_json(file)["answers"] for file in
                             (self.folder / "charged").glob("*.json") if file.stem != name)
        most = len(self.prompts) * self.study.profile.beyond.samples
        if used > most:
            raise ArmError(f"{self.name} asks for {used} answers in all and every arm has {most}; "
                           "sample fewer in each round")

    def _charge(self, name: str, rows: Sequence[Row]) -> None:
        answers = [answer for row in rows for answer in row["candidates"]]
        write_json(self.folder / "charged" / f"{name}.json", {
            "answers": len(answers), "tokens": sum(answer["tokens"] for answer in answers)})


def shared_answers(study: Study) -> list[Row]:
    """The SFT model's answers to all training prompts, with the selector's scores.

    A stage of its own, `arms/sft_answers`, sampled when the first arm asks for it.
    """
    study, settings = replace(study, force=False), study.profile.beyond
    run = ArmRun(study, SHARED)
    folder = run_stage(
        study, f"arms/{SHARED}", parameters_of(study, SHARED), ["answers.jsonl"],
        lambda folder: sample_scored(study, run.sft, run.prompts, SHARED, folder / "answers.jsonl",
                                     settings.samples, settings.temperature, ["selector"]),
        inputs=inputs_of(study, SHARED))
    return read_jsonl(folder / "answers.jsonl")


def inputs_of(study: Study, arm: str = "") -> dict[str, str]:
    """Hashes of the stages that every arm reads.

    A finished arm of an earlier version does not name the reward models, and stays as it is.
    """
    found = {name: stage_hash(study, name) for name in ("data", "sft")}
    finished = read_manifest(study.path("arms", arm))
    made = {"rewards": not finished or "rewards" in finished["inputs"], "pairs": True,
            "chosen_pairs": study.profile.data.changes_pairs}
    hashes = {name: outputs_hash(study.path(name)) for name, read in made.items() if read}
    return found | {name: value for name, value in hashes.items() if value != "absent"}


def sample_scored(study: Study, model: Path, prompts: Sequence[Row], stream: str, path: Path,
                  samples: int, temperature: float, roles: Sequence[str]) -> list[Row]:
    """Answers of a model folder with the scores of the roles, from the file if it has them.

    stream: the name of their random stream.
    """
    if path.exists():
        return read_jsonl(path)
    settings = sampling_of(study, samples, temperature, stream)
    drawn = path.with_suffix(".drawn.jsonl")
    policy = load_model(str(model), study.device.dtype, study.device.device)
    sample_to_file(policy, load_tokenizer(str(model)), prompts, settings, drawn,
                   model_key=model_hash(model), description=f"sampling {stream}")
    del policy
    rows = read_jsonl(drawn)
    if roles:
        with about(stream):
            rows = score_rows(Scorer(study, roles), rows)
    write_jsonl(path, rows)
    drawn.unlink()
    return rows


def kl_from_sft(study: Study, model: Path, name: str, file: Path) -> list[Row]:
    """KL of a model folder from SFT on one answer of its own to each validation prompt.

    At temperature 1 over the whole vocabulary, where a policy's KL is defined; no held-out prompt
    is read, so that a strength may be chosen by it.
    """
    prompts = prompts_of(load_part(study, "preferences_validation"))
    rows = sample_scored(study, model, prompts[:study.profile.beyond.kl_prompts], f"{name}/kl",
                         file, 1, 1.0, ())
    reference, tokenizer = load_policy(study, "sft")
    policy = load_model(str(model), study.device.dtype, study.device.device)
    return divergence_rows(study, rows, whole_vocabulary, policy, reference, tokenizer,
                           f"KL of {name} from SFT")


def sampling_of(study: Study, samples: int, temperature: float, stream: str) -> SamplingSettings:
    """The profile's sampling settings for a pool of an arm; this machine always samples it."""
    return replace(study.profile.sampling, samples=samples, temperature=temperature,
                   stream=stream, seed=study.profile.seed, server=None)


def tokens_of(rows: Sequence[Record]) -> int:
    """Tokens of one pass over pairs or conversations, a pair's prompt in both of its answers."""
    return sum(2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"])
               if "chosen_ids" in row else len(row["input_ids"]) for row in rows)


def parameters_of(study: Study, name: str) -> Row:
    """All settings on which an arm depends, for its manifest."""
    profile = study.profile
    budget = {key: value for key, value in asdict(profile.beyond).items() if key != "arms"}
    return {"arm": name, "beyond": budget, "model": profile.model,
            "dpo": profile.dpo.in_force(), "sft": profile.sft,
            "sampling": {key: value for key, value in profile.sampling.deciding().items()
                         if key != "server"},
            "rewards": profile.rewards.scoring, "prompts": profile.evaluation.prompts,
            "max_pair_length": profile.data.max_pair_length}
