"""AdamW on float32 master weights for a model that computes in any precision.

At a learning rate of 1e-6 a bf16 weight does not move: its spacing is coarser than the update. So
the optimizer keeps float32 masters and gradients, and the model gets rounded copies after each
step. A float32 model is its own master. float16 adds a loss scale that an overflow halves.
"""

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from lib.modeling.loading import cast_parameters
from lib.modeling.packed.gradients import set_master
from lib.training.processes import ALONE, Processes
from lib.training.settings import TrainingSettings


class MasterWeights:
    """Float32 copies of a model's trainable parameters, and the gradients that reach them.

    Build it from the float32 model; it then casts the model to `dtype` in place. Gradients are
    added up in float32 as autograd delivers them, so accumulation does not round. Shards are
    float32 masters themselves: FSDP rounds them for each forward and adds up their gradients.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, sharded: bool = False) -> None:
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._hooks = []
        if sharded or dtype == torch.float32:
            self.masters: dict[str, Tensor] = dict(self.parameters)
            for parameter in () if sharded else self.parameters.values():
                set_master(parameter, parameter)
            return
        self.masters = {name: p.detach().float().clone() for name, p in self.parameters.items()}
        cast_parameters(model, dtype)
        for name, parameter in self.parameters.items():
            set_master(parameter, self.masters[name])
            self._hooks.append(parameter.register_post_accumulate_grad_hook(
                partial(_add_gradient, self.masters[name])))

    def copy_to_model(self) -> None:
        """Round the masters into the model's parameters."""
        pairs = [(parameter, self.masters[name]) for name, parameter in self.parameters.items()
                 if parameter is not self.masters[name]]
        if pairs:
            with torch.no_grad():
                parameters, masters = zip(*pairs, strict=True)
                torch._foreach_copy_(list(parameters), list(masters))

    def gradients(self) -> Iterator[Tensor]:
        """The float32 gradients collected so far."""
        return (m.grad for m in self.masters.values() if m.grad is not None)

    def release(self) -> None:
        """Take the hooks off the model; it stays in its compute precision."""
        for hook in self._hooks:
            hook.remove()
        for parameter in self.parameters.values():
            set_master(parameter, None)


def _add_gradient(master: Tensor, parameter: Tensor) -> None:
    """Add a parameter's gradient to its master's in float32, and drop it."""
    if parameter.grad is None:  # the backward has added it already
        return
    if master.grad is None:
        master.grad = parameter.grad.float()
    else:
        master.grad.add_(parameter.grad)
    parameter.grad = None


class LossScale:
    """Dynamic loss scaling for float16; any other precision keeps a scale of 1.

    An overflow halves the scale and skips the step; `growth_interval` good steps double it.
    """

    def __init__(self, enabled: bool, scale: float = 2.0**16, growth_interval: int = 1000,
                 processes: Processes = ALONE) -> None:
        self.enabled, self.growth_interval, self.processes = enabled, growth_interval, processes
        self.scale = scale if enabled else 1.0
        self.good_steps = 0

    def unscale(self, weights: MasterWeights) -> bool:
        """Divide the gradients by the scale; False (and a smaller scale) if any overflowed."""
        if not self.enabled:
            return True
        torch._foreach_mul_(list(weights.gradients()), 1 / self.scale)
        finite = self.processes.all_true(all(_is_finite(self.processes.own_part(gradient))
                                             for gradient in weights.gradients()))
        self.good_steps = self.good_steps + 1 if finite else 0
        if not finite:
            self.scale = max(1.0, self.scale / 2)
        elif self.good_steps % self.growth_interval == 0:
            self.scale *= 2
        return finite


def _is_finite(gradient: Tensor) -> bool:
    return not gradient.numel() or math.isfinite(gradient.norm(math.inf).item())  # needs no copy


def clip_gradients(weights: MasterWeights, max_norm: float,
                   processes: Processes = ALONE) -> float:
    """Scale the gradients down to `max_norm` over all parameters; the norm before."""
    norm = torch.nn.utils.clip_grad_norm_(list(weights.masters.values()), max_norm)
    return processes.whole(norm).item()


def build_optimizer(weights: MasterWeights, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW (0.9, 0.999, 1e-8) on the masters; norms and biases are not decayed."""
    matrices = [master for master in weights.masters.values() if master.ndim > 1]
    vectors = [master for master in weights.masters.values() if master.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay},
              {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def learning_rate(step: int, total: int, settings: TrainingSettings) -> float:
    """Learning rate of step `step` (0-based) of `total`: linear warm-up, then the schedule."""
    warmup = math.ceil(settings.warmup_share * total)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    factor = {"constant": 1.0, "linear": 1 - progress,
              "cosine": 0.5 * (1 + math.cos(math.pi * progress))}[settings.schedule]
    return settings.learning_rate * factor
