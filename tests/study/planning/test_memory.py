"""Counted memory is that of a process that trains, within 15 %, with and without recomputation."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lib import ROOT
from lib.study.planning.memory import Shape, training_bytes
from lib.training.settings import SFTSettings

# Qwen2.5-0.5B's proportions at a fortieth of its weights: words are a third of them, and a
# gated MLP five times as wide as the stream
SMALL = Shape(layers=10, width=256, intermediate=1280, heads=4, kv_heads=2, vocabulary=16384)
LENGTH = 64  # of a sequence
FEW, MANY = 512, 3072  # tokens at once: the state, or the activations, are most of the memory


def measured(dtype: str, settings: SFTSettings, folder: Path) -> int:
    """Peak bytes of a process of its own, above those that it had before the model was made."""
    case = folder / "case.json"
    case.write_text(json.dumps({"shape": asdict(SMALL), "dtype": dtype, "length": LENGTH,
                                "settings": asdict(settings)}))
    done = subprocess.run([sys.executable, str(Path(__file__).with_name("memory_cases.py")),
                           str(case)], cwd=ROOT, text=True, capture_output=True, timeout=200,
                          env=os.environ | {"PYTHONPATH": str(ROOT),
                                            "MALLOC_MMAP_THRESHOLD_": "32768"}, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize(("dtype", "tokens", "again"), [
    ("bfloat16", MANY, True), ("bfloat16", FEW, True), ("bfloat16", MANY, False),
    ("float32", MANY, True), ("float32", MANY, False)])
def test_counted_memory_is_the_measured_one_within_15_percent(
        dtype: str, tokens: int, again: bool, tmp_path: Path) -> None:
    settings = SFTSettings(batch_size=tokens // LENGTH, checkpoint_every=0,
                           token_budget=tokens, activation_checkpointing=again)
    counted = training_bytes(SMALL, settings, dtype != "float32", cpu=True)
    assert counted == pytest.approx(measured(dtype, settings, tmp_path), rel=0.15)


def test_recomputation_keeps_one_layer_and_the_inputs_of_the_others() -> None:
    plain = SFTSettings(token_budget=MANY)
    again = replace(plain, activation_checkpointing=True)
    saved = training_bytes(SMALL, plain, True) - training_bytes(SMALL, again, True)
    deeper = replace(SMALL, layers=2 * SMALL.layers)
    more = training_bytes(deeper, plain, True) - training_bytes(deeper, again, True)
    assert more > 1.9 * saved
