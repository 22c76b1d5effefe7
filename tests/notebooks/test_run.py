"""All notebooks run headless on the smoke profile, leave the promised files, and skip next time."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib import ROOT
from lib.runtime.files import read_json, read_jsonl
from lib.study.__main__ import main
from lib.study.notebooks import NOTEBOOKS
from lib.study.run import StudyError

pytestmark = pytest.mark.slow


def line(run: Path, *arguments: str) -> list[str]:
    return ["--profile", "smoke", "--run", str(run), *arguments]


@pytest.fixture(scope="module")
def run(smoke_run: Path) -> Path:
    return smoke_run


def test_every_notebook_is_executed_and_exported_with_its_figures(run: Path) -> None:
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = json.loads((run / path.name).read_text(encoding="utf-8"))
        assert all(cell["execution_count"] for cell in notebook["cells"]
                   if cell["cell_type"] == "code" and cell["source"])
        page = (run / path.with_suffix(".html").name).read_text(encoding="utf-8")
        assert "Plotly.newPlot" in page
        assert 'src="https://cdnjs.cloudflare.com/ajax/libs/require' not in page


def outputs_of(path: Path) -> list[tuple[str, dict]]:
    """(what a person calls the cell, output) of an executed notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [(f"{path.stem}, cell {place}", output) for place, cell in enumerate(cells)
            for output in cell.get("outputs", [])]


def warned(output: dict) -> bool:
    text = "".join(output.get("text", output.get("data", {}).get("text/plain", "")))
    return (output.get("name") == "stderr" or output["output_type"] == "error"
            or re.search(r"\bWARNING\b|Warning:", text) is not None)


@pytest.mark.parametrize(("output", "expected"), [
    ({"output_type": "stream", "name": "stderr", "text": ["100%|###|"]}, True),
    ({"output_type": "stream", "name": "stdout", "text": ["x.py:3: FutureWarning: old\n"]}, True),
    ({"output_type": "stream", "name": "stdout", "text": ["[IPKernelApp] WARNING | TCP"]}, True),
    ({"output_type": "error", "ename": "NameError", "evalue": "x", "traceback": []}, True),
    ({"output_type": "stream", "name": "stdout", "text": ["warning/written_low: 12 steps"]}, False),
    ({"output_type": "stream", "name": "stdout", "text": ["warning: found, skipped"]}, False),
    ({"output_type": "display_data", "data": {"text/plain": ["<Figure>"]}}, False)])
def test_what_counts_as_a_warning(output: dict, expected: bool) -> None:
    assert warned(output) == expected


def test_no_executed_notebook_holds_a_warning(run: Path) -> None:
    found = [(place, output) for path in sorted(run.glob("*.ipynb"))
             for place, output in outputs_of(path) if warned(output)]
    assert found == []


def test_no_line_of_a_notebook_leaves_open_whose_work_it_is(run: Path) -> None:
    lines = [line for path in sorted(run.glob("*.ipynb")) for _, output in outputs_of(path)
             for line in "".join(output.get("text", "")).splitlines()]
    assert [line for line in lines if line.startswith(("reading answers:", "sampling:"))] == []
    assert sum(line.startswith("rewards: found") for line in lines) <= 1  # 04's own cell
    assert not any(line.split(":")[0].isupper() and "_" in line.split(":")[0] for line in lines)


def test_the_run_folder_holds_what_the_design_promises(run: Path) -> None:
    for name in ("data/sft.parquet", "data/preferences.parquet", "data/heldout.parquet",
                 "sft/model/model.safetensors", "dpo/model/model.safetensors", "sft/metrics.jsonl",
                 "dpo/metrics.jsonl", "sft/manifest.json", "dpo/manifest.json",
                 "responses/base.jsonl", "responses/sft.jsonl", "responses/dpo.jsonl",
                 "responses/dpo+bon4@0.6.jsonl", "responses/dpo+random4@0.6.jsonl", "results.json",
                 "figures/compare.html", "figures/win_rates.html"):
        assert (run / name).exists(), name
    stops = read_json(run / "sft/model/generation_config.json")["eos_token_id"]
    assert len(stops) == 2


def test_response_rows_have_the_schema_of_the_design(run: Path) -> None:
    for system in ("dpo", "dpo+bon4@0.6", "dpo+random4@1"):
        for row in read_jsonl(run / "responses" / f"{system}.jsonl"):
            assert {"id", "prompt", "source", "candidates", "chosen"} <= set(row)
            chosen = row["candidates"][row["chosen"]]
            assert {"text", "tokens", "finish", "logprob", "rewards"} <= set(chosen)
            assert chosen["finish"] in ("stop", "length")
            assert set(chosen["rewards"]) == {"selector", "judge"}


def test_best_of_n_takes_the_selectors_argmax_and_the_control_the_same_pool(run: Path) -> None:
    best = read_jsonl(run / "responses" / "dpo+bon4@0.6.jsonl")
    control = read_jsonl(run / "responses" / "dpo+random4@0.6.jsonl")
    for picked, other in zip(best, control, strict=True):
        scores = [candidate["rewards"]["selector"] for candidate in picked["candidates"]]
        assert picked["chosen"] == scores.index(max(scores))
        assert picked["candidates"] == other["candidates"]
    assert {row["chosen"] for row in control} != {0}


def test_metrics_start_at_ln_2_and_results_hold_what_readers_need(run: Path) -> None:
    first = read_jsonl(run / "dpo" / "metrics.jsonl")[0]
    assert first["step"] == 0
    assert first["loss"] == pytest.approx(0.6931472, abs=1e-6)
    assert first["rewards/margins"] == 0
    results = read_json(run / "results.json")
    assert {"win_rates", "dpo_eval", "reward_models", "text_metrics", "best_of_n_curves",
            "timings", "environment"} <= set(results)
    pairs = {(row["a"], row["b"]) for row in results["win_rates"]}
    assert {("sft", "base"), ("sft+bon4@0.6", "base"), ("dpo", "sft"), ("dpo+bon4@0.25", "sft"),
            ("dpo+bon4@0.6", "sft"), ("dpo+bon4@1", "sft"), ("dpo+bon4@0.6", "dpo"),
            ("sft+bon4@0.6", "sft")} <= pairs
    assert {(row["a"], row["b"]) for row in results["family"]} == pairs
    for row in results["win_rates"]:
        assert row["wins"] + row["ties"] + row["losses"] == pytest.approx(1)
        if not row["by_construction"]:
            assert row["ci_low"] <= row["win_rate"] <= row["ci_high"]
    for row in results["single_draws"]:
        assert row["wins"] + row["ties"] + row["losses"] == row["n"]


def test_a_second_run_skips_everything(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line(run)) == 0
    assert capsys.readouterr().out.count("up to date, skipped") == len(
        list(NOTEBOOKS.glob("*.ipynb")))


def test_a_run_folder_from_other_parameters_is_refused(run: Path, tmp_path: Path) -> None:
    own = shutil.copytree(run, tmp_path / "run")  # the notebook that stops is written into it
    done = subprocess.run(
        [sys.executable, "-m", "lib.study", *line(own, "--only", "03", "--set", "dpo.beta=0.2")],
        cwd=ROOT, text=True, capture_output=True, timeout=280, check=False)
    assert done.returncode == 2
    assert "dpo.beta=0.1 (now 0.2)" in done.stderr
    for name in ("manifest.json", "metrics.jsonl", "model/model.safetensors"):
        assert (own / "dpo" / name).read_bytes() == (run / "dpo" / name).read_bytes()


def test_a_notebook_run_out_of_order_says_what_to_run_first(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line(tmp_path / "run", "--only", "02")) == 2
    assert "run notebook 01_data first" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "first"), [
    ("02", "01_data"), ("03", "01_data"), ("05", "04_best_of_n"), ("06", "01_data"),
    ("07", "04_best_of_n")])
def test_a_cell_that_needs_an_earlier_notebook_names_it(
        number: str, first: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=f"is not finished; run notebook {first} first"):
        run_cells(number, {"profile": "smoke", "run": str(tmp_path / "run")})


def run_cells(number: str, parameters: dict[str, str]) -> None:
    """Run a notebook's code here, cell by cell, with some of its parameters set."""
    [path] = NOTEBOOKS.glob(f"{number}_*.ipynb")
    names: dict = {"__name__": "__main__"}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
        if "parameters" in cell["metadata"].get("tags", []):
            names |= parameters
