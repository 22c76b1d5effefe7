"""A path on the command line means the same file to the runner and to the notebooks' kernels."""

from pathlib import Path

import nbformat
import pytest

from lib.study.__main__ import main
from lib.study.compare import __main__ as compare
from lib.study.notebooks import _key, notebook_paths, run_notebook
from lib.study.planning.preflight import blockers
from lib.study.profiles import load_profile
from lib.study.reward_models.chat_judge import chat_judge
from lib.study.run import open_study

READS = """
from lib.data.sources import load_heldout
from lib.modeling.loading import resolve_model
from lib.study.run import open_study
study = open_study(profile, run)
assert [row["prompt"] for row in load_heldout(study.profile.data)] == ["Why is the sky blue?"]
assert resolve_model(study.profile.rewards.selector) == "models/rm"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's own folder with a profile, prompts and a reward model, and the shell in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my").mkdir()
    (tmp_path / "models" / "rm").mkdir(parents=True)
    (tmp_path / "models" / "rm" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "my" / "held.jsonl").write_text(
        '{"id": "1", "prompt": "Why is the sky blue?"}\n', encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(
        "base: smoke\ndata: {source: local, heldout_path: my/held.jsonl}\n"
        "rewards: {selector: models/rm}\nllm_judge: {cache: my/replies.sqlite}\n",
        encoding="utf-8")
    return tmp_path


def test_profile_data_and_models_are_read_by_a_kernel_from_where_they_were_typed(
        folder: Path) -> None:
    cells = [nbformat.v4.new_code_cell('profile: str = ""\nrun: str = ""',
                                       metadata={"tags": ["parameters"]}),
             nbformat.v4.new_code_cell(READS)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    path = folder / "09_reads.ipynb"
    nbformat.write(notebook, path)
    run = open_study("mine.yaml", "runs/try").folder
    assert run_notebook(path, run, {"profile": "mine.yaml", "run": str(run)}, False) is not None
    assert (folder / "runs" / "try" / "09_reads.html").exists()


def test_the_cache_of_a_chat_judge_lies_where_it_was_typed(folder: Path) -> None:
    settings = {"rewards.judge": "llm", "llm_judge.model": "some-model"}
    judge = chat_judge(open_study("mine.yaml", "runs/try", settings))
    assert judge.cache.path == folder / "my" / "replies.sqlite"


def test_a_notebook_runs_again_when_the_profiles_file_has_changed(folder: Path) -> None:
    path = notebook_paths(["03"])[0]
    parameters = {"profile": "mine.yaml", "run": "runs/try"}
    before = _key(path, folder, parameters)
    assert _key(path, folder, parameters) == before
    profile = folder / "mine.yaml"
    profile.write_text(profile.read_text(encoding="utf-8") + "dpo: {beta: 0.3}\n", encoding="utf-8")
    assert load_profile("mine.yaml").dpo.beta == 0.3
    assert _key(path, folder, parameters) != before


def test_a_home_that_no_shell_expanded_is_the_persons_home(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    profile = load_profile("~/mine.yaml", {"rewards.selector": "~/models/rm",
                                           "data": {"heldout_path": "~/my/held.jsonl"}})
    assert profile.rewards.selector == str(folder / "models" / "rm")
    assert profile.data.heldout_path == str(folder / "my" / "held.jsonl")
    assert main(["--notebooks=~/lessons"]) == 0
    assert (folder / "lessons" / "01_data.ipynb").exists()


def test_two_runs_are_named_by_their_folders_wherever_the_comparison_is_typed(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(compare, "compare_runs", lambda *given: seen.extend(given[:3]) or 1 / 0)
    monkeypatch.chdir(folder / "my")
    with pytest.raises(ZeroDivisionError):
        compare.main(["../models", "."])
    assert seen == [folder / "models", folder / "my", folder / "models_and_my"]


def test_a_run_folder_that_cannot_be_written_is_refused_before_any_work(
        folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    in_a_file = open_study("smoke", str(folder / "mine.yaml" / "run"))
    assert blockers(in_a_file)[0].endswith("mine.yaml is a file; choose another --run folder")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "is read-only; choose" in blockers(open_study("smoke", str(folder / "run")))[0]
    (folder / "run").mkdir()
    (folder / "run" / "results.json").write_text("{}", encoding="utf-8")
    finished, = blockers(open_study("smoke", str(folder / "run")))
    assert finished.endswith("; it is finished, and notebook 05 in JupyterLab shows it as it is")
    with pytest.raises(SystemExit):
        compare.main([str(folder / "run"), str(folder / "run"), "--out", str(folder / "out")])
    assert f"{folder} is read-only; name another folder with --out" in capsys.readouterr().err
    assert main(["--notebooks", str(folder / "mine.yaml" / "lessons")]) == 2
    assert "lessons cannot be made (" in capsys.readouterr().err
