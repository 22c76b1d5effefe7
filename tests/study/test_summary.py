"""The last lines of a run: the main result with n and interval, the times, and where to look."""

from pathlib import Path

import pytest

from lib.runtime.files import write_json, write_text
from lib.study.run import Study, open_study
from lib.study.summary import summary

RATES = {"selector": (0.79, 0.7, 0.86), "judge": (0.68, 0.55, 0.8)}


def row(judge: str, rate: float, low: float, high: float, **more: object) -> dict:
    return {"a": "dpo+bon4@0.6", "b": "sft", "judge": judge, "win_rate": rate, "ci_low": low,
            "ci_high": high, "n": 64, "smallest_effect": 0.1, "equivalent_within": 0.2, **more}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return open_study("laptop", str(tmp_path / "run"))


def written(study: Study, rates: dict, **more: object) -> None:
    write_json(study.path("results.json"), {
        "win_rates": [row(judge, *values) for judge, values in rates.items()],
        "timings": [{"stage": name, "seconds": seconds} for name, seconds in (
            ("data", 1.0), ("sft", 61.0), ("dpo", 7100.0), ("results", 30.0))], **more})


def test_a_run_ends_with_its_main_result_its_times_and_where_to_look(study: Study) -> None:
    written(study, RATES)
    for name in ("05_analysis.html", "figures/compare.html"):
        write_text(study.path(*name.split("/")), "")
    lines = summary(study, {"01_data": 5.0, "03_dpo": 7300.0, "04_best_of_n": 0.0},
                    {"03_dpo": 6000.0}).splitlines()
    assert lines[:4] == [
        "main result: dpo+bon4@0.6 against sft wins .68 [.55, .80] of the comparisons by the judge "
        "(n = 64 prompts, 95 % interval): dpo+bon4@0.6 wins",
        "  by the selector, which chose the answers: .79 [.70, .86] (n = 64)",
        "done in 2 h 01 min: 01_data 5 s, 03_dpo 2 h 01 min (planned 1 h 40 min)",
        "longest stages: dpo 1 h 58 min, sft 1 min 01 s, results 30 s"]
    assert [line.split(": ")[0].rsplit("/", 1)[-1] for line in lines[4:]] == [
        "open", "05_analysis.html", "compare.html", "results.json", "run"]
    assert len(lines) <= 12


def test_a_null_result_is_told_as_one(study: Study) -> None:
    written(study, {"judge": (0.52, 0.45, 0.59)})
    assert "undecided: n = 64 sees effects of at least .10; they differ by at most .20" in (
        summary(study, {}, {}))


def test_the_runs_own_reader_speaks_first(study: Study) -> None:
    written(study, RATES, reader={"same_answers": [row("reader", 0.56, 0.47, 0.65)]})
    first, second, third, *_ = summary(study, {}, {}).splitlines()
    assert "wins .56 [.47, .65] of the comparisons by the reader" in first
    assert "by the judge" in second
    assert "by the selector" in third


def test_numbers_of_a_random_model_are_said_to_mean_nothing(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path))
    written(study, RATES)
    assert "a random model, so it means nothing" in summary(study, {}, {}).splitlines()[0]


def test_a_run_of_some_notebooks_has_no_result_yet(study: Study) -> None:
    lines = summary(study, {"01_data": 5.0}, {"01_data": 4.0}).splitlines()
    assert lines[0] == "done in 5 s: 01_data 5 s (planned 4 s)"
    assert lines[1] == "open"


def test_a_run_with_nothing_to_do_says_so(study: Study) -> None:
    written(study, RATES)
    assert "done in 0 s: every notebook was up to date" in summary(study, {"01_data": 0.0}, {})
