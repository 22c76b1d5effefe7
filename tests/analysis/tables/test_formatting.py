"""How numbers and text are written: one style, no mail links, nothing hostile alive."""

import re

import numpy as np
import pytest
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from lib.analysis import tables
from lib.analysis.tables import findings
from lib.analysis.tables.formatting import (
    as_markdown,
    conclusion,
    format_number,
    html_table,
    markdown_table,
    shown_answer,
)
from lib.data.layouts.reading import Reading
from lib.data.schema import convert, sft_row

REPORT = {part: {"rows": 1300, "kept": 1200, "dropped": {"near_duplicate": 100}, "truncated": 3,
                 "lost_end": 2, "read_as": {"ShareGPT": 1300}, "examples": {},
                 "columns": {"ShareGPT": ["conversations", "id"]}}
          for part in ("sft", "preferences", "heldout")} | {
    "rows": {"sft": 1000, "sft_validation": 200, "preferences": 900,
             "preferences_validation": 100, "heldout": 200},
    "overlap": {"train": 1900, "heldout": 200, "exact": [[3, 4]], "near": []}}
RATES = [{"a": "dpo+bon4@0.6", "b": "sft+bon4@1", "judge": judge, "n": 1200, "win_rate": 0.625,
          "ci_low": 0.55, "ci_high": 0.7} for judge in ("selector", "judge")]
SAMPLES = [{"split": "samples", "step": step, "n": 32, "judge_score": 0.5 - step,
            "judge_scores": [0.25 - step, 0.75 - step], "repetition": 0.02,
            "repetitions": [0.0, 0.04]} for step in (0, 1)]
METRICS = [*SAMPLES, {"split": "train", "num_tokens": 12_000}, *(
    {"split": "validation", "step": step, "n": 138, "loss": 0.693 - step / 10,
     "rewards/margins": 0.2, "rewards/chosen": 0.1, "rewards/rejected": -0.1} for step in (0, 1))]


@pytest.mark.parametrize(("low", "high", "within", "said"), [
    (0.52, 0.61, 0.1, "dpo wins"), (0.41, 0.48, 0.1, "sft wins"), (0.46, 0.53, 0.05, "even: "),
    (0.46, 0.54, 0.06, "undecided: "), (0.5, 0.6, 0.09, "undecided: ")])
def test_a_comparison_is_won_or_even_within_five_points_or_undecided(
        low: float, high: float, within: float, said: str) -> None:
    row = {"a": "dpo", "b": "sft", "n": 200, "win_rate": 0.5, "ci_low": low, "ci_high": high,
           "smallest_effect": 0.07, "equivalent_within": within}
    assert conclusion(row).startswith(said)
    assert conclusion(row | {"holm_p": 0.2}).endswith(
        "but not after Holm's correction") == ("wins" in said)


@pytest.mark.parametrize(("value", "shown"), [
    (0.625, ".62"), (-0.06, "-.06"), (-0.001, ".00"), (1.0, "1.00"), (0, "0"), (321, "321"),
    (321.0, "321"),
    (12_345.6, "12,346"), (np.int64(1200), "1,200"), (np.float64(0.5), ".50"), (None, "–")])
def test_a_rate_has_two_decimals_and_no_zero_and_a_count_has_none(
        value: float | None, shown: str) -> None:
    assert format_number(value) == shown
    assert markdown_table([{"x": value}], {"x": "x"}).splitlines()[2] == f"| {shown} |"


def test_findings_and_tables_write_no_zero_before_the_point_and_no_percent() -> None:
    curves = [{"policy": "dpo", "temperature": 1, "judge": judge, "n": 4, "value": 0.75,
               "ci_low": 0.6, "ci_high": 0.9} for judge in ("selector", "judge")]
    costs = [{"pool": "dpo@0.6", "tokens": 1300.4, "gain": 0.2, "ci_low": -0.1, "ci_high": 0.4,
              "n": 4}]
    accuracy = {"accuracy": 0.63, "ci_low": 0.53, "ci_high": 0.73, "n": 1380}
    said = [findings.sft_findings(METRICS),
            findings.dpo_findings(METRICS, accuracy), findings.analysis_findings(RATES),
            findings.best_of_n_findings(curves, costs),
            findings.confound(RATES, "dpo+bon4@0.6", "sft+bon4@1"),
            tables.kept_rows_table(REPORT), tables.overlap_table(REPORT["overlap"]),
            tables.layouts_table(REPORT), tables.left_out_table(REPORT)]
    for text in said:
        words = re.sub(r"`[^`]*`", "", text)  # a name holds its temperature as it is
        assert not re.search(r"(?<![\d.])0\.\d|\d ?%|\d{4}|\d\d\.0+\b", words), words


@pytest.mark.parametrize("text", [
    markdown_table(RATES, {"a": "a", "x@y": "b"}), findings.analysis_findings(RATES),
    findings.confound(RATES, "dpo+bon4@0.6", "sft+bon4@1"),
    tables.systems_table(["sft", "sft+random4@0.25", "dpo+bon4@1e-05"]),
    tables.sources_table([row | {"source": "a@b.c"} for row in RATES], "dpo+bon4@0.6",
                         "sft+bon4@1")])
def test_no_name_of_a_system_becomes_a_mail_link(text: str) -> None:
    assert "@" not in re.sub(r"`[^`]*`", "", text)  # JupyterLab links any bare address
    page = markdown2html_mistune(text)
    assert "mailto" not in page
    assert "<code>" in page


def test_an_address_that_is_code_already_stays_as_it_is() -> None:
    assert as_markdown("`dpo+bon4@0.6` beats (sft+bon4@1).") == (
        "`dpo+bon4@0.6` beats (`sft+bon4@1`).")


@pytest.mark.parametrize("hostile", [
    "<script>alert(1)</script>", "</td><img src=x onerror=alert(1)>", "[x](javascript:alert(1))",
    "a|b\n| c | d |"])
def test_hostile_text_in_a_cell_stays_text(hostile: str) -> None:
    rows = [{"x": hostile}]
    page = markdown2html_mistune(markdown_table(rows, {"x": "x"}))
    assert page.count("<td>") == 1
    for alive in ("<script", "<img", "href="):
        assert alive not in page
        assert alive not in html_table(rows, {"x": "x"})


def test_an_answer_that_was_cut_ends_with_an_ellipsis_and_says_so() -> None:
    answer = {"text": "It is the ", "tokens": 80, "finish": "length"}
    assert shown_answer(answer) == "It is the… (cut at 80 tokens)"
    assert shown_answer(answer | {"finish": "stop"}) == "It is the "


@pytest.mark.parametrize(("low", "high", "verb"), [
    (0.53, 0.73, "excludes"), (0.3, 0.45, "excludes"), (0.4, 0.6, "includes")])
def test_an_accuracy_below_chance_excludes_it_as_one_above_it_does(
        low: float, high: float, verb: str) -> None:
    accuracy = {"accuracy": (low + high) / 2, "ci_low": low, "ci_high": high, "n": 138}
    assert f"and {verb} .50" in findings.dpo_findings(METRICS, accuracy)


def test_the_rows_that_were_kept_and_the_overlap_are_tables() -> None:
    assert ("| SFT conversations | 1,300 | 1,200 | 100 near duplicate | 3 | 2 | 1,000 to train, "
            "200 to validate |") in tables.kept_rows_table(REPORT)
    assert "| held-out prompts | 1,300 | 1,200 | 100 near duplicate | 3 | 2 | 200 |" in \
        tables.kept_rows_table(REPORT)
    assert "| 1,900 | 200 | 1 | 0 |" in tables.overlap_table(REPORT["overlap"])


def test_the_layouts_of_files_and_the_first_row_left_out_are_shown() -> None:
    assert "| SFT conversations | ShareGPT | 1,300 | conversations, id |" in \
        tables.layouts_table(REPORT)
    assert tables.left_out_table(REPORT) == "No row is left out."
    left = REPORT["sft"] | {"dropped": {"unusable": 2}, "examples": {"unusable": "a.jsonl, row 3"}}
    assert "| SFT conversations | unusable | 2 | a.jsonl, row 3 |" in tables.left_out_table(
        REPORT | {"sft": left})


def test_what_stands_beside_a_text_is_shown_with_its_count_and_the_first_row() -> None:
    reading, thought = Reading(), {"role": "assistant", "content": "a", "thinking": "hm"}
    convert([{"messages": [{"role": "user", "content": "q"}, thought]}], sft_row, "my.jsonl",
            reading=reading)
    report = REPORT | {"sft": reading.added_to(REPORT["sft"])}
    assert ("| SFT conversations | thinking, beside the text | 1 | my.jsonl, row 1 |"
            in tables.left_out_table(report))


def test_the_report_of_an_earlier_version_has_no_layouts() -> None:
    old = {part: {"dropped": {}} for part in ("sft", "preferences", "heldout")}
    assert tables.layouts_table(old) == "No file was read."
    assert tables.left_out_table(old) == "No row is left out."


def test_the_table_of_systems_says_whose_answer_it_is_and_who_picked_it() -> None:
    table = tables.systems_table(["dpo", "sft+bon4@0.6", "sft+random4@0.6"])
    assert "| dpo | one answer of the SFT model after Direct Preference Optimization |" in table
    assert ("| `sft+bon4@0.6` | of 4 answers of the model after supervised fine-tuning, sampled at "
            "T = 0.6, the one that the selector scores highest |") in table
    assert "one picked at random, as a control" in table


def test_every_table_says_in_its_first_line_what_to_look_at() -> None:
    for name in tables.__all__:
        if name.endswith("_table") and name != "markdown_table":
            assert "look" in getattr(tables, name).__doc__.splitlines()[0], name
