"""Model FLOPs utilisation (MFU): the share of a GPU's arithmetic that a step used.

A step counts 6 x parameters x computed tokens, the usual count of forward and backward without
attention's quadratic part (PaLM, App. B). Peak rates are the dense bf16/fp16 figures of the data
sheets, in FLOP/s.
"""

import torch
from torch import nn

PEAK_FLOPS = {"H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12,
              "A100": 312e12, "L40S": 362e12, "L40": 181e12, "L4": 121e12, "A10G": 125e12,
              "T4": 65e12}  # words of a device's name, the first that fit


def peak_flops(name: str) -> float | None:
    """The peak rate of a GPU by its device name, such as `NVIDIA A100-SXM4-80GB`, if known."""
    words = set(name.replace("-", " ").split())
    return next((rate for part, rate in PEAK_FLOPS.items() if words.issuperset(part.split())), None)


def model_flops_utilisation(model: nn.Module, tokens: float, seconds: float,
                            device: torch.device) -> dict[str, float]:
    """`{"mfu": share}` on a CUDA device whose peak is known, else an empty dict.

    tokens: those that this device computed, of a step on many its share.
    """
    peak = peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    if peak is None:
        return {}
    parameters = sum(p.numel() for p in model.parameters())
    return {"mfu": 6 * parameters * tokens / seconds / peak}
