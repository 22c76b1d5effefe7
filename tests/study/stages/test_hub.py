"""The hub before a run: what cannot be had is one sentence at once, and nothing is begun."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from lib import ROOT
from tests.study.fake_hub import COMMIT, hub
from tests.study.stand_ins import BASE, judge_folder, qwen_folder, smoltalk, ultrafeedback

PLACES = {"model.name": "Qwen/small", "model.revision": COMMIT, "data.sft_path": "talk/small",
          "data.sft_revision": COMMIT, "data.preferences_path": "feedback/small",
          "data.preferences_revision": COMMIT, "data.heldout_path": "feedback/small",
          "data.heldout_revision": COMMIT, "rewards.judge": f"judge/small@{COMMIT}",
          "rewards.selector": f"judge/other@{COMMIT}"}
WRONG = "f" * 40
CASES = {  # what is changed, and the sentence
    "right": ({}, ""),
    "no such model": ({"model.name": "Qwen/none"}, "there is no model 'Qwen/none' on the hub; "
                      "check the id, or set HF_TOKEN if it is private"),
    "wrong revision": ({"model.revision": WRONG}, f"Qwen/small has no revision '{WRONG}'; leave it "
                       "out or name one of its commits"),
    "gated model": ({"model.name": "meta/gated"}, "meta/gated is gated: accept its terms on its "
                    "page, then set HF_TOKEN"),
    "gated judge": ({"rewards.judge": "meta/gated"}, "meta/gated is gated"),
    "wrong revision of the data": ({"data.sft_revision": WRONG}, "talk/small cannot be had from "
                                   "the hub"),
    "gated data": ({"data.preferences_path": "meta/gated"}, "If it is gated, accept its terms and "
                   "log in with `hf auth login`"),
    "no such split": ({"data.preferences_split": "train_gone"}, "feedback/small has no config "
                      "'default' with split 'train_gone'"),
    "changed schema": ({"data.sft_path": "talk/changed"}, "talk/changed, row 1, column messages"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("repositories")
    changed = smoltalk(root / "changed", rows=4)
    file, = changed.glob("data/*.parquet")
    table = pyarrow.parquet.read_table(file)
    pyarrow.parquet.write_table(table.rename_columns(["spoken", "source"]), file)
    return {"Qwen/small": qwen_folder(root / "model", BASE), "talk/small": smoltalk(root / "talk"),
            "feedback/small": ultrafeedback(root / "feedback"), "talk/changed": changed,
            "judge/small": judge_folder(root / "judge"),
            "judge/other": judge_folder(root / "other", seed=2)}


@pytest.fixture(scope="module")
def answers(folders: dict[str, Path],
            tmp_path_factory: pytest.TempPathFactory) -> tuple[list, list[str], Path]:
    """What was said of each case; what the hub was asked; the run folder."""
    root = tmp_path_factory.mktemp("cases")
    run, cases = root / "run", root / "cases.json"
    cases.write_text(json.dumps([[PLACES | changed, str(run)] for changed, _ in CASES.values()]))
    with hub(folders, gated=("meta/gated",), cut=("model.safetensors",)) as server:
        environment = {name: value for name, value in os.environ.items()
                       if name not in ("HF_HUB_OFFLINE", "HF_TOKEN")} | {
            "HF_ENDPOINT": server.url, "HF_HOME": str(root / "home"), "NO_PROXY": "127.0.0.1",
            "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("hub_cases.py")), str(cases)], cwd=ROOT,
            env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((root / "cases.said.json").read_text()), server.asked, run


@pytest.mark.slow
def test_what_the_hub_does_not_give_is_one_sentence_before_any_work(
        answers: tuple[list, list[str], Path]) -> None:
    said, _, run = answers
    for (name, (_, sentence)), heard in zip(CASES.items(), said, strict=True):
        assert sentence in heard if sentence else not heard, (name, heard)
        assert "\n" not in heard, name
    assert not run.exists()


@pytest.mark.slow
def test_the_checks_fetch_no_weights_and_a_download_that_broke_off_goes_on(
        answers: tuple[list, list[str], Path]) -> None:
    weights = [line for line in answers[1]
               if line.startswith("GET") and line.split()[1].endswith("model.safetensors")]
    assert {line.split()[1] for line in weights} == {
        f"/Qwen/small/resolve/{COMMIT}/model.safetensors"}
    whole, rest = weights
    assert "bytes=" not in whole
    assert int(rest.split("bytes=")[1].split("-")[0]) > 0
