"""What stands in the way of a model's folder, as a person names it, before PyTorch is imported."""

from pathlib import Path

from lib.runtime.files import FileError, refuse_pointer
from lib.runtime.places import is_path

LOADED = (".json", ".safetensors", ".model", ".jinja", ".txt")  # endings of what is loaded


def folder_fault(name: str) -> str:
    """Why a name leads to no model, one sentence; "" for a folder of one, and for a hub id."""
    folder = Path(name).expanduser()
    if folder.is_file():
        return f"{name} is a file; give the folder that save_pretrained wrote"
    if not folder.is_dir():
        return (f"there is no folder {name}; check the path, or give a hub id such as "
                "Qwen/Qwen2.5-0.5B") if is_path(name) else ""
    if not (folder / "config.json").exists():
        return f"{name} holds no config.json; give a folder that save_pretrained wrote"
    try:
        for file in sorted(folder.iterdir()):
            if file.suffix in LOADED and file.is_file():
                refuse_pointer(file)
    except FileError as error:
        return str(error)
    return ""
