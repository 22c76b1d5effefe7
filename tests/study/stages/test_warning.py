"""The warning's four runs differ in pairs and learning rate only."""

from pathlib import Path

import pytest

from lib.data.schema import prompt_text
from lib.runtime.files import read_jsonl
from lib.study.run import open_study
from lib.study.stages import warning
from lib.study.stages.warning import pairs_of_same_prompts, run_warning, warning_cells


def pair(prompt: str, chosen: str, gap: float | None) -> dict:
    return {"id": f"{prompt}{chosen}", "prompt": [{"role": "user", "content": prompt}],
            "chosen": chosen, "rejected": "no", "source": "s",
            "score_chosen": None if gap is None else gap,
            "score_rejected": None if gap is None else 0.0}


def test_both_kinds_have_one_pair_for_each_of_the_same_prompts() -> None:
    own = [pair("a", "x", 1.0), pair("a", "y", 3.0), pair("b", "x", 2.0), pair("c", "x", 1.0)]
    written = [pair("c", "w", None), pair("a", "w", None), pair("d", "w", 9.0)]
    first, second = pairs_of_same_prompts(own, written, None, 0)
    assert [(prompt_text(row), row["chosen"]) for row in first] == [("a", "y"), ("c", "x")]
    assert [(prompt_text(row), row["chosen"]) for row in second] == [("a", "w"), ("c", "w")]
    assert len(pairs_of_same_prompts(own, written, 1, 0)[0]) == 1
    assert pairs_of_same_prompts(own, [], 1, 0) == ([], [])


def test_a_pair_of_which_one_score_is_missing_is_not_taken_for_a_wide_one() -> None:
    half = pair("a", "half", 8.0) | {"score_rejected": None}
    first, _ = pairs_of_same_prompts([half, pair("a", "whole", 1.0)], [pair("a", "w", None)], 1, 0)
    assert [row["chosen"] for row in first] == ["whole"]


@pytest.mark.parametrize("lacks", [
    {"preferences": []}, {"preferences_validation": []}, {"other_pairs": []},
    {"other_validation": []}, {"other_validation": [pair("another", "w", None)]}])
def test_without_pairs_of_both_kinds_of_some_prompt_no_run_is_made(
        lacks: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def parts(study: object, part: str, chosen: bool = True) -> list:
        return lacks.get(part, [pair("a", "x", 1.0)])
    monkeypatch.setattr(warning, "load_part", parts)
    monkeypatch.setattr(warning, "probe_prompts", lambda study: ["one"])
    assert run_warning(open_study("smoke", str(tmp_path / "run"))) == {}
    assert not (tmp_path / "run").exists()


def test_the_laptop_compares_its_own_rate_with_a_higher_one(tmp_path: Path) -> None:
    cells = warning_cells(open_study("laptop", str(tmp_path)))
    assert cells == {"on_policy_low": ("on_policy", 2e-5), "on_policy_high": ("on_policy", 1e-4),
                     "written_low": ("written", 2e-5), "written_high": ("written", 1e-4)}


@pytest.mark.slow
def test_the_four_runs_share_start_steps_and_prompts_and_keep_no_model(smoke_run: Path) -> None:
    study = open_study("smoke", str(smoke_run))
    runs = {cell: read_jsonl(study.path("warning", cell, "metrics.jsonl"))
            for cell in warning_cells(study)}
    starts = [next(row for row in rows if row["split"] == "samples") for rows in runs.values()]
    assert all(start == starts[0] for start in starts)
    assert len({rows[-1]["step"] for rows in runs.values()}) == 1
    assert starts[0] == next(row for row in read_jsonl(study.path("dpo", "metrics.jsonl"))
                             if row["split"] == "samples")  # the same model, prompts and stream
    assert not list(study.path("warning").glob("*/model"))
