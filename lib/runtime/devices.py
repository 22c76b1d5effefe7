"""The device and precision of a run with their reason, and its memory.

Functions import PyTorch when they need it, so that the runner checks a command line before.
"""

import contextlib
import ctypes
import platform
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from lib.runtime.threads import chosen_threads

if TYPE_CHECKING:
    import torch


AGREEMENT = 1e-4  # nats by which a device's log-probabilities may differ from the CPU's


@dataclass(frozen=True)
class Device:
    """A device, the dtype of its matrix products, and the reason for both in a sentence."""

    device: "torch.device"
    dtype: "torch.dtype"
    reason: str


def choose_device(device: str = "auto", precision: str = "auto") -> Device:
    """Choose device and compute dtype; `auto` takes CUDA if present, and bf16 if it is native.

    A Mac's GPU (mps) is taken where its numbers agree with the CPU's. device: auto, cpu, cuda or
    mps; precision: auto, float32, bfloat16 or float16. Raises ValueError for cuda without a CUDA
    device and for mps where it is not there or computes something else.
    """
    import torch
    name, note = _device_name(device)
    if precision != "auto":
        dtype, reason = getattr(torch, precision), f"{name}, {precision} as set"
    else:
        dtype, reason = _native_precision(name)
    return Device(torch.device(name), dtype, reason + note)


def _device_name(device: str) -> tuple[str, str]:
    """The device that is taken, and a remark for its reason."""
    import torch
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but PyTorch sees no CUDA device; use device=cpu or auto")
    if device == "cpu" or (device != "mps" and torch.cuda.is_available()):
        return ("cpu" if device == "cpu" else "cuda"), ""
    there = torch.backends.mps.is_available()
    why_not = differs("mps") if there else "PyTorch sees no Mac's GPU"
    if device == "mps" and why_not:
        raise ValueError(f"device is mps, but {why_not}; use device=cpu or auto")
    if why_not:
        return "cpu", f"; the Mac's GPU is not used: {why_not}" if there else ""
    return "mps", ""


@cache
def differs(device: str) -> str:
    """Why a device cannot take the CPU's place in training and sampling; empty if it can.

    Compares attention over packed rows, its gradient and the log-probabilities of a vocabulary in
    float32 (to 1e-4), and the cumulative probabilities that sampling sums in float64.
    """
    import torch
    try:
        pairs = zip(_numbers(torch.device("cpu")), _numbers(torch.device(device)), strict=True)
        worst = max(float((ours.double() - theirs.cpu().double()).abs().max())
                    for ours, theirs in pairs)
    except (RuntimeError, TypeError) as error:  # what the device lacks is a RuntimeError too
        return f"{device} cannot compute all of it ({str(error).strip().splitlines()[0]})"
    return "" if worst <= AGREEMENT else f"its numbers are up to {worst:.2g} off the CPU's"


def _numbers(device: "torch.device") -> "list[torch.Tensor]":
    """What training and sampling compute, small, from the same random numbers on any device."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention
    drawn = torch.Generator().manual_seed(0)
    query, key, value, head = (torch.randn(shape, generator=drawn).to(device).requires_grad_()
                               for shape in ((1, 4, 32, 16),) * 3 + ((64, 512),))
    place = torch.arange(32, device=device)
    sees = (place[:, None] >= place) & (place[:, None] // 16 == place // 16)
    attended = scaled_dot_product_attention(query, key, value, attn_mask=sees)
    logps = (attended.transpose(1, 2).reshape(32, 64) @ head).log_softmax(-1)
    summed = torch.zeros(2, device=device).index_add(0, place // 16, logps[place, place])
    gradients = torch.autograd.grad(summed.sum(), (query, head))
    reached = logps.detach().exp().double().cumsum(-1)
    return [logps.detach(), summed.detach(), *gradients, reached]


def _native_precision(name: str) -> "tuple[torch.dtype, str]":
    import torch
    if name == "cuda":
        if torch.cuda.get_device_capability()[0] >= 8:
            return torch.bfloat16, f"cuda, bfloat16: {torch.cuda.get_device_name()} has it natively"
        name = torch.cuda.get_device_name()
        return torch.float16, f"cuda, float16: {name} has no native bfloat16"
    if name == "mps":
        return torch.float32, "mps, float32: the Mac's GPU agrees with the CPU"
    if "avx512_bf16" in _cpu_flags() or cpu_has_amx():
        return torch.bfloat16, "cpu, bfloat16: the processor multiplies it natively"
    known = "the processor has no native bfloat16" if _cpu_flags() else (
        "nothing here says whether the processor has native bfloat16")
    return torch.float32, f"cpu, float32: {known}"


def cpu_has_amx() -> bool:
    """Whether this CPU multiplies bf16 in tiles (AMX)."""
    return "amx_bf16" in _cpu_flags()


@cache
def _cpu_flags() -> str:
    """Linux's /proc/cpuinfo; empty on other systems."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as file:
            return file.read()
    except OSError:
        return ""


def machine_name(device: "torch.device") -> str:
    """The GPU, or the processor with the threads that compute: what a measured rate holds for."""
    import torch
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    models = (line.partition(":")[2].strip() for line in _cpu_flags().splitlines()
              if line.startswith("model name"))
    name = next(models, "") or platform.processor() or platform.machine()
    return f"{name}, {chosen_threads()} threads"


def memory_gb(device: "torch.device") -> float:
    """Total memory of the GPU, or of this machine, in GB (1e9 bytes)."""
    if device.type != "cuda":
        import psutil  # knows every system
        return psutil.virtual_memory().total / 1e9
    import torch
    return torch.cuda.get_device_properties(device).total_memory / 1e9


def peak_memory_gb(device: "torch.device | None" = None) -> float:
    """Peak memory in GB (1e9 bytes) of CUDA's allocator or of this process."""
    if device is not None and device.type == "cuda":
        import torch
        return torch.cuda.max_memory_allocated(device) / 1e9
    if sys.platform == "win32":
        import psutil
        return psutil.Process().memory_info().peak_wset / 1e9
    import resource  # Windows has none
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def keep_freed_memory() -> None:
    """Let glibc reuse freed tensors instead of unmapping them; `release_memory` unmaps them.

    Mapping fresh pages for every activation took a third of a training step on two cores.
    """
    _glibc("mallopt", -3, 32 * 2**20)  # M_MMAP_THRESHOLD, the most that glibc takes
    _glibc("mallopt", -1, 2**31 - 1)  # M_TRIM_THRESHOLD


def release_memory() -> None:
    """Return freed memory to the system (glibc keeps holes between rows of other sizes)."""
    _glibc("malloc_trim", 0)


def _glibc(function: str, *arguments: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            getattr(ctypes.CDLL("libc.so.6"), function)(*arguments)


def environment() -> dict[str, str | int]:
    """Versions and hardware, for manifests and `results.json`."""
    import torch
    packages = ("torch", "transformers", "datasets", "peft", "numpy", "scipy", "papermill",
                "plotly")
    hardware: dict[str, str | int] = {
        "python": platform.python_version(), "machine": platform.machine(),
        "system": platform.system(), "threads": chosen_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none"}
    return hardware | {name: version(name) for name in packages}
