"""Policy gradient as a training stage: a file of scored answers in, a trained model out.

With `job.pairs` the loss is DPO's on them plus `policy_weight` times the answers' (ours, from no
paper). Answers are read whole, also where `job.streamed` leaves other rows on disk.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lib.data.parquet import read_parquet
from lib.modeling.loading import load_model, rounded_to
from lib.modeling.packed.logps import response_token_logps
from lib.runtime.files import Row, read_jsonl, write_jsonl
from lib.runtime.progress import say
from lib.training.dpo import DPOObjective
from lib.training.job import Job, ProbeMaker, Setup, fit, save_trained, set_up
from lib.training.objective import PackedRow, step_batches
from lib.training.on_policy.answers import (
    Answer,
    answer_rows,
    answers_hash,
    answers_together,
    encode_answers,
    group_answers,
)
from lib.training.on_policy.policy_gradient import PolicyGradientObjective
from lib.training.on_policy.summed import SummedObjective, interleave, own_examples, ranges_of
from lib.training.pairs import Pair, encode_pairs, group_by_prompt
from lib.training.processes import ALONE, Processes
from lib.training.reference import covering, kept_logps, reference_logps
from lib.training.settings import DPOSettings, PolicyGradientSettings


def train_policy_gradient(job: Job, processes: Processes = ALONE,
                          make_probe: ProbeMaker | None = None) -> None:
    """Train `job.model` on its scored answers, and write the model; every process calls it.

    The reference is `job.reference`, or else the model itself. Where no answer is better than
    another of its prompt there is nothing to learn: it says so and writes the model as it was.
    Raises FileError, ModelError, TrainingError or ValueError, each one sentence.
    """
    setup = set_up(job, processes)
    answers, held = (_read(setup, path) for path in (job.rows, job.validation))
    pairs = encode_pairs(read_parquet(job.pairs), setup.tokenizer, job.max_length) if job.pairs \
        else []
    training = _objective(setup, answers, pairs)
    validation = policy_objective(setup, held, [], "validation") if held else None
    model, state = setup.model, dict[str, Tensor]()
    if isinstance(training, PolicyGradientObjective) and not training.learns:
        say(f"all {len(answers)} answers are as good as the others of their prompt (every "
            "advantage is 0), so there is nothing to learn; the model stays as it was")
        write_jsonl(Path(job.folder) / "metrics.jsonl", [])
    else:
        model, state = fit(setup, training, validation, make_probe)
    if processes.main:
        save_trained(setup, model, state)


def _objective(setup: Setup, answers: Sequence[Answer],
               pairs: Sequence[Pair]) -> PolicyGradientObjective | SummedObjective:
    """The answers alone, or the sum of DPO on pairs and `policy_weight` times the answers' loss."""
    settings, seed = _settings(setup.job), setup.job.seed
    if not pairs:
        steps = step_batches(group_answers(answers), settings, seed)
        return policy_objective(setup, answers, steps, "training")
    groups = {"dpo": group_by_prompt(pairs), "policy": group_answers(answers)}
    parts = [own_examples(step, ranges_of(groups))
             for step in step_batches(interleave(groups), settings, seed)]
    return SummedObjective({
        "dpo": (_pair_objective(setup, pairs, [part["dpo"] for part in parts]), 1.0),
        "policy": (policy_objective(setup, answers, [part["policy"] for part in parts],
                                    "training"), settings.policy_weight)})


def _settings(job: Job) -> PolicyGradientSettings:
    assert isinstance(job.settings, PolicyGradientSettings)  # as `read_job` makes them
    return job.settings


def _pair_objective(setup: Setup, pairs: Sequence[Pair],
                    steps: Sequence[Sequence[int]]) -> DPOObjective:
    job = setup.job
    settings = DPOSettings(beta=_settings(job).pair_beta, token_budget=job.settings.token_budget)
    name = job.reference or job.model
    with _rounded(setup, name) as reference:
        logps = reference_logps(
            reference, pairs, steps, settings.token_budget, setup.hash_of(name),
            Path(job.folder) / "reference_pairs.jsonl", setup.device.device, "reference (pairs)",
            setup.processes)
    return DPOObjective(pairs, logps, settings)


@contextmanager
def _rounded(setup: Setup, model: str) -> Iterator[PreTrainedModel]:
    """A model in the precision in which the policy computes: the one that training starts from,
    which is loaded, or another."""
    job, device = setup.job, setup.device
    loaded = (setup.model if model == job.model
              else load_model(model, torch.float32, device.device, None, job.attention))
    with rounded_to(loaded, device.dtype):
        yield loaded


def _read(setup: Setup, path: str) -> list[Answer]:
    """A file's answers; says how many rows were left out, and why."""
    job = setup.job
    if not path:
        return []
    rows = read_parquet(path)
    encoded = encode_answers(rows, setup.tokenizer, job.max_length, _settings(job))
    reasons = ", ".join(f"{count} {reason}" for reason, count in encoded.dropped.items())
    if not encoded.answers:
        raise ValueError(f"none of the {len(rows)} answers in {path} can be used: {reasons}")
    if reasons:
        say(f"{len(encoded.answers)} of {len(rows)} answers are used; left out: {reasons}")
    return encoded.answers


def replayed(rows: Sequence[Row], folder: Path) -> list[Row]:
    """A finished job's answer rows as replay for the next: a round older, with their `old_logps`.

    folder: the job's. Rows that it left out stay out.
    """
    files = [read_jsonl(path) for path in sorted(folder.glob("old_logps_training*.jsonl"))]
    key = read_jsonl(folder / "old_logps_training.jsonl")[0]
    kept = {name: logps for header, *lines in files if header == key
            for line in lines for name, logps in line["logps"].items()}
    own = {row["id"]: row["old_logps"] for row in rows if row.get("old_logps") is not None}
    return [row | {"age": (row.get("age") or 0) + 1, "old_logps": (kept | own)[row["id"]]}
            for row in rows if row["id"] in kept | own]


def policy_objective(setup: Setup, answers: Sequence[Answer], steps: Sequence[Sequence[int]],
                     part: str) -> "PolicyGradientObjective":
    """The objective with pi_old's and the reference's log-probabilities, which it keeps on disk.

    part: "training" or "validation", a name of the files old_logps_... and reference_.... Replayed
    answers bring pi_old's with them; a row of nothing else is not read again.
    """
    job, own_reference = setup.job, setup.job.reference in ("", setup.job.model)
    brought = {} if own_reference else {
        answer.id: answer.old_logps for answer in answers if answer.old_logps is not None}
    old = answer_logps(setup, answers, steps, job.model, f"old_logps_{part}", brought)
    reference = old if own_reference else answer_logps(setup, answers, steps, job.reference,
                                                       f"reference_{part}", {})
    old = [logps if answer.old_logps is None else torch.tensor(answer.old_logps)
           for logps, answer in zip(old, answers, strict=True)]
    return PolicyGradientObjective(answers, old, torch.stack([logps.sum() for logps in reference]),
                                   _settings(job))


def answer_logps(setup: Setup, answers: Sequence[Answer], steps: Sequence[Sequence[int]],
                 model: str, name: str, brought: Mapping[str, Sequence[float]]) -> list[Tensor]:
    """Log-probability of every token of each answer under a model, float32 [tokens] each.

    brought: those of answers, by id, that need not be computed.
    """
    job = setup.job
    shares = [setup.processes.part(answers_together(answers, step, job.settings.token_budget))
              for step in covering(steps, len(answers))]
    rows = [row for share in shares
            for row in answer_rows(answers, share, job.settings.token_budget, setup.device.device)
            if not all(answers[i].id in brought for i in row.examples)]

    with _rounded(setup, model) as loaded:
        def of_row(row: PackedRow) -> list[list[float]]:
            """The log-probabilities of each answer of a row."""
            logps = response_token_logps(loaded, row.batch)
            return [each.tolist() for each in logps.split([len(answers[i].tokens)
                                                           for i in row.examples])]
        known = kept_logps(loaded, rows, of_row, [answer.id for answer in answers],
                           [setup.hash_of(model), answers_hash(answers)],
                           Path(job.folder) / f"{name}.jsonl", name.replace("_", " "),
                           setup.processes)
    logps: dict[str, Sequence[float]] = {**brought, **known}
    return [torch.tensor(logps[answer.id]) for answer in answers]
