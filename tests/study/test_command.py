"""The study's command line: a plan, a refusal in one sentence, and what Ctrl-C says."""

import subprocess
import sys
from pathlib import Path

import pytest

from lib import ROOT
from lib.study import __main__ as runner
from lib.study.__main__ import main
from lib.study.notebooks import notebook_paths


def test_the_plan_names_stages_downloads_disk_memory_keys_and_minutes(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--profile", "paper", "--plan", "--run", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    for word in ("sft", "dpo", "responses", "downloads:", "disk:", "NVIDIA_API_KEY", "GB", "min"):
        assert word in out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (["--profile", "huge"], "profile is 'huge'"),
    (["--set", "dpo.beta"], "write it as key=value"),
    (["--set", "dpo.bet=1"], "did you mean dpo.beta?"),
    (["--profile", "smoke", "--only", "09"], "there is no notebook '09'; use 01, 02"),
    (["--only", "3", "--from", "5"], "none of the notebooks 3 comes at 5 or later"),
    (["--profile", "smoke", "--seeds", "0"], "--seeds is 0; use at least 1")])
def test_a_wrong_command_line_is_one_sentence_and_exit_status_2(
        arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


FAST = """
import sys
from lib.study.__main__ import main
status = main(sys.argv[1:])
slow = {"lib.inference.engine.openvino_model", "papermill", "sklearn", "torch", "transformers"}
print(status, *sorted(slow & set(sys.modules)))
"""


@pytest.mark.parametrize(("arguments", "loaded"), [
    (["--set", "beta=0.2"], "2"), (["--only", "09"], "2"), (["--profile", "huge"], "2"),
    (["--profile", "smoke", "--plan"], "0 torch transformers")])
def test_a_wrong_line_is_answered_before_pytorch_is_loaded_and_a_plan_before_any_notebook(
        arguments: list[str], loaded: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FAST, *arguments, "--run", str(tmp_path / "run")],
                          cwd=ROOT, capture_output=True, text=True, check=True)
    measured = done.stdout.splitlines()[-1]  # a machine that is known needs no model to measure
    assert loaded.startswith(measured)
    assert measured[0] == loaded[0]


def test_notebooks_are_asked_for_with_and_without_a_zero() -> None:
    assert notebook_paths(["3", "04"]) == notebook_paths(["03", "4"])
    assert [path.name[:2] for path in notebook_paths(["3"])] == ["03"]
    assert notebook_paths(start="5") == notebook_paths(start="05")


@pytest.mark.parametrize(("options", "again"), [
    ([], "the same command again"), (["--force"], "it again without --force")])
def test_ctrl_c_is_one_sentence_that_says_what_is_kept_and_how_to_go_on(
        options: list[str], again: str, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt
    monkeypatch.setattr(runner, "_run", interrupted)
    assert main(options) == 130
    assert capsys.readouterr().err == (
        "interrupted; finished stages, notebooks and checkpoints are kept, run "
        f"{again} to go on from there\n")
