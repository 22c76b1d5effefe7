"""Figures: titles that follow the numbers, axes with units, colours that can be told apart."""

from math import log

import numpy as np
import plotly.graph_objects as go
import pytest

from lib.analysis import figures
from lib.analysis.comparisons.paper import paper_row
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import round_robin
from lib.analysis.figures.data import token_lengths_figure
from lib.analysis.figures.theme import LOOKS, OTHERS, readable, style_figure
from lib.analysis.figures.training import smoothing_for
from lib.analysis.policies.displacement import reward_accuracy
from lib.analysis.statistics.intervals import wilson_interval
from lib.analysis.tables.findings import dpo_findings
from lib.analysis.texts.metrics import text_metrics_by_system
from tests.analysis.analysis_rows import response, system

ENDS = {"ci_low": 0.4, "ci_high": 0.9}


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


def subtitle(figure: go.Figure) -> str:
    return figure.layout.title.subtitle.text.replace("<br>", " ")


def test_titles_state_what_the_curves_did() -> None:
    assert "falls from 0.69 to 0.60" in title(figures.sft_loss_figure(metrics()))
    assert "rises from 0.693 to 0.800 (ln 2 = 0.693)" in title(
        figures.dpo_loss_figure(metrics(0.8)))
    assert "margin reaches 0.200, with chosen at -0.100" in title(figures.rewards_figure(metrics()))
    assert "the chosen ones less likely (-4.0 nats)" in title(
        figures.displacement_figure(metrics()))


def test_the_accuracy_in_the_figure_is_the_one_in_the_text_with_an_interval_of_prompts() -> None:
    rewards = [{"prompt": pair // 10, "chosen": float(pair // 10 < 7), "rejected": 0.5}
               for pair in range(100)]  # ten prompts, whose pairs all go one way
    accuracy = reward_accuracy(rewards)
    figure = figures.accuracy_figure(metrics(), accuracy)
    line, end = figure.data
    assert line.error_y.array is None  # earlier evaluations kept no rewards of single pairs
    assert end.y[0] - end.error_y.arrayminus[0] == pytest.approx(accuracy["ci_low"])
    assert accuracy["ci_low"] < 0.5 < wilson_interval(70, 100)[0]
    assert "0.70 [0.34, 0.91], not distinguishable from chance" in title(figure)
    assert ".70 [.34, .91]" in dpo_findings(metrics(), accuracy)


def test_figures_claim_of_another_loss_only_what_holds_for_it() -> None:
    """IPO's loss starts at 25, SimPO's rewards are no log-ratios and order pairs at step 0."""
    rows = [row | {"loss": row["loss"] + 24, "rewards/accuracies": 0.6} if "loss" in row else row
            for row in metrics()]
    assert "ln 2" not in figures.dpo_loss_figure(rows).to_json()
    assert "ln 2" in figures.dpo_loss_figure(metrics()).to_json()
    assert "step 0" not in figures.accuracy_figure(rows).to_json()
    assert "without a reference" in figures.rewards_figure(rows, "simpo").to_json()
    assert "beta times the log-ratio" in figures.rewards_figure(rows, "odpo").to_json()
    assert "it starts at 24.693" in dpo_findings(rows)


def test_an_accuracy_without_the_rewards_of_its_pairs_has_no_interval() -> None:
    figure = figures.accuracy_figure(metrics())
    assert "ends at 0.70, without an interval" in title(figure)
    assert all(trace.error_y.array is None for trace in figure.data)


@pytest.mark.parametrize("figure", [
    figures.accuracy_figure(metrics()), figures.sample_quality_figure({"a run": metrics()})])
def test_accuracy_is_shown_from_step_0_where_it_is_0(figure: go.Figure) -> None:
    assert (figure.data[0].x[0], figure.data[0].y[0]) == (0, 0)


@pytest.mark.parametrize(("steps", "smoothing"), [(0, 0), (5, 0.5), (18, 0.78), (95, 0.95),
                                                  (2000, 0.95)])
def test_smoothing_lags_at_most_a_fifth_of_the_run_and_is_the_papers_where_that_allows(
        steps: int, smoothing: float) -> None:
    assert smoothing_for(steps) == smoothing
    assert smoothing / (1 - smoothing) <= steps / 5 + 1e-9


def test_the_legend_says_how_much_a_curve_is_smoothed() -> None:
    assert figures.dpo_loss_figure(metrics()).data[1].name == "loss (training, smoothed by 0.5)"


def test_displacement_is_drawn_as_a_change_with_an_interval_at_the_end() -> None:
    changes = [{"side": "chosen", "change": -4.0, "change_low": -5.0, "change_high": -3.5},
               {"side": "rejected", "change": -9.0, "change_low": -9.5, "change_high": -8.0}]
    chosen, _, _, end = figures.displacement_figure(metrics(), changes).data
    assert list(chosen.y) == pytest.approx([0, -1, -2, -3, -4])
    assert (end.x[0], end.y[0], end.error_y.array[0]) == (4, -9, 1)


def test_each_kind_of_rows_has_its_own_panel_and_only_its_own_limit_cuts_it() -> None:
    figure = token_lengths_figure({"SFT conversations": ([100, 300, 600], 512),
                                   "pairs": ([600, 700, 900], 1024)})
    assert title(figure) == "1 of 3 SFT conversations are longer than their limit and cut"
    assert [trace.xaxis for trace in figure.data] == ["x", "x2"]
    assert "n = 3, limit 1,024, 0 longer" in figure.layout.annotations[1].text
    [line] = figure.layout.shapes
    assert (line.x0, line.xref) == (512, "x")


def test_the_warning_figure_shows_a_falling_score_beside_a_good_accuracy() -> None:
    figure = figures.sample_quality_figure({"written": metrics(score_end=1.0),
                                            "on-policy": metrics()})
    assert "written: accuracy 0.70, the answers' score goes from 2.00 to 1.00" in title(figure)
    assert "on-policy: accuracy 0.70, the answers' score goes from" in title(figure)
    assert len(figure.data) == 6


@pytest.mark.parametrize(("shifts", "what"), [
    ([-1.0, -1.2, -0.8, -1.1], "falls"), ([1.0, 1.2, 0.8, 1.1], "rises"),
    ([-1.0, 1.2, -0.8, 1.1], "is not shown to change"),
    ([None, -1.2, -0.8, -1.1], "falls")])
def test_what_fresh_answers_show_is_told_by_the_interval_of_the_change(
        shifts: list[float | None], what: str) -> None:
    before = [0.1, 2.0, -1.0, 0.5]
    after = [None if shift is None else start + shift
             for start, shift in zip(before, shifts, strict=True)]
    rows = [row for row in metrics() if row["split"] != "samples"] + [
        {"step": step, "split": "samples", "n": 4, "repetition": 0.1, "repetitions": [0, 0, 0, 0.4],
         "judge_score": np.mean([score for score in scores if score is not None]),
         "judge_scores": scores} for step, scores in ((0, before), (10, after))]
    figure = figures.sample_quality_figure({"DPO": rows})
    assert f"accuracy 0.70, the answers' score {what} (" in title(figure)
    assert "95 % intervals" in subtitle(figure)
    _, judged, repeated = figure.data
    for line in (judged, repeated):
        assert all(end > 0 for end in (*line.error_y.array, *line.error_y.arrayminus))


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
    assert "by the judge, 100% by the selector" in title(figure)
    assert "n = 20 held-out prompts, all pairs of answers, ties" in subtitle(figure)
    read = figures.win_rates_figure([*rows, rows[0] | {"judge": "blind reader"}])
    assert "all pairs of answers (by the blind reader: single answers)" in subtitle(read)
    paper = figure.data[-1]
    assert list(paper.x) == [paper_row("sft", "base")["win_rate"],
                             paper_row("dpo+bon4@0.25", "sft")["win_rate"],
                             paper_row("dpo+bon4@1", "sft")["win_rate"]]


def test_the_title_names_every_judge_that_was_given_and_rates_without_an_interval_are_drawn(
) -> None:
    row = {"a": "sft+bon4@0.6", "b": "sft", "n": 64, "ci_low": 0.5, "ci_high": 0.7}
    rows = [row | {"judge": "selector", "win_rate": 0.8, "ci_low": None, "ci_high": None},
            row | {"judge": "judge", "win_rate": 0.69}, row | {"judge": "reader", "win_rate": 0.6}]
    figure = figures.win_rates_figure(rows)
    assert "80% by the selector, 69% by the judge, 60% by the reader" in title(figure)
    assert figure.data[0].error_x.array == (None,)
    assert "Win rates with their intervals" in title(figures.win_rates_figure(rows[:1]))


def test_the_temperature_curve_names_the_best_and_whether_it_is_clear() -> None:
    figure = figures.temperature_figure(win_rows())
    assert "DPO best of 4 (T\u00a00.25) does best of 2 temperatures" in title(figure)
    assert "overlaps all others" in title(figure)
    assert figure.data[-1].name == "the paper"
    assert "No comparison" in title(figures.temperature_figure([]))


def test_the_best_of_n_figure_has_the_line_of_any_selector_by_its_own_scores() -> None:
    curves = {"selector": [{"n": n, "value": n / (n + 1)} | ENDS for n in (1, 2, 4)],
              "judge": [{"n": n, "value": 0.5} | ENDS for n in (1, 2, 4)]}
    figure = figures.best_of_n_figure(curves)
    assert list(figure.data[-1].y) == pytest.approx([0.5, 2 / 3, 0.8])
    assert ("80% by the selector itself and 50% by the judge; a picker of noise wins 80% by its "
            "own scores" in title(figure))


def test_a_picker_of_noise_is_drawn_beside_what_it_says_of_itself() -> None:
    wins = [{"n": n, "value": 0.5} | ENDS for n in (1, 2, 4)]
    figure = figures.best_of_n_figure({"picker of noise": wins})
    assert [trace.name for trace in figure.data] == [
        "picker of noise", "n / (n + 1): a picker of noise, by its own scores"]
    assert "wins 50% by the picker of noise; a picker of noise wins 80% by its own" in title(figure)


def test_text_figures_name_the_most_repetitive() -> None:
    systems = {"loopy": [response(0, "again " * 40, 1.0)], "terse": [response(0, "Yes.", 1.0)]}
    assert title(figures.text_metrics_figure(text_metrics_by_system(systems))).startswith("loopy")
    assert title(figures.data_mix_figure(systems)) == "2 rows from 1 source"


def test_a_system_whose_answers_are_too_short_to_repeat_has_no_bar_and_is_not_the_least() -> None:
    terse = [response(0, "Yes.", 1.0)]
    metrics = text_metrics_by_system({"terse": terse, "loopy": [response(0, "again " * 40, 1.0)],
                                      "varied": [response(0, "one two three four five", 1.0)]})
    figure = figures.text_metrics_figure(metrics)
    assert figure.data[0].x[0] is None
    assert title(figure).endswith("varied least (0.0%)")
    assert title(figures.text_metrics_figure(text_metrics_by_system({"terse": terse}))) == (
        "No answer has the four words that a repetition takes")


def test_names_with_markup_are_shown_not_run() -> None:
    figure = style_figure(go.Figure(), "<script>alert(1)</script>", "n < 3", "x", "y")
    assert "&lt;script&gt;" in figure.layout.title.text
    assert figure.layout.title.subtitle.text == "n &lt; 3"


def test_a_role_has_one_colour_in_every_figure() -> None:
    rows = win_rows()
    ratings = [{"system": "sft", "judge": judge, "elo": 1, "elo_low": 0, "elo_high": 2}
               for judge in ("judge", "selector")]
    curves = {judge: [{"n": 1, "value": 0.5} | ENDS] for judge in ("judge", "selector")}
    for figure in (figures.win_rates_figure(rows), figures.ratings_figure(ratings),
                   figures.temperature_figure(rows), figures.best_of_n_figure(curves)):
        colours = {trace.name.split(" (")[0]: trace.marker.color for trace in figure.data}
        assert {name: colours[name] for name in ("judge", "selector")} == {
            name: LOOKS[name][0] for name in ("judge", "selector")}


@pytest.mark.parametrize("page", ["#FFFFFF", "#111111"])
def test_the_colours_of_data_stand_out_on_a_white_and_on_a_black_page(page: str) -> None:
    for colour, _ in (*LOOKS.values(), *OTHERS):
        light, dark = sorted((luminance(colour), luminance(page)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 3, colour


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(colour[place:place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
              for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_figure_says_how_high_it_is_and_titles_fit_a_narrow_window() -> None:
    finding = "A finding that goes on and on " * 6
    short, long = (style_figure(go.Figure(), text, "n", "x", "y") for text in ("A", finding))
    assert long.layout.height - long.layout.margin.t == short.layout.height - short.layout.margin.t
    lines = long.layout.title.text.split("<br>")
    assert len(lines) > 1
    assert max(map(len, lines)) <= 66
    assert long.layout.margin.t > short.layout.margin.t


def test_names_of_systems_can_be_read() -> None:
    assert readable("dpo") == "DPO"
    assert readable("dpo+bon4@0.6") == "DPO best of 4 (T\u00a00.6)"
    assert readable("sft+random4@1") == "SFT random pick of 4 (T\u00a01)"
    assert readable("<b>") == "&lt;b&gt;"
