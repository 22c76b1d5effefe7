"""How fast this machine trains: two transformer layers of the model's width, for 0.3 seconds."""

import time

from lib.runtime.devices import Device
from lib.study.planning.memory import Shape

LAYERS, ROWS, TOKENS = 2, 4, 256
SECONDS = 0.3


def training_rate(shape: Shape, device: Device) -> float:
    """Floating-point operations a second of forward and backward passes (6 a weight and token).

    The fastest step counts, so that other work on the machine does not lower the rate.
    """
    import torch
    kind = {"device": device.device, "dtype": device.dtype}
    model = torch.nn.Sequential(*(
        torch.nn.TransformerEncoderLayer(shape.width, shape.heads, shape.intermediate, dropout=0.0,
                                         batch_first=True, **kind) for _ in range(LAYERS)))
    hidden = torch.randn(ROWS, TOKENS, shape.width, **kind)

    def step() -> float:
        """Seconds of one forward and backward pass."""
        started = time.perf_counter()
        loss = model(hidden).square().mean()
        loss.backward()
        loss.item()  # waits for the GPU
        return time.perf_counter() - started

    step()  # PyTorch chooses and compiles its kernels here
    fastest, deadline = step(), time.perf_counter() + SECONDS
    while time.perf_counter() < deadline:
        fastest = min(fastest, step())
    return 6 * sum(p.numel() for p in model.parameters()) * ROWS * TOKENS / fastest
