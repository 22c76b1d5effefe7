"""Training on several processes, as copies of the model (DDP) or as shards of it (FSDP2).

`accelerate launch` or Slurm starts the processes and accelerate's PartialState joins them; this
module says what each computes and how they agree. The examples of an optimizer step are dealt so
that ranks compute about equally many tokens; the loss stays (sum over the whole step) / (weight of
the whole step), so N processes give the curve of one. Only rank 0 writes.

Copies add up their float32 gradients once a step. That is DistributedDataParallel's arithmetic; its
wrapper would add in the parameters' own precision (bf16) and wants as many backward passes on every
rank. Shards are PyTorch's `fully_shard`: float32 masters, gradients and moments are cut over
the ranks, a layer is put together in the compute precision while it runs.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

JOIN_SECONDS = 25.0  # how long the first processes wait for the last
COLLECTIVE_MINUTES = 30.0  # how long a rank waits for one that writes, samples or is stuck
BUCKET_ELEMENTS = 2**23  # gradients that are sent together: 32 MB

Unit = tuple[list[int], int]  # examples that are computed together, and the tokens that this takes


class ProcessError(RuntimeError):
    """Processes that did not find or lost each other, said in one sentence."""


@dataclass(frozen=True)
class Processes:
    """The processes that train together; this one is `rank` of `count`."""

    rank: int = 0
    count: int = 1
    sharded: bool = False  # FSDP2; otherwise every process holds the whole model

    @property
    def main(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def part(self, units: Sequence[Unit]) -> list[int]:
        """This rank's examples of a step; everything when alone."""
        return deal(units, self.count)[self.rank]

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order, on every rank."""
        if self.count == 1:
            return [value]
        values = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def total(self, sums: dict[str, float]) -> dict[str, float]:
        """Sums by name, added over ranks; a name that one rank lacks counts as 0 there."""
        parts = self.gather(sums)
        names = dict.fromkeys(name for part in parts for name in part)
        return {name: sum(part.get(name, 0.0) for part in parts) for name in names}

    def all_true(self, flag: bool) -> bool:
        """Whether the flag is true on every rank."""
        return all(self.gather(flag))

    def from_main(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        return self.gather(value if self.main else None)[0]

    def add_gradients(self, masters: Iterable[Tensor]) -> None:
        """Replace each copy's float32 gradients by their sum over ranks; shards have theirs."""
        if self.count == 1 or self.sharded:
            return
        for bucket in _buckets(masters):
            flat = torch.cat([_gradient(master).flatten() for master in bucket])
            dist.all_reduce(flat)
            pieces = flat.split([master.numel() for master in bucket])
            for master, piece in zip(bucket, pieces, strict=True):
                master.grad.copy_(piece.view_as(master))


ALONE = Processes()


def deal(units: Sequence[Unit], count: int) -> list[list[int]]:
    """Examples for each of `count` ranks, about equally many tokens on each.

    The most expensive unit goes first, each to the rank with the least so far (Graham's LPT rule:
    at most 4/3 of the best possible maximum). Equal input gives an equal deal on every rank.
    """
    order = sorted(range(len(units)), key=lambda index: (-units[index][1], index))
    load, dealt = [0] * count, [[] for _ in range(count)]
    for index in order:
        rank = load.index(min(load))
        load[rank] += units[index][1]
        dealt[rank].append(index)
    return [[example for index in sorted(indices) for example in units[index][0]]
            for indices in dealt]


def _buckets(masters: Iterable[Tensor]) -> Iterable[list[Tensor]]:
    bucket, size = [], 0
    for master in masters:
        if bucket and size + master.numel() > BUCKET_ELEMENTS:
            yield bucket
            bucket, size = [], 0
        bucket.append(master)
        size += master.numel()
    if bucket:
        yield bucket


def _gradient(master: Tensor) -> Tensor:
    """The master's gradient; zeros where this rank had nothing to compute."""
    if master.grad is None:
        master.grad = torch.zeros_like(master)
    return master.grad


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
    return Processes(state.process_index, state.num_processes, sharded)


def local_device(cpu: bool) -> torch.device:
    """The device of this process: the GPU of its place on the machine, or the CPU."""
    return torch.device("cpu") if cpu else torch.device("cuda", int(os.environ["LOCAL_RANK"]))


def lost_another(error: str) -> bool:
    """Whether an error's text says that another process is gone, not that this one failed."""
    return any(sign in error for sign in ("lost another", "closed by peer", "reset by peer",
                                          "gloo/transport", "NCCL", "Timed out waiting"))


def leave() -> None:
    """Part from the other processes; nothing when alone."""
    if dist.is_initialized():
        dist.destroy_process_group()


class RowLoss(nn.Module):
    """An objective's loss as a module's forward, where `fully_shard` puts a model together."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Any, row: Any) -> tuple[Tensor, dict[str, float]]:
        """The objective's summed loss of a row and its metrics."""
        return objective.loss(self.model, row)


def shard(model: nn.Module, dtype: torch.dtype) -> RowLoss:
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


def whole_tensor(tensor: Tensor) -> Tensor:
    """A sharded tensor put together on every rank; any other as it is. All ranks must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered(tensors: Mapping[str, Tensor], processes: Processes) -> dict[str, Tensor]:
    """Whole tensors by name on rank 0, nothing on the others; shards come one at a time."""
    whole = {}
    for name, tensor in tensors.items():
        full = whole_tensor(tensor.detach())
        if processes.main:
            whole[name] = (full.cpu() if processes.sharded else full).contiguous()
    return whole


def placed_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor cut as `like` is cut; on `like`'s device."""
    tensor = tensor.to(like.device)
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
