import pytest

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
    assert "rewards/rejected" in html


def test_the_raw_curve_runs_from_corner_to_corner() -> None:
    assert '<polyline class="raw a" points="0.0,0.0 ' in curves_html(SFT)
    assert ' 300.0,150.0"/>' in curves_html(SFT)


def test_validation_values_are_dots() -> None:
    assert "<circle" in curves_html(DPO)
    assert "<circle" not in curves_html(SFT)


def test_before_the_first_step_the_picture_says_that_it_waits() -> None:
    assert "Waiting" in curves_html([])


def test_headless_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_panel, "display", lambda *_, **__: pytest.fail("drew"))
    live_curves(interactive=False)(SFT[0])


def test_live_curves_redraw_in_place_and_not_at_every_step(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures: list[str] = []

    class Handle:
        def update(self, html: object) -> None:
            pictures.append(html.data)

    monkeypatch.setattr(training_panel, "display", lambda *_, **__: Handle())
    add = live_curves(interactive=True)
    for row in SFT:
        add(row)
    assert len(pictures) == 1
    add(SFT[0] | {"split": "validation"})
    assert "<circle" in pictures[-1]
