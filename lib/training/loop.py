"""The one training loop: packed rows in, metrics and checkpoints out.

An objective (`lib.training.sft`, `lib.training.dpo`) packs the examples of an optimizer step into
rows and computes their loss; the loop does the rest: order of the data, gradients summed over rows
(which equals one big batch), clipping, schedule, evaluation, logging, checkpoints.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lib.modeling.loading import cast_parameters
from lib.modeling.packed.lean_activations import recompute_norms_and_mlps
from lib.runtime.devices import keep_freed_memory, peak_memory_gb, release_memory
from lib.runtime.files import append_jsonl, read_whole_lines, sha256_of_value, write_jsonl
from lib.runtime.progress import Progress, say
from lib.runtime.threads import leave_taken_cores
from lib.training.betas.steering import Gaps, Steering
from lib.training.engine.checkpoints import (
    latest_checkpoint,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from lib.training.engine.evaluation import add_to, evaluate, own_rows
from lib.training.engine.flops import model_flops_utilisation
from lib.training.engine.optimizer import (
    LossScale,
    MasterWeights,
    build_optimizer,
    clip_gradients,
    learning_rate,
)
from lib.training.objective import Metrics, Objective, PackedRow, step_batches
from lib.training.processes import ALONE, Processes
from lib.training.settings import TrainingSettings

Probe = Callable[[PreTrainedModel, int], Metrics]


class TrainingError(RuntimeError):
    """Training cannot continue; the message says where it stopped and how to resume."""


@dataclass
class Run:
    """The arguments of `train`."""

    model: PreTrainedModel
    objective: Objective
    validation: Objective | None
    settings: TrainingSettings
    folder: Path
    seed: int
    device: torch.device
    dtype: torch.dtype
    probe: Probe | None = None
    name: str = "training"
    processes: Processes = ALONE
    fresh_model: Callable[[], PreTrainedModel] | None = None  # makes the model that gathers shards
    steering: Steering | None = None  # changes DPO's beta from step to step
    start: str = ""  # hash of the model that training starts from


def train(run: Run) -> dict[str, Tensor]:
    """Train `run.model`, writing metrics.jsonl and checkpoints/ into `run.folder`.

    The model comes in float32 and is cast to `run.dtype`. Returns the trained parameters in float32
    by name, on rank 0. Resumes from the newest whole checkpoint. Raises TrainingError for a loss
    or a gradient that is not a number and for lack of memory.
    """
    loop = Loop(run)
    loop.finish()
    return loop.state_dict()


class Loop:
    """The state of one training run; `finish` trains to the end, `state_dict` gives the result."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.processes = run.processes
        self.batches = step_batches(run.objective.groups, run.settings, run.seed)
        recompute_norms_and_mlps(run.model)
        self.loss = self.processes.row_loss(run.model, run.dtype)
        self.weights = MasterWeights(run.model, run.dtype, self.processes.sharded)
        self.optimizer = build_optimizer(self.weights, run.settings)
        self.scale = LossScale(run.dtype == torch.float16, processes=self.processes)
        self.step = 0
        self.counters: dict[str, Any] = {"num_tokens": 0}
        self.metrics_file = run.folder / "metrics.jsonl"
        self.key = sha256_of_value([run.objective.key(), asdict(run.settings), run.seed,
                                    str(run.dtype), run.start])
        keep_freed_memory()
        dropout_off(run.model)
        run.model.train(run.settings.activation_checkpointing)  # recomputation needs this mode

    def finish(self) -> None:
        """Train from the newest checkpoint, or from the start, to the last step."""
        self._resume()
        total, every = len(self.batches), self.run.settings.evaluate_every
        works = [sum(group.tokens for group in self.run.objective.computed_together(batch))
                 for batch in self.batches]
        pauses = sum(self._due(every, step) for step in range(self.step + 1, total + 1))
        with Progress(self.run.name, total, work=sum(works[self.step:]),
                      pauses=pauses + (self.step == 0)) as progress:
            progress.done = self.step
            if self.step == 0:
                self._evaluate(progress)
            while self.step < total:
                metrics = self._optimizer_step(self.batches[self.step])
                self.step += 1
                self._log("train", metrics)
                progress.advance(1, f"loss {metrics['loss']:.4f}, "
                                    f"{metrics['tokens_per_second']:.0f} tokens/s",
                                 works[self.step - 1])
                if self._due(every, self.step):
                    self._evaluate(progress)
                if self._due(self.run.settings.checkpoint_every, self.step):
                    self._save()
        self.weights.release()
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.state.clear()
        release_memory()
        if self.processes.main:
            prune_checkpoints(self.run.folder / "checkpoints", keep=1)

    def state_dict(self) -> dict[str, Tensor]:
        """The trained parameters in float32 by name, on rank 0."""
        return self.processes.gathered(self.weights.masters)

    def _due(self, every: int, step: int) -> bool:
        return step == len(self.batches) or bool(every) and step % every == 0

    def _resume(self) -> None:
        folder = self.run.folder / "checkpoints"
        checkpoint = self.processes.from_main(
            latest_checkpoint(folder, self.key) if self.processes.main else None)
        if checkpoint is not None:
            self.counters = load_checkpoint(checkpoint, self.weights, self.optimizer, self.scale,
                                            self.processes)
            if self.run.steering:
                self.run.steering.restore(self.counters.pop("steering"))
            self.step = checkpoint.step
            say(f"{self.run.name}: resuming from {checkpoint.folder}, "
                f"step {self.step} of {len(self.batches)}")
        if self.processes.main:
            rows = [] if checkpoint is None else read_whole_lines(self.metrics_file)[0]
            write_jsonl(self.metrics_file, [row for row in rows if row["step"] <= self.step])

    def _save(self) -> None:
        settings = self.run.settings
        if settings.checkpoint_every:
            release_memory()  # for the copies that writing makes
            steering = self.run.steering
            counters = self.counters | ({"steering": steering.state()} if steering else {})
            save_checkpoint(self.run.folder / "checkpoints", self.step, self.key, self.weights,
                            self.optimizer, self.scale, counters, settings.keep_checkpoints,
                            self.processes)

    def _optimizer_step(self, examples: Sequence[int]) -> Metrics:
        """One update by the gradients summed over all rows, divided by the step's weight."""
        started, run = time.perf_counter(), self.run
        rate = learning_rate(self.step, len(self.batches), run.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        examples = self._begin(examples)
        weight = run.objective.weight(examples)
        sums: Metrics = {"computed_tokens": 0}
        for row, is_filler in own_rows(run.objective, examples, run.device, self.processes):
            leave_taken_cores()
            metrics = self._backward(row, weight, is_filler)
            add_to(sums, {} if is_filler else metrics | {"computed_tokens": row.batch.tokens})
        grad_norm, applied = self._apply()
        sums = self.processes.total(sums)
        computed = sums.pop("computed_tokens")
        seconds = time.perf_counter() - started
        tokens = run.objective.tokens(examples)
        self.counters["num_tokens"] += tokens
        metrics = run.objective.means(sums, weight) | {
            "grad_norm": grad_norm, "learning_rate": rate, "skipped": float(not applied),
            "num_tokens": self.counters["num_tokens"], "computed_tokens": computed,
            "tokens_per_second": tokens / seconds, "seconds": seconds,
            "peak_memory_gb": peak_memory_gb(run.device),
            **(run.steering.metrics() if run.steering else {})}
        return metrics | model_flops_utilisation(run.model, computed / self.processes.count,
                                                 seconds, run.device)

    def _begin(self, examples: Sequence[int]) -> Sequence[int]:
        """The examples of the step, or those that `steering` keeps of them for its beta."""
        steering = self.run.steering
        if steering is None:
            return examples
        return steering.begin_step(examples, self._gaps,
                                   np.random.default_rng([self.run.seed, self.step]))

    def _gaps(self, examples: Sequence[int]) -> dict[int, float]:
        """The gap of each of a step's pairs, without gradients, on every process."""
        found: dict[int, float] = {}
        with torch.no_grad():
            for row, _ in own_rows(self.run.objective, examples, self.run.device, self.processes):
                gaps, _ = self.loss(Gaps(self.run.objective), row)
                found |= zip(row.examples, gaps.tolist(), strict=True)
        return {example: gap for part in self.processes.gather(found)
                for example, gap in part.items()}

    def _backward(self, row: PackedRow, weight: float, is_filler: bool = False) -> Metrics:
        """Add a row's gradient; a filler adds none (FSDP needs equally many passes on ranks)."""
        shards = self.processes.count if self.processes.sharded else 1  # FSDP averages gradients
        try:
            loss, metrics = self.loss(self.run.objective, row)
            if not torch.isfinite(loss):
                raise TrainingError(self._not_a_number("loss", row.examples))
            (loss * (self.scale.scale * shards * (not is_filler) / weight)).backward()
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                raise TrainingError(
                    f"out of memory at step {self.step + 1}: {row.batch.tokens} tokens at once; "
                    f"lower token_budget (now {self.run.settings.token_budget}) or max_length, or "
                    "set activation_checkpointing=true") from error
            raise
        return metrics | {"loss": loss.item()}

    def _not_a_number(self, what: str, examples: Sequence[int]) -> str:
        checkpoint = latest_checkpoint(self.run.folder / "checkpoints", self.key)
        return (f"the {what} is not a number at step {self.step + 1}, rows {list(examples)}; lower "
                "the learning rate or drop these rows; last good checkpoint: "
                f"{checkpoint.folder if checkpoint else 'none, the run starts anew'}")

    def _apply(self) -> tuple[float, bool]:
        """Clip and step; (gradient norm before clipping, whether the step was taken)."""
        self.processes.add_gradients(self.weights.masters.values())
        applied = self.scale.unscale(self.weights)
        norm = clip_gradients(self.weights, self.run.settings.max_grad_norm, self.processes)
        if applied:
            if not math.isfinite(norm):  # a step by it would leave no weight whole
                raise TrainingError(self._not_a_number("gradient", self.batches[self.step]))
            self.optimizer.step()
            self.weights.copy_to_model()
        self.optimizer.zero_grad(set_to_none=False)  # the next step uses the same memory
        return norm if applied else 0.0, applied

    def _evaluate(self, progress: Progress) -> None:
        with progress.pause():
            self._measure()

    def _measure(self) -> None:
        run = self.run
        if run.validation is not None:
            self._log("validation", evaluate(self.loss, run.validation, run.device,
                                             self.processes))
        if run.probe is None:
            if run.steering:
                run.steering.after_probe({})
            return
        state = self.state_dict() if self.processes.sharded else None  # every rank takes part
        metrics: Metrics = {}
        if self.processes.main:
            model = run.model if state is None else self._whole_model(state)
            metrics = run.probe(model, self.step)
        if run.steering:
            run.steering.after_probe(self.processes.from_main(metrics))
            metrics = metrics | run.steering.metrics()
        self._log("samples", metrics)

    def _whole_model(self, state: dict[str, Tensor]) -> PreTrainedModel:
        """The trained model put together from shards, in its compute precision."""
        assert self.run.fresh_model  # a run in shards has one
        model = self.run.fresh_model()
        model.load_state_dict(state, strict=False)
        return cast_parameters(model, self.run.dtype).eval()

    def _log(self, split: str, metrics: Metrics) -> None:
        if self.processes.main:
            append_jsonl(self.metrics_file, {"step": self.step, "split": split, **metrics})


def dropout_off(model: PreTrainedModel) -> None:
    """Set every chance of a model's training mode to 0, so that policy and reference agree in it.

    Models hold them as layers and as numbers: dropout, dropped layers (OPT), noise of a router.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if isinstance(value, float) and ("drop" in name or "jitter" in name):
                setattr(module, name, 0.0)
