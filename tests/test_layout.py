"""The house keeps its order: imports run one way, no circle, no crowded folder, mirrored tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib import ROOT
from tests.conftest import LONGEST

LIB = ROOT / "lib"
FLOORS = [{"runtime"}, {"data"}, {"modeling"}, {"training"}, {"inference"}, {"analysis", "viewers"},
          {"study"}]
MOST_FILES = 14  # of code in one folder


def modules() -> dict[str, Path]:
    """Every module of lib by its dotted name."""
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
            for path in sorted(LIB.rglob("*.py"))}


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """The modules of lib that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lib"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("lib."))


ARROWS = {name: set(imported(path)) - {name} for name, path in MODULES.items()}


def floor(module: str) -> int:
    room = module.split(".")[1] if "." in module else "runtime"
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    upward = [other for other in ARROWS[module] if floor(other) > floor(module)]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    rest = {name: set(others) for name, others in ARROWS.items()}
    while free := [name for name, others in rest.items() if not others & rest.keys()]:
        for name in free:
            del rest[name]
    assert sorted(rest) == []


@pytest.mark.parametrize("folder", sorted({path.parent for kind in ("py", "js", "css")
                                           for path in LIB.rglob(f"*.{kind}")}),
                         ids=lambda folder: str(folder.relative_to(ROOT)))
def test_no_folder_is_crowded(folder: Path) -> None:
    code = [path.name for path in folder.iterdir()
            if path.suffix in (".py", ".js", ".css") and path.name != "__init__.py"]
    assert len(code) <= MOST_FILES


@pytest.mark.parametrize("module", [name for name in MODULES
                                    if name.startswith(("lib.training", "lib.study.stages"))
                                    and ".parallel" not in name and "__main__" not in name])
def test_training_on_one_process_needs_nothing_of_many(module: str) -> None:
    """The plain story stands without the distributed one beneath it."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    named = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} | {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
        for alias in node.names}
    assert not [name for name in named if name.startswith(
        ("lib.training.parallel", "accelerate", "torch.distributed"))]


def test_a_test_file_does_not_repeat_its_folders_name() -> None:
    doubled = [path for path in (ROOT / "tests").rglob("test_*.py")
               if path.parent.name != "tests" and path.name.startswith(f"test_{path.parent.name}_")]
    assert doubled == []


def test_the_files_that_take_longest_are_there() -> None:
    assert [name for name in LONGEST if not (ROOT / "tests" / name).exists()] == []
