"""Curves of a run in training grow with its file, and never stand in its way."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.runtime.files import append_jsonl, write_jsonl
from lib.viewers import training_panel
from lib.viewers.training_panel import curves_html, live_curves

SFT = [{"step": step, "split": "train", "loss": 3 - step / 10} for step in range(1, 11)]
DPO = [{"step": 1, "split": split, "loss": 0.69, "rewards/margins": 0.1, "rewards/chosen": 0.2,
        "rewards/rejected": 0.1, "rewards/accuracies": 0.5} for split in ("train", "validation")]


def test_a_fine_tuning_run_has_one_chart() -> None:
    html = curves_html(SFT)
    assert html.count("<figure>") == 1
    assert "2.000" in html


def test_a_preference_run_has_loss_margin_accuracy_and_both_rewards() -> None:
    html = curves_html(DPO)
    assert html.count("<figure>") == 4
    assert [name in html for name in ("chosen", "rejected")] == [True, True]


def test_the_raw_curve_runs_from_corner_to_corner() -> None:
    assert '<polyline class="raw a" points="0.0,0.0 ' in curves_html(SFT)
    assert ' 300.0,150.0"/>' in curves_html(SFT)


def test_validation_values_are_dots() -> None:
    assert "<circle" in curves_html(DPO)
    assert "<circle" not in curves_html(SFT)


def test_before_the_first_step_the_picture_says_that_it_waits() -> None:
    assert "Waiting" in curves_html([])


def test_the_charts_say_whose_they_are() -> None:
    for rows in ([], SFT):
        assert "<b>warning/on_policy_low</b>: " in curves_html(rows, "warning/on_policy_low")
        assert "&lt;i&gt;" in curves_html(rows, "<i>")
    assert "<b></b>" not in curves_html([])


def test_headless_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(training_panel, "display", lambda *_, **__: pytest.fail("drew"))
    with live_curves(tmp_path / "metrics.jsonl", interactive=False):
        append_jsonl(tmp_path / "metrics.jsonl", SFT[0])


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    drawn: list[str] = []

    class Handle:
        def update(self, html: object) -> None:
            drawn.append(html.data)

    monkeypatch.setattr(training_panel, "display", lambda *_, **__: Handle())
    monkeypatch.setattr(training_panel, "SECONDS_BETWEEN_CHARTS", 0.01)
    return drawn


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_picture_grows_with_the_file_and_ends_with_its_last_row(
    pictures: list[str], tmp_path: Path
) -> None:
    metrics = tmp_path / "metrics.jsonl"
    with live_curves(metrics, interactive=True):
        append_jsonl(metrics, SFT[0])
        wait_for(lambda: any("2.900" in picture for picture in pictures))
        append_jsonl(metrics, SFT[-1] | {"split": "validation"})
    assert "<circle" in pictures[-1]


def test_a_half_written_row_waits_and_a_resumed_file_is_drawn_anew(
    pictures: list[str], tmp_path: Path
) -> None:
    metrics = tmp_path / "metrics.jsonl"
    with live_curves(metrics, interactive=True):
        write_jsonl(metrics, DPO)
        wait_for(lambda: any("rejected" in picture for picture in pictures))
        write_jsonl(metrics, SFT[:1])
        with metrics.open("a") as file:
            file.write('{"step": 2, "spl')
    assert "2.900" in pictures[-1]
    assert "rejected" not in pictures[-1]


def test_a_failing_stage_fails_as_it_did_without_the_picture(
    pictures: list[str], tmp_path: Path
) -> None:
    with (pytest.raises(ValueError, match="not a number"),
          live_curves(tmp_path / "metrics.jsonl", interactive=True)):
        raise ValueError("the loss is not a number")
    assert not [one for one in threading.enumerate() if one.name.endswith("(_follow)")]
