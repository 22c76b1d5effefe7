"""The workflows of GitHub Actions are valid, and cover what the project says that it supports."""

import subprocess
import sys
import tomllib
from typing import Any

import pytest
import yaml

from lib import ROOT

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))


def read(name: str) -> dict[str, Any]:
    return yaml.load((FOLDER / name).read_text(encoding="utf-8"), yaml.BaseLoader)  # `on` is text


def test_every_workflow_fits_the_schema_of_github() -> None:
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema",
                           "vendor.github-workflows", *map(str, WORKFLOWS)],
                          capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_workflow_is_found(tmp_path: Any) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text("on: push\njobs: {test: {steps: [{run: ls}]}}\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema",
                           "vendor.github-workflows", str(broken)],
                          capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert "runs-on" in done.stdout


def test_tests_run_on_every_supported_python_and_system() -> None:
    matrix = read("tests.yml")["jobs"]["test"]["strategy"]["matrix"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}


def test_another_repository_can_call_the_study_with_its_own_profile() -> None:
    inputs = read("study.yml")["on"]["workflow_call"]["inputs"]
    assert {"profile", "source", "arguments"} <= set(inputs)
    assert all(value["type"] in ("string", "number") for value in inputs.values())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_a_caller_writes_reaches_no_shell_but_through_the_environment(path: Any) -> None:
    for job in read(path.name)["jobs"].values():
        for step in job.get("steps", ()):
            assert "${{" not in step.get("run", ""), step
