"""Run in a process of its own: the peak of its memory while it trains, above what it began with.

`python memory_cases.py CASE.json` with {"shape", "dtype", "settings", "length"} prints bytes. Every
tensor is mapped by itself (MALLOC_MMAP_THRESHOLD_, and nothing that is freed is kept), so that the
resident memory is what is alive, as a GPU's allocator counts it.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.packing import SharedPrompt
from lib.study.planning.memory import Shape
from lib.training import loop as training
from lib.training.settings import SFTSettings
from lib.training.sft import SFTObjective

training.keep_freed_memory = lambda: None
STEPS = 2  # the moments are there from the second on
TINY = Shape(2, 64, 128, 4, 2, 512)


def train(shape: Shape, settings: SFTSettings, length: int, dtype: torch.dtype) -> None:
    """Some optimizer steps on full rows of equal sequences, all of them response tokens."""
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=shape.vocabulary, hidden_size=shape.width, num_hidden_layers=shape.layers,
        intermediate_size=shape.intermediate, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads, tie_word_embeddings=shape.tied))
    use_packed_attention(model, "segments")
    if settings.activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    rows = [SharedPrompt((), (tuple(range(5, 5 + length)),), ((0,) + (1,) * (length - 1),))
            for _ in range(settings.token_budget // length)]
    loop = training.Loop(training.Run(
        model, SFTObjective(rows, settings.token_budget), None, settings,
        Path(tempfile.mkdtemp()), 0, torch.device("cpu"), dtype))
    for _ in range(STEPS):
        loop._optimizer_step(loop.batches[0])


def memory(kind: str) -> int:
    """VmRSS or VmHWM (its peak) of this process, in bytes."""
    line, = (line for line in Path("/proc/self/status").read_text().splitlines()
             if line.startswith(kind))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    case = json.loads(Path(sys.argv[1]).read_text())
    kind, options = getattr(torch, case["dtype"]), case["settings"]
    torch.set_num_threads(1)
    train(TINY, SFTSettings(**options | {"token_budget": 128}), 32, kind)  # kernels and libraries
    before = memory("VmRSS")
    train(Shape(**case["shape"]), SFTSettings(**options), case["length"], kind)
    print(memory("VmHWM") - before)
