"""Figures: titles that follow the numbers, axes with units, pages that work offline."""

import json
from math import log

import plotly.graph_objects as go
import plotly.io as pio
import pytest

from lib.analysis import figures
from lib.analysis.comparisons.paper import paper_rate
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import round_robin
from lib.analysis.figures import files
from lib.analysis.figures.theme import framed
from lib.analysis.texts.metrics import text_metrics_by_system
from tests.analysis.analysis_rows import response, system


def metrics(loss_end: float = 0.6, score_end: float = 3.0) -> list[dict]:
    rows = []
    for step in range(5):
        share = step / 4
        values = {"loss": log(2) + share * (loss_end - log(2)), "rewards/chosen": -0.1 * share,
                  "rewards/rejected": -0.3 * share, "rewards/margins": 0.2 * share,
                  "rewards/accuracies": 0.7 * (step > 0), "logps/chosen": -50 - 4 * share,
                  "logps/rejected": -50 - 9 * share}
        rows += [{"step": step, "split": "train", **values},
                 {"step": step, "split": "validation", "n": 100, **values},
                 {"step": step, "split": "samples", "n": 32, "repetition": 0.1,
                  "judge_score": 2.0 + share * (score_end - 2)}]
    return rows


def title(figure: go.Figure) -> str:
    return figure.layout.title.text.replace("<br>", " ")


def test_titles_state_what_the_curves_did() -> None:
    assert "falls from 0.69 to 0.60" in title(figures.sft_loss_figure(metrics()))
    assert "rises from 0.693 to 0.800 (ln 2 = 0.693)" in title(
        figures.dpo_loss_figure(metrics(0.8)))
    assert "margin reaches 0.200, with chosen at -0.100" in title(figures.rewards_figure(metrics()))
    assert "above chance" in title(figures.accuracy_figure(metrics()))
    assert "less likely (-4.0 nats" in title(figures.displacement_figure(metrics()))


def test_the_warning_figure_shows_a_falling_score_beside_a_good_accuracy() -> None:
    figure = figures.sample_quality_figure({"written": metrics(score_end=1.0),
                                            "on-policy": metrics()})
    assert "written: accuracy 0.70, answers' score falls from 2.00 to 1.00" in title(figure)
    assert "on-policy: accuracy 0.70, answers' score rises" in title(figure)
    assert len(figure.data) == 6


@pytest.mark.parametrize("name", ["sft_loss_figure", "dpo_loss_figure", "rewards_figure",
                                  "accuracy_figure", "displacement_figure"])
def test_a_run_without_validation_still_has_its_figures(name: str) -> None:
    figure = getattr(figures, name)([{"step": 1, "split": "train", "loss": 0.7}])
    assert "no validation" in title(figure)
    assert figure.layout.xaxis.title.text == "optimizer step"
    assert figure.layout.yaxis.title.text


def test_smoothed_and_raw_losses_are_both_drawn() -> None:
    raw, smoothed, validation = figures.dpo_loss_figure(metrics()).data
    assert raw.opacity < 0.5
    assert smoothed.y[0] == pytest.approx(raw.y[0])
    assert list(validation.x) == [0, 1, 2, 3, 4]


def win_rows() -> list[dict]:
    systems = {"base": system([1] * 20), "sft": system([2] * 12 + [0] * 8, "b"),
               "dpo+bon4@0.25": system([3] * 15 + [0] * 5, "c"),
               "dpo+bon4@1": system([3] * 11 + [0] * 9, "d")}
    for rows in systems.values():
        for row in rows:
            rewards = row["candidates"][0]["rewards"]
            rewards["selector"] = rewards["judge"] ** 2
    return round_robin(scoreboard(systems, ["judge", "selector"]), resamples=50)


def test_win_rates_stand_beside_the_selectors_and_the_papers() -> None:
    rows = win_rows()
    rows[-1] = rows[-1] | {"win_rate": 1.0}
    figure = figures.win_rates_figure(rows)
    assert [trace.name for trace in figure.data] == ["judge", "selector", "the paper"]
    assert "by its own selector and" in title(figure)
    assert "n = 20" in figure.layout.title.subtitle.text
    paper = figure.data[-1]
    assert list(paper.x) == [paper_rate("sft", "base").rate,
                             paper_rate("dpo+bon4@0.25", "sft").rate,
                             paper_rate("dpo+bon4@1", "sft").rate]


def test_the_temperature_curve_names_the_best_and_whether_it_is_clear() -> None:
    figure = figures.temperature_figure(win_rows())
    assert "does best at T = 0.25" in title(figure)
    assert "overlaps all others" in title(figure)
    assert figure.data[-1].name == "the paper"
    assert "No comparison" in title(figures.temperature_figure([]))


def test_the_best_of_n_figure_has_the_line_that_selection_alone_draws() -> None:
    curves = {"selector": [{"n": n, "value": n / (n + 1)} for n in (1, 2, 4)],
              "judge": [{"n": n, "value": 0.5, "ci_low": 0.4, "ci_high": 0.6} for n in (1, 2, 4)]}
    figure = figures.best_of_n_figure(curves)
    assert list(figure.data[-1].y) == pytest.approx([0.5, 2 / 3, 0.8])
    assert "80% by selector itself, 50% by judge; selection alone gives 80%" in title(figure)


def test_text_figures_name_the_most_repetitive_and_the_longest() -> None:
    systems = {"loopy": [response(0, "again " * 40, 1.0)], "terse": [response(0, "Yes.", 1.0)]}
    assert title(figures.text_metrics_figure(text_metrics_by_system(systems))).startswith("loopy")
    assert "loopy answers longest (40 tokens" in title(figures.length_figure(systems, limit=64))
    assert title(figures.data_mix_figure(systems)) == "2 rows from 1 sources"


def test_names_with_markup_are_shown_not_run() -> None:
    figure = framed(go.Figure(), "<script>alert(1)</script>", "n < 3", "x", "y")
    assert "&lt;script&gt;" in figure.layout.title.text
    assert figure.layout.title.subtitle.text == "n &lt; 3"


def test_a_saved_page_shares_plotly_and_needs_no_network(
        tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "browser_ready", lambda: False)
    [page] = figures.save_figure(figures.dpo_loss_figure(metrics()), tmp_path, "loss")
    text = page.read_text(encoding="utf-8")
    assert 'src="plotly.min.js"' in text
    assert "https://" not in text.replace("https://plot.ly", "")
    assert (tmp_path / "plotly.min.js").exists()
    assert len(text) < 100_000


def test_a_machine_without_a_browser_says_so_once(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def no_browser(*_: object, **__: object) -> bytes:
        raise RuntimeError("Chrome not found\nlong advice")

    monkeypatch.setattr(files.kaleido, "calc_fig_sync", no_browser)
    files.browser_ready.cache_clear()
    assert not files.browser_ready()
    assert not files.browser_ready()
    assert capsys.readouterr().out.count("figures are saved as .html only") == 1
    files.browser_ready.cache_clear()


@pytest.mark.browser
def test_pictures_are_drawn_where_a_browser_is(tmp_path: object) -> None:
    if not files.browser_ready():
        pytest.skip("no browser draws pictures on this machine")
    paths = figures.save_figure(figures.sft_loss_figure(metrics()), tmp_path, "loss")
    assert [path.suffix for path in paths] == [".html", ".svg", ".png"]
    assert paths[1].read_text(encoding="utf-8").startswith("<svg")
    assert paths[2].read_bytes().startswith(b"\x89PNG")


def test_the_renderer_carries_plotly_into_exported_notebooks(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLOTLY_RENDERER", raising=False)
    before = pio.renderers.default
    figures.use_study_renderer()
    assert pio.renderers.default == "plotly_mimetype+notebook"
    pio.renderers.default = before
    monkeypatch.delenv("PLOTLY_RENDERER")


def test_figures_are_plain_json() -> None:
    for figure in (figures.win_rates_figure(win_rows()), figures.rewards_figure(metrics())):
        assert json.loads(figure.to_json())["layout"]["title"]["text"]
