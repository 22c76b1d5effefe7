"""In which settings, inputs and surroundings two runs differ, by the manifests of their stages."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lib.runtime.files import Row
from lib.runtime.manifest import dotted, read_manifest
from lib.study.stages.table import STAGES

MAKING = ("data", "sft", "pairs", "dpo", "rewards", "responses")  # stages that decide the answers
SURROUNDINGS = ("device", "dtype", "environment", "git")
ABSENT = "absent"
HASH_SHOWN = 12


def differing_settings(a: Path, b: Path) -> list[Row]:
    """Rows {"setting", "a", "b", "stages"}; what differs alike in several stages stands once.

    "absent" is a setting, or a stage, that one run lacks. Inputs that other stages made are left
    out, because what changed them has rows of its own.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for stage in MAKING:
        first, second = (dict(_facts(run / stage)) for run in (a, b))
        if not first and not second:
            continue
        for key in first.keys() | second.keys() if first and second else ["stage"]:
            one, other = (_shown(facts, key) for facts in (first, second))
            if one != other:
                found.setdefault((key, one, other), []).append(stage)
    rows = [{"setting": key, "a": one, "b": other, "stages": ", ".join(stages)}
            for (key, one, other), stages in found.items()]
    return sorted(rows, key=lambda row: (_place(row["setting"]), row["setting"], row["a"]))


def _facts(folder: Path) -> Iterator[tuple[str, Any]]:
    """Everything that decided a stage's output, by name; nothing for a stage that is not there."""
    manifest = read_manifest(folder)
    if manifest is None:
        return
    yield "stage", "there"
    yield from dotted(manifest["parameters"]).items()
    yield from ((f"input {name}", digest[:HASH_SHOWN])
                for name, digest in manifest["inputs"].items() if name not in STAGES)
    made = dotted({name: manifest[name] for name in SURROUNDINGS if name in manifest})
    yield from ((f"made with {name}", str(value)[:HASH_SHOWN] if name == "git.commit" else value)
                for name, value in made.items())


def _shown(facts: Mapping[str, Any], key: str) -> str:
    return str(facts[key]) if key in facts else ABSENT


def _place(setting: str) -> int:
    """Settings first, then inputs, then surroundings."""
    return 1 if setting.startswith("input ") else 2 if setting.startswith("made with ") else 0
