"""Which device and precision a run uses and why, and what it cost in memory."""

import contextlib
import ctypes
import platform
import resource
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Device:
    """A device, the dtype of its matrix products, and the reason for both in a sentence."""

    device: torch.device
    dtype: torch.dtype
    reason: str


def choose_device(device: str = "auto", precision: str = "auto") -> Device:
    """Pick device and compute dtype; `auto` takes CUDA if present, and bf16 where it is native.

    device: auto, cpu or cuda; precision: auto, float32, bfloat16 or float16.
    Raises ValueError when CUDA is asked for and absent.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but PyTorch sees no CUDA device; use device=cpu or auto")
    name = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if precision != "auto":
        return Device(torch.device(name), DTYPES[precision], f"{name}, {precision} as asked")
    dtype, reason = _native_precision(name)
    return Device(torch.device(name), dtype, reason)


def _native_precision(name: str) -> tuple[torch.dtype, str]:
    if name == "cuda":
        if torch.cuda.get_device_capability()[0] >= 8:
            return torch.bfloat16, f"cuda, bfloat16: {torch.cuda.get_device_name()} has it natively"
        name = torch.cuda.get_device_name()
        return torch.float16, f"cuda, float16: {name} has no native bfloat16"
    if _cpu_has_bf16():
        return torch.bfloat16, "cpu, bfloat16: the processor multiplies it natively"
    return torch.float32, "cpu, float32: the processor has no native bfloat16"


def _cpu_has_bf16() -> bool:
    """Whether this CPU has AVX512-BF16 or AMX."""
    return "avx512_bf16" in _cpu_flags() or cpu_has_amx()


def cpu_has_amx() -> bool:
    """Whether this CPU multiplies bf16 in tiles (AMX)."""
    return "amx_bf16" in _cpu_flags()


@cache
def _cpu_flags() -> str:
    """What Linux tells of the processor in /proc/cpuinfo; empty elsewhere."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as file:
            return file.read()
    except OSError:
        return ""


def peak_memory_gb(device: torch.device | None = None) -> float:
    """Highest memory so far in GB (1e9 bytes): CUDA's allocator, or this process."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def keep_freed_memory() -> None:
    """Let glibc reuse freed tensors instead of unmapping them; `release_memory` gives them back.

    Mapping fresh pages for every activation took a third of a training step on two cores.
    """
    _glibc("mallopt", -3, 32 * 2**20)  # M_MMAP_THRESHOLD, the most that glibc takes
    _glibc("mallopt", -1, 2**31 - 1)  # M_TRIM_THRESHOLD


def release_memory() -> None:
    """Hand freed memory back to the system (glibc keeps the holes that odd-sized rows leave)."""
    _glibc("malloc_trim", 0)


def _glibc(function: str, *arguments: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            getattr(ctypes.CDLL("libc.so.6"), function)(*arguments)


def environment() -> dict[str, str | int]:
    """Versions and hardware, for manifests and `results.json`."""
    packages = ("torch", "transformers", "datasets", "peft", "numpy", "scipy", "papermill",
                "plotly")
    hardware = {"python": platform.python_version(), "machine": platform.machine(),
                "system": platform.system(), "threads": torch.get_num_threads(),
                "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none"}
    return hardware | {name: version(name) for name in packages}
