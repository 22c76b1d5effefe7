"""Where things lie: what is kept between runs, and where the paths begin that a person types.

`ROOT` holds what the project ships, in a checkout or installed. A converted model and hidden states
are kept in the cache of the Hugging Face libraries (HF_HOME, otherwise XDG_CACHE_HOME), so that
every checkout uses them; a checkout that has a folder `data/models` or `data/cache` uses its own.
"""

import os
import re
from pathlib import Path

from huggingface_hub import cached_assets_path

from lib import ROOT
from lib.runtime.parent import PARENT

LIBRARY = "small-model-study"  # the name of our folder in the cache
NOTEBOOKS = ROOT / "notebooks"
GLOSSARY = "GLOSSARY.md"  # lies beside the notebooks, also beside copies of them
HUB_ID = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*(@[\w./-]+)?", re.ASCII)  # owner/name@commit
FILE_ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".csv", ".tsv", ".gz",
                ".safetensors", ".gguf", ".bin", ".pt")
HEADLESS = "STUDY_HEADLESS"  # set by the runner for its kernels


def kept(name: str) -> Path:
    """The folder `models` or `cache`: the checkout's own where it has one, or the shared one."""
    own = ROOT / "data" / name
    return own if own.is_dir() else cached_assets_path(LIBRARY, name, "1")  # 1: their format


def typed_path(path: Path | str) -> Path:
    """The absolute path of what a person typed; it begins in the working folder."""
    return Path(os.path.abspath(Path(path).expanduser()))


def is_path(name: str) -> bool:
    """Whether a name can only be that of a file or folder, and not an id of a model hub."""
    return bool(name) and not HUB_ID.fullmatch(name) or name.lower().endswith(FILE_ENDINGS)


def begin_at_the_project() -> None:
    """Leave the folder of the notebooks, in which JupyterLab and VS Code start a kernel.

    A relative path in a notebook then begins where it does on the command line: in the folder that
    holds the checkout's notebooks, or the copies that `--notebooks` made. The runner's kernels stay
    in the folder in which its command was typed.
    """
    here = Path.cwd()
    if not os.environ.get(HEADLESS) and (here / GLOSSARY).exists() and any(here.glob("0*.ipynb")):
        os.chdir(here.parent)


def prepare_children() -> None:
    """Let processes started from here import this very `lib`, write UTF-8, and end with this one.

    Windows writes another encoding by default, which lacks the signs of our tables.
    """
    os.environ[PARENT] = str(os.getpid())
    places = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(places))
    os.environ.setdefault("PYTHONUTF8", "1")
