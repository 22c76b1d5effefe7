"""The table of arms is made from the report alone, and says what an arm's own objective did."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from lib.data.parquet import read_parquet, write_parquet
from lib.data.schema import prompt_text
from lib.modeling.loading import load_model
from lib.modeling.smoke import smoke_model
from lib.runtime.files import Row, append_jsonl, read_jsonl
from lib.study.beyond.catalogue import ARMS
from lib.study.profiles import load_profile
from lib.study.run import Study
from lib.study.stages.data import load_part
from lib.training.job import Job, set_up
from lib.training.processes import ALONE
from lib.training.settings import DPOSettings
from tests.bench import arms, arms_table, readme


def line(arm: str, before: list[float], after: list[float], sign: int = -1) -> Row:
    return {"arm": arm, "steps": 12, "trained_tokens": 10_000, "seconds": 60, "found": [
        {"objective": "loss", "name": "training", "sign": sign, "weights": [1.0] * len(before),
         "before": before, "after": after}]}


def cells(lines: list[Row], arm: str) -> list[str]:
    """The cells of an arm's row of the printed table."""
    row = next(row for row in arms_table.arms_table(lines).splitlines()
               if row.startswith(f"| {arm} |"))
    return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.mark.parametrize(("change", "sign", "says"), [
    (-0.1, -1, "moved"), (0.1, -1, "moved the wrong way"), (0.1, 1, "moved"),
    (-0.1, 1, "moved the wrong way"), (0.0, -1, "undecided"), (0.0, 1, "undecided")])
def test_a_loss_should_fall_a_score_should_rise_and_an_interval_with_zero_decides_nothing(
        change: float, sign: int, says: str) -> None:
    after = [1 + change + (-1) ** number * 0.05 for number in range(40)]
    row = cells([line("simpo", [1.0] * 40, after, sign)], "simpo")
    assert row[5:] == ["40", says, "12", "10,000", "60"]
    assert row[2:4] == ["1.000", f"{1 + change:.3f}".replace("0.", ".", 1)]


def test_the_table_names_the_arms_that_have_not_run() -> None:
    some = [line(name, [1.0] * 8, [0.5] * 8) for name in ARMS if name not in ("dice", "raft")]
    assert arms_table.arms_table(some).endswith("\n\nNot yet asked: dice, raft.")
    every = [*some, line("dice", [1.0], [0.5]), line("raft", [1.0], [0.5])]
    assert "Not yet asked" not in arms_table.arms_table(every)


def test_the_pages_tables_are_those_of_the_recorded_reports() -> None:
    page = readme.PAGE.read_text(encoding="utf-8")
    for name, table in readme.tables().items():
        assert readme.put(page, name, table) == page


def test_a_mean_is_over_all_that_the_prompts_weigh_and_its_interval_over_prompts() -> None:
    moved = arms_table.change([1.0, 0.0], [0.0, 0.0], [3.0, 1.0])
    assert (moved["change"], moved["low"], moved["high"]) == (0.75, 0.0, 1.0)


@pytest.mark.parametrize(("gap", "says"), [(-0.2, "beats cdpo: -.200"),
                                           (0.2, "does not beat cdpo: .200")])
def test_flipped_labels_are_held_against_the_same_loss_with_its_labels_as_they_were(
        gap: float, says: str) -> None:
    clean, flipped = (line(name, [1.0] * 8, [0.5 + extra] * 8)
                      for name, extra in (("cdpo", 0.0), ("cdpo_flipped20", gap)))
    assert cells([clean, flipped], "cdpo_flipped20")[6].startswith(says)
    assert cells([flipped], "cdpo_flipped20")[6] == "cdpo has not run"


@pytest.mark.parametrize(("after", "says"), [(0.9, ", beats SFT"), (1.1, ", does not beat SFT")])
def test_random_labels_are_held_against_the_start_too(after: float, says: str) -> None:
    lines = [line("offline_dpo", [1.0] * 8, [0.5] * 8), line("random_labels", [1.0] * 8,
                                                             [after] * 8)]
    assert cells(lines, "random_labels")[6].endswith(says)


def test_every_arm_is_asked_by_an_arm_that_trains_on_labels_as_they_are_at_a_rate_of_its_own(
        ) -> None:
    for arm in ARMS.values():
        asked = arms_table.without(arm)
        assert asked.function.split(":")[1] not in arms_table.AS_WITHOUT
        losses = [dict(each.options).get("loss", "dpo") for each in (asked, arm)]
        assert losses[0] == losses[1], arm.name


@pytest.mark.parametrize("given", ["raftt", "raft,", "raft,dpo ", "ALL"])
def test_an_unknown_arm_is_refused_before_anything_is_made(
        given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["arms.py", "--arms", given, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        arms.main()
    assert f"--arms has {given.split(',')[-1]!r}; use all, or some of offline_dpo" in \
        capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def report(path: Path, settings: Row) -> None:
    append_jsonl(path, {"settings": settings, "longest": arms.LONGEST, "pairs": "written"})
    append_jsonl(path, line("simpo", [1.0] * 8, [0.5] * 8))


def test_a_finished_arm_is_not_trained_again(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    report(tmp_path / "arms.jsonl", arms.SETTINGS)
    monkeypatch.setattr("sys.argv", ["arms.py", "--arms", "simpo", "--out",
                                     str(tmp_path / "arms.jsonl")])
    arms.main()
    assert "| simpo | loss | 1.000 | .500 | -.500 [-.500, -.500] | 8 | moved |" in \
        capsys.readouterr().out
    assert len(read_jsonl(tmp_path / "arms.jsonl")) == 2


def test_arms_of_two_budgets_never_stand_in_one_report(tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    report(tmp_path / "arms.jsonl", arms.SETTINGS | {"beyond.trained_tokens": 5})
    monkeypatch.setattr("sys.argv", ["arms.py", "--out", str(tmp_path / "arms.jsonl")])
    with pytest.raises(SystemExit, match="was made with .*choose another --out"):
        arms.main()


@pytest.mark.parametrize(("loss", "start"), [("dpo", 0.693147), ("ipo", 25.0), ("simpo", None)])
def test_a_model_that_has_not_moved_has_the_loss_of_no_movement_on_every_prompt(
        loss: str, start: float | None, tmp_path: Path) -> None:
    rows = [{"id": f"{number}", "source": "s", "chosen": "Because it is so.",
             "prompt": [{"role": "user", "content": "Why?" * number}], "rejected": "No." * number,
             "score_chosen": 2.0, "score_rejected": 1.0, "cut_off_chosen": False,
             "cut_off_rejected": False} for number in range(1, 6)]
    write_parquet(rows, tmp_path / "rows.parquet")
    objective = arms.objective_of(set_up(Job(
        "dpo", str(smoke_model()), str(tmp_path / "rows.parquet"), str(tmp_path / "a" / "b" / "c"),
        settings=DPOSettings(loss=loss), device="cpu", precision="float32"), ALONE))
    losses = arms.mean_losses(load_model(str(smoke_model())), objective)
    if start:
        assert losses == pytest.approx([start] * 5, abs=1e-5)
    assert arms.losses_at_start(objective) == pytest.approx(losses, abs=1e-6)


@pytest.mark.slow
def test_an_arm_is_asked_about_each_of_its_trainings_on_validation_prompts_alone(
        smoke_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "LONGEST", 256)
    folder = shutil.copytree(smoke_run, tmp_path / "run",
                             ignore=shutil.ignore_patterns("arms", "beyond", "dpo", "warning"))
    study = Study(load_profile("smoke"), folder)
    validation = {prompt_text(row) for row in load_part(study, "preferences_validation")}
    names = {"dpo_then_rloo": ["first", "second", "fresh"], "raft": ["round0", "round1", "fresh"],
             "rloo": ["round0", "round1", "fresh"],
             "dpo_plus_rloo": ["training", "fresh"]}
    for name, trainings in names.items():
        found = arms.measured(study, name, arms.PAIRS["own"])["found"]
        assert [row["name"] for row in found] == trainings
        assert all(np.isfinite(row["before"] + row["after"]).all() for row in found)
        rows = read_parquet(study.path("arms", name, "held_out", trainings[0], "rows.parquet"))
        assert {prompt_text({"prompt": row.get("prompt") or row["messages"][:-1]})
                for row in rows} <= validation
        assert not list(study.path("arms", name).glob("*/model"))
