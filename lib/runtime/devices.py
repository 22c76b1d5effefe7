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

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Device:
    """A device, the dtype of its matrix products, and the reason for both in a sentence."""

    device: "torch.device"
    dtype: "torch.dtype"
    reason: str


def choose_device(device: str = "auto", precision: str = "auto") -> Device:
    """Choose device and compute dtype; `auto` takes CUDA if present, and bf16 if it is native.

    device: auto, cpu or cuda; precision: auto, float32, bfloat16 or float16. Raises ValueError for
    cuda without a CUDA device.
    """
    import torch
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but PyTorch sees no CUDA device; use device=cpu or auto")
    name = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if precision != "auto":
        dtype, reason = getattr(torch, precision), f"{name}, {precision} as set"
    else:
        dtype, reason = _native_precision(name)
    return Device(torch.device(name), dtype, reason)


def _native_precision(name: str) -> "tuple[torch.dtype, str]":
    import torch
    if name == "cuda":
        if torch.cuda.get_device_capability()[0] >= 8:
            return torch.bfloat16, f"cuda, bfloat16: {torch.cuda.get_device_name()} has it natively"
        name = torch.cuda.get_device_name()
        return torch.float16, f"cuda, float16: {name} has no native bfloat16"
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
    hardware = {"python": platform.python_version(), "machine": platform.machine(),
                "system": platform.system(), "threads": torch.get_num_threads(),
                "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none"}
    return hardware | {name: version(name) for name in packages}
