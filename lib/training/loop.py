"""The one training loop: packed rows in, metrics and checkpoints out.

An objective (`lib.training.sft`, `lib.training.dpo`) says how the examples of one optimizer step
become packed rows and what their loss is; the loop does the rest: order of the data, accumulation
that equals one big batch, clipping, schedule, evaluation, logging, checkpoints, resuming.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lib.runtime.devices import peak_memory_gb, release_memory
from lib.runtime.files import append_jsonl, read_jsonl, sha256_of_value, write_jsonl
from lib.runtime.progress import Progress, say
from lib.training.checkpoints import (
    latest_checkpoint,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from lib.training.flops import model_flops_utilisation
from lib.training.optimizer import LossScale, MasterWeights, build_optimizer, learning_rate
from lib.training.settings import TrainingSettings

Metrics = dict[str, float]
Probe = Callable[[nn.Module, int], Metrics]


class TrainingError(RuntimeError):
    """Training cannot go on; the message says where it stopped and what is left to go on from."""


@dataclass(frozen=True)
class Row:
    """One packed row of an optimizer step: what the objective needs to compute its loss."""

    batch: Any
    examples: tuple[int, ...]
    extra: Any = None


class Objective(Protocol):
    """What the loop needs to know about a task."""

    groups: Sequence[Sequence[int]]  # example indices that stay together when data are shuffled

    def rows(self, examples: Sequence[int], device: torch.device) -> list[Row]:
        """Pack the examples of one optimizer step (or of an evaluation) into rows."""

    def weight(self, examples: Sequence[int]) -> float:
        """The denominator of the mean loss: response tokens (SFT) or pairs (DPO)."""

    def loss(self, model: nn.Module, row: Row) -> tuple[Tensor, Metrics]:
        """Summed loss of a row, and sums of its metrics to be divided by the same weight."""

    def tokens(self, examples: Sequence[int]) -> int:
        """Tokens of the examples as TRL counts them: a pair's prompt in both of its sequences."""

    def key(self) -> str:
        """Hash of the data and of whatever else the loss depends on."""


@dataclass
class Run:
    """Everything one call of `train` works with."""

    model: nn.Module
    objective: Objective
    validation: Objective | None
    settings: TrainingSettings
    folder: Path
    seed: int
    device: torch.device
    dtype: torch.dtype
    probe: Probe | None = None
    name: str = "training"
    on_metrics: Callable[[dict[str, Any]], None] | None = None


def epoch_order(groups: Sequence[Sequence[int]], seed: int, epoch: int) -> list[int]:
    """Example indices of one epoch, shuffled by group, so that pairs of a prompt stay together."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(groups), generator=generator).tolist()
    return [example for group in order for example in groups[group]]


def step_batches(objective: Objective, settings: TrainingSettings, seed: int) -> list[list[int]]:
    """The examples behind every optimizer step; the last step of an epoch may be short."""
    batches: list[list[int]] = []
    for epoch in range(math.ceil(settings.epochs)):
        order = epoch_order(objective.groups, seed, epoch)
        share = min(1.0, settings.epochs - epoch)
        order = order[:max(1, round(share * len(order)))]
        size = settings.examples_per_step
        batches += [order[i:i + size] for i in range(0, len(order), size)]
    return batches


def train(run: Run) -> dict[str, Tensor]:
    """Train `run.model`, writing metrics.jsonl and checkpoints/ into `run.folder`.

    The model comes in float32 and leaves in `run.dtype` with the trained weights; returned are the
    trained parameters in float32, by name. Goes on from the newest whole checkpoint. Raises
    TrainingError for a loss that is not a number and for lack of memory.
    """
    loop = Loop(run)
    loop.finish()
    return loop.state_dict()


class Loop:
    """The state of one training run; `finish` trains to the end, `state_dict` gives the result."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.batches = step_batches(run.objective, run.settings, run.seed)
        self.weights = MasterWeights(run.model, run.dtype)
        self.optimizer = build_optimizer(self.weights, run.settings)
        self.scale = LossScale(run.dtype == torch.float16)
        self.step, self.counters = 0, {"num_tokens": 0}
        self.metrics_file = run.folder / "metrics.jsonl"
        self.key = sha256_of_value([run.objective.key(), asdict(run.settings), run.seed,
                                    str(run.dtype)])
        dropout_off(run.model)
        run.model.train(run.settings.activation_checkpointing)  # recomputation needs this mode

    def finish(self) -> None:
        """Train from wherever the newest checkpoint stands to the last step."""
        self._resume()
        total = len(self.batches)
        with Progress(self.run.name, total) as progress:
            progress.done = self.step
            if self.step == 0:
                self._evaluate()
            while self.step < total:
                metrics = self._optimizer_step(self.batches[self.step])
                self.step += 1
                self._log("train", metrics)
                progress.advance(1, f"loss {metrics['loss']:.4f}, "
                                    f"{metrics['tokens_per_second']:.0f} tokens/s")
                if self._due(self.run.settings.evaluate_every):
                    self._evaluate()
                if self._due(self.run.settings.checkpoint_every):
                    self._save()
        self.weights.release()
        prune_checkpoints(self.run.folder / "checkpoints", keep=1)

    def state_dict(self) -> dict[str, Tensor]:
        """The trained parameters in float32, by name."""
        return {name: master.detach() for name, master in self.weights.masters.items()}

    def _due(self, every: int) -> bool:
        return self.step == len(self.batches) or bool(every) and self.step % every == 0

    def _resume(self) -> None:
        folder = self.run.folder / "checkpoints"
        checkpoint = latest_checkpoint(folder, self.key)
        if checkpoint is not None:
            self.counters = load_checkpoint(checkpoint, self.weights, self.optimizer, self.scale)
            self.step = checkpoint.step
            say(f"{self.run.name}: going on from {checkpoint.folder}, "
                f"step {self.step} of {len(self.batches)}")
        kept = [row for row in read_jsonl(self.metrics_file) if row["step"] <= self.step
                ] if checkpoint is not None and self.metrics_file.exists() else []
        write_jsonl(self.metrics_file, kept)

    def _save(self) -> None:
        settings = self.run.settings
        if settings.checkpoint_every:
            save_checkpoint(self.run.folder / "checkpoints", self.step, self.key, self.weights,
                            self.optimizer, self.scale, self.counters, settings.keep_checkpoints)

    def _optimizer_step(self, examples: Sequence[int]) -> Metrics:
        """One update: gradients summed over all rows, divided by the weight of the whole step."""
        started, run = time.perf_counter(), self.run
        rate = learning_rate(self.step, len(self.batches), run.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        weight, sums, computed = run.objective.weight(examples), {}, 0
        for row in run.objective.rows(examples, run.device):
            computed += row.batch.tokens
            _add(sums, self._backward(row, weight))
            release_memory()
        grad_norm, applied = self._apply()
        seconds = time.perf_counter() - started
        tokens = run.objective.tokens(examples)
        self.counters["num_tokens"] += tokens
        metrics = {name: value / weight for name, value in sums.items()} | {
            "grad_norm": grad_norm, "learning_rate": rate, "skipped": float(not applied),
            "num_tokens": self.counters["num_tokens"], "computed_tokens": computed,
            "tokens_per_second": tokens / seconds, "seconds": seconds,
            "peak_memory_gb": peak_memory_gb(run.device)}
        return metrics | model_flops_utilisation(run.model, computed, seconds, run.device)

    def _backward(self, row: Row, weight: float) -> Metrics:
        try:
            loss, metrics = self.run.objective.loss(self.run.model, row)
            if not torch.isfinite(loss):
                raise TrainingError(self._not_a_number(row))
            (loss * (self.scale.scale / weight)).backward()
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                raise TrainingError(
                    f"out of memory at step {self.step + 1}: {row.batch.tokens} tokens at once; "
                    f"lower token_budget (now {self.run.settings.token_budget}) or max_length, or "
                    "set activation_checkpointing=true") from error
            raise
        return metrics | {"loss": loss.item()}

    def _not_a_number(self, row: Row) -> str:
        checkpoint = latest_checkpoint(self.run.folder / "checkpoints", self.key)
        place = checkpoint.folder if checkpoint else "none: the run starts from the beginning"
        return (f"the loss is not a number at step {self.step + 1}, rows {list(row.examples)}; "
                f"lower the learning rate or drop these rows; last good checkpoint: {place}")

    def _apply(self) -> tuple[float, bool]:
        """Clip and step; (gradient norm before clipping, whether the step was taken)."""
        applied = self.scale.unscale(self.weights)
        norm = torch.nn.utils.clip_grad_norm_(list(self.weights.masters.values()),
                                              self.run.settings.max_grad_norm)
        if applied:
            self.optimizer.step()
            self.weights.copy_to_model()
        self.optimizer.zero_grad(set_to_none=True)
        return norm.item() if applied else 0.0, applied

    def _evaluate(self) -> None:
        if self.run.validation is not None:
            self._log("validation", evaluate(self.run.model, self.run.validation, self.run.device))
        if self.run.probe is not None:
            self._log("samples", self.run.probe(self.run.model, self.step))

    def _log(self, split: str, metrics: Metrics) -> None:
        row = {"step": self.step, "split": split, **metrics}
        append_jsonl(self.metrics_file, row)
        if self.run.on_metrics is not None:
            self.run.on_metrics(row)


def dropout_off(model: nn.Module) -> None:
    """Set every dropout of a model to 0, so that policy and reference agree in any mode."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0


def evaluate(model: nn.Module, objective: Objective, device: torch.device) -> Metrics:
    """Mean loss and metrics over all examples of an objective, without gradients."""
    examples = [example for group in objective.groups for example in group]
    sums: Metrics = {}
    with torch.no_grad():
        for row in objective.rows(examples, device):
            loss, metrics = objective.loss(model, row)
            _add(sums, metrics | {"loss": loss.item()})
    weight = objective.weight(examples)
    return {name: value / weight for name, value in sums.items()} | {"n": len(examples)}


def _add(sums: Metrics, metrics: Metrics) -> None:
    for name, value in metrics.items():
        sums[name] = sums.get(name, 0.0) + value

