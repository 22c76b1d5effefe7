"""The table of speeds says what was measured on what; the rival is at its best."""

import argparse
import json
from pathlib import Path

import pytest
import torch

from tests.bench import training
from tests.bench.machine import machine, versions
from tests.bench.readme import speed_table


def side(rate: float, mode: str = "packed") -> dict:
    return {"tokens_per_second": rate, "tokens_per_cpu_second": rate / 2, "peak_rss_gb": 2.0,
            "mode": mode}


def test_a_row_names_machine_precision_threads_and_the_mode_of_both_sides(tmp_path: Path) -> None:
    report = {"precision": "fp32", "threads": 1, "ours": side(90), "trl": side(60, "padded"),
              "machine": {"processor": "Abacus 3", "instructions": "AVX2"}}
    (tmp_path / "sft_avx2.json").write_text(json.dumps(report))
    row = speed_table(tmp_path).splitlines()[-1]
    assert "Abacus 3, AVX2, 1 thread |" in row
    assert "| float32 |" in row
    assert "| packed: 90 tokens/s (45 a CPU second), 2.0 GB |" in row
    assert "TRL, padded: 60 tokens/s (30 a CPU second), 2.0 GB" in row
    assert row.count("1.50 times") == 2


def test_the_fastest_rival_of_sampling_is_shown_with_its_settings(tmp_path: Path) -> None:
    def engine(rate: float, **mode: object) -> dict:
        return {"tokens_per_second": rate, "peak_memory_gb": 1.0,
                "mode": mode | {"versions": {"torch": "2"}}}
    (tmp_path / "sampling.json").write_text(json.dumps({
        "settings": {"precision": "bf16", "threads": 2}, "machine": machine(),
        "engines": {"ours": engine(300, engine="own"), "transformers": engine(100),
                    "openvino": engine(200, rows=64)}}))
    row = speed_table(tmp_path).splitlines()[-1]
    assert "| engine own: 300 tokens/s, 1.0 GB | OpenVINO GenAI, rows 64: 200 tokens/s" in row
    assert "2 threads | bfloat16 |" in row


def test_a_report_names_the_instructions_and_limits_and_the_packages_versions(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    found = machine()
    assert found["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert found["limits"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert versions("torch", "pytest") == {"torch": torch.__version__, "pytest": pytest.__version__}


@pytest.mark.parametrize(("stage", "fastest"), [("sft", "packed"), ("dpo", "padded")])
def test_the_faster_of_trls_modes_is_compared_and_all_are_kept(
        stage: str, fastest: str, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    rates = {"ours": 90, "trl padded": 40, "trl packed": 60}
    monkeypatch.setattr(training, "_side",
                        lambda name: side(rates[name], name.removeprefix("trl ")))
    monkeypatch.setattr("sys.argv", ["training.py", "--data", "x", "--stage", stage, "--json"])
    training.main()
    report = json.loads(capsys.readouterr().out)
    assert report["trl"]["mode"] == fastest
    assert [mode["mode"] for mode in report["trl_modes"]] == list(training.MODES[stage])
    assert report["cpu_speedup"] == pytest.approx(90 / rates[f"trl {fastest}"])
    assert {"torch", "transformers", "trl"} <= set(report["versions"])


def test_trl_packed_passes_once_over_all_rows_in_no_more_updates_than_ours(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "encode_sft", lambda rows, *_: [range(n) for n in rows])
    monkeypatch.setattr(training, "_conversation", lambda row: row)
    options = argparse.Namespace(model="packaged", max_length=512, steps=3, batch=4)
    rows = [500, 500, 300, 200, 400, 100, 450, 460, 470, 60, 40, 30]  # 7 rows of 512
    found = training._batches(options, rows, "packed")
    assert found == {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 3}
    assert training._batches(options, rows, "padded") == {"per_device_train_batch_size": 4,
                                                          "gradient_accumulation_steps": 1}
