"""What a benchmark ran on and with, for its JSON."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import lib  # noqa: F401 - sets how threads wait, here and in the processes that a benchmark starts

OPENMPS_OWN = {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}  # how its threads wait by itself
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")


def machine() -> dict[str, object]:
    """The processor, the instructions that PyTorch uses on it, and the limits that were set."""
    import torch
    limits = {name: os.environ[name] for name in LIMITS if name in os.environ}
    return {"processor": _processor(), "instructions": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(), "limits": limits}


def rivals_environment() -> dict[str, str]:
    """The environment of another package's process, without this study's way to wait."""
    return os.environ | OPENMPS_OWN


def versions(*packages: str) -> dict[str, str]:
    """Exact versions of installed packages."""
    return {name: version(name) for name in packages}


def _processor() -> str:
    """The model name that Linux gives, with its numbers; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    fields = (line.partition(":")[::2] for line in lines)
    known = {key.strip(): value.strip() for key, value in fields}
    if "model name" not in known:
        return platform.processor()
    numbers = [f"{name} {known[key]}" for name, key in (("family", "cpu family"),
                                                        ("model", "model")) if key in known]
    return " ".join([known["model name"], *(["(" + ", ".join(numbers) + ")"] if numbers else [])])
