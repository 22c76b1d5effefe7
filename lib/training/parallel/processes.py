"""Training on several processes, as copies of the model (DDP) or as shards of it (FSDP2).

`accelerate launch` or Slurm starts the processes and accelerate's PartialState joins them. Ranks
split the examples of an optimizer step so that each computes about equally many tokens; the loss
stays (sum over the whole step) / (weight of the whole step), so N processes give the curve of one.

Copies add up their float32 gradients once a step, as DistributedDataParallel does; its wrapper
would add in the parameters' precision (bf16) and needs equally many backward passes on every rank.
Shards are PyTorch's `fully_shard`: ranks hold parts of the float32 masters, gradients and moments,
and gather a layer in the compute precision while it runs.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from lib.modeling.packed.gradients import direct_gradient
from lib.training.objective import RowLoss
from lib.training.processes import ALONE, Processes

JOIN_SECONDS = 25.0  # how long the first processes wait for the last
COLLECTIVE_MINUTES = 30.0  # how long a rank waits for one that writes, samples or hangs
BUCKET_ELEMENTS = 2**23  # gradients that are sent together: 32 MB


class ProcessError(RuntimeError):
    """Processes did not find each other, or lost one; the message is one sentence."""


@dataclass(frozen=True)
class JoinedProcesses(Processes):
    """Processes that have met; all of them call each method together."""

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order, on every rank."""
        values = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def local_device(self, device: torch.device) -> torch.device:
        """The GPU with this process's number on its machine, or the CPU."""
        return device if device.type == "cpu" else torch.device("cuda",
                                                                int(os.environ["LOCAL_RANK"]))

    def row_loss(self, model: PreTrainedModel, dtype: torch.dtype) -> RowLoss:
        """A copy unchanged; of shards the float32 model, cut layer by layer."""
        return _shard(model, dtype) if self.sharded else RowLoss(model)

    def add_gradients(self, masters: Iterable[Tensor]) -> None:
        """Replace each copy's float32 gradients by their sum over ranks; FSDP adds up shards'."""
        if self.sharded:
            return
        for bucket in _buckets(masters):
            flat = torch.cat([direct_gradient(master).flatten() for master in bucket])
            dist.all_reduce(flat)
            pieces = flat.split([master.numel() for master in bucket])
            for master, piece in zip(bucket, pieces, strict=True):
                direct_gradient(master).copy_(piece.view_as(master))

    def whole(self, tensor: Tensor) -> Tensor:
        """A sharded tensor put together, on every rank; any other tensor unchanged."""
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def own_part(self, tensor: Tensor) -> Tensor:
        """This rank's part of a sharded tensor; any other tensor unchanged."""
        return tensor.to_local() if isinstance(tensor, DTensor) else tensor

    def placed_like(self, tensor: Tensor, like: Tensor) -> Tensor:
        """A whole tensor on the device of `like`, cut as `like` is cut."""
        tensor = tensor.to(like.device)
        if not isinstance(like, DTensor):
            return tensor
        return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)

    def gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors by name on rank 0, nothing on the others; shards come one at a time."""
        found = {}
        for name, tensor in tensors.items():
            whole = self.whole(tensor.detach())
            if self.main:
                found[name] = (whole.cpu() if self.sharded else whole).contiguous()
        return found


def _buckets(masters: Iterable[Tensor]) -> Iterable[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for master in masters:
        if bucket and size + master.numel() > BUCKET_ELEMENTS:
            yield bucket
            bucket, size = [], 0
        bucket.append(master)
        size += master.numel()
    if bucket:
        yield bucket


def join(cpu: bool, seconds: float = JOIN_SECONDS) -> Processes:
    """Meet the other processes that the launcher started; ALONE without a launcher.

    Reads what `accelerate launch`, torchrun or a Slurm line put into the environment: RANK,
    WORLD_SIZE, MASTER_ADDR, MASTER_PORT, and ACCELERATE_USE_FSDP for shards. Raises ProcessError
    when not all have come within `seconds`.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    try:
        state = PartialState(cpu=cpu, timeout=timedelta(seconds=seconds))
        dist.barrier()
    except (dist.DistError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ProcessError(f"not all {count} processes met at {place} within {seconds:.0f} s "
                           f"({reason}); start the missing ones at the same time, or check the "
                           "address and the firewall") from error
    dist.distributed_c10d._set_pg_timeout(timedelta(minutes=COLLECTIVE_MINUTES))
    sharded = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    return JoinedProcesses(state.process_index, state.num_processes, sharded)


def lost_another(error: str) -> bool:
    """Whether an error says that another process ended, not that this one failed."""
    return any(sign in error for sign in ("lost another", "closed by peer", "reset by peer",
                                          "gloo/transport", "NCCL", "Timed out waiting"))


def leave() -> None:
    """Leave the group of processes, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _shard(model: PreTrainedModel, dtype: torch.dtype) -> RowLoss:
    """Cut a float32 model over the ranks, layer by layer; it computes in `dtype`.

    Gradients are reduced in float32 and divided by the number of ranks.
    """
    compute = None if dtype == torch.float32 else dtype
    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32)
    whole = RowLoss(model)
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for layer in module:
                fully_shard(layer, mp_policy=policy)
    fully_shard(whole, mp_policy=policy)
    return whole
