"""What notebooks 01 to 03 teach with: exercises and checks, tables, sources, formulas, answers."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch

from lib import ROOT
from lib.data.chat import encode_conversation
from lib.inference.best_of_n import best_of_n_curve
from lib.study.notebook_views import examples, lessons, show_source
from lib.study.notebook_views.formulas import mathml, typeset
from lib.study.notebooks import export_html
from lib.study.profiles import load_profile
from lib.study.run import Study
from lib.study.stages.data import load_part, prepare_data
from lib.training.losses import dpo_loss
from lib.training.plain import answer_logps, sft_batch_loss, sft_step, token_logps
from lib.training.settings import DPOSettings, SFTSettings

NOTEBOOKS = ROOT / "notebooks"
SOLUTION = re.compile(r"<summary>Solution</summary>\n\n```python\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study(load_profile("smoke"), tmp_path_factory.mktemp("run"))
    prepare_data(study)
    return study


@pytest.fixture
def checks(study: Study) -> dict[str, Callable[[Callable[..., Any]], str]]:
    """Notebook -> its check, which takes a student's function and gives the verdict's text."""
    _, tokenizer = lessons.load_plain_model(study, "base")
    return {"01_data": lambda f: lessons.check_response_mask(f, tokenizer).data,
            "02_sft": lambda f: lessons.check_window_loss(f).data,
            "03_dpo": lambda f: lessons.check_dpo_loss(f).data,
            "04_best_of_n": lambda f: lessons.check_curve(f).data,
            "05_analysis": lambda f: lessons.check_win_rate(f).data,
            "06_beyond_the_paper": lambda f: lessons.check_advantages(f).data,
            "07_appendix": lambda f: lessons.check_kappa(f).data}


def cells(name: str) -> list[dict[str, Any]]:
    return json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]


def function_of(code: str) -> Callable[..., Any]:
    """The one function that a piece of notebook code defines."""
    names: dict[str, Any] = {"np": np}
    exec(code, names)
    return next(value for name, value in names.items() if name.startswith("my_"))


@pytest.mark.parametrize("name", [path.stem for path in sorted(NOTEBOOKS.glob("0*.ipynb"))])
def test_a_notebooks_own_solution_is_right_and_its_empty_exercise_is_not_yet_answered(
        name: str, checks: dict[str, Callable]) -> None:
    texts = ["".join(cell["source"]) for cell in cells(name)]
    solution, = [found for text in texts for found in SOLUTION.findall(text)]
    exercise, = ["".join(cell["source"]) for cell in cells(name)
                 if "exercise" in cell["metadata"].get("tags", [])]
    assert checks[name](function_of(solution)).startswith("**Right:**")
    assert "Yours to write" in checks[name](function_of(exercise))


def test_the_best_of_n_by_hand_is_never_an_answer_without_a_score() -> None:
    line, = [line for cell in cells("04_best_of_n") for line in cell["source"]
             if line.startswith("best = int(")]
    names: dict[str, Any] = {"np": np, "scores": {"selector": [0.1, None, 0.9, 0.3]}}
    exec(line, names)
    assert names["best"] == 2


def flat(pieces: list, learned: tuple[str, ...]) -> list[int]:
    return [int(kind in learned) for kind, ids in pieces for _ in ids]


@pytest.mark.parametrize(("answer", "reason"), [
    (lambda pieces: flat(pieces, ("answer",)), "never stops"),
    (lambda pieces: flat(pieces, ("prompt",)), "the other way round"),
    (lambda pieces: flat(pieces[:3], ("answer", "end of turn")), "entries"),
    (lambda pieces: flat(pieces, ("answer", "end of turn", "prompt")), "token 0")])
def test_a_wrong_mask_is_told_what_is_wrong(answer: Callable, reason: str,
                                            checks: dict[str, Callable]) -> None:
    verdict = checks["01_data"](answer)
    assert verdict.startswith("**Not yet:**")
    assert reason in verdict


@pytest.mark.parametrize(("answer", "reason"), [
    (lambda batches: np.mean([-(p * m).sum() / m.sum() for p, m in batches]), "lonely token"),
    (lambda batches: sum((p * m).sum() for p, m in batches) / 4, "sign"),
    (lambda batches: -sum((p * m).sum() for p, m in batches), "divide"),
    (lambda batches: -sum((p * m).sum() for p, m in batches) / 6, "prompt tokens"),
    (lambda batches: 1.0, "it gives 1.0")])
def test_a_wrong_sft_loss_is_told_what_is_wrong(answer: Callable, reason: str,
                                                checks: dict[str, Callable]) -> None:
    verdict = checks["02_sft"](answer)
    assert verdict.startswith("**Not yet:**")
    assert reason in verdict


@pytest.mark.parametrize(("answer", "reason"), [
    (lambda a, b, c, d, beta: dpo_loss(a, b, 0 * c, 0 * d, beta), "reference"),
    (lambda a, b, c, d, beta: dpo_loss(b, a, d, c, beta), "exchanged"),
    (lambda a, b, c, d, beta: dpo_loss(a, b, c, d, 1.0), "beta"),
    (lambda a, b, c, d, beta: np.exp(-dpo_loss(a, b, c, d, beta)), "logarithm"),
    (lambda a, b, c, d, beta: -dpo_loss(a, b, c, d, beta), "sign"),
    (lambda a, b, c, d, beta: dpo_loss(a, b, c, d, beta).mean(), "mean")])
def test_a_wrong_dpo_loss_is_told_what_is_wrong(answer: Callable, reason: str,
                                                checks: dict[str, Callable]) -> None:
    verdict = checks["03_dpo"](answer)
    assert verdict.startswith("**Not yet:**")
    assert reason in verdict


def test_packed_and_padded_answers_of_real_rows_have_equal_log_probs(study: Study) -> None:
    model, tokenizer = lessons.load_plain_model(study, "base")
    encoded = [encode_conversation(tokenizer, row["messages"], 256)
               for row in load_part(study, "sft")[:3]]
    sequences = [(one.input_ids, one.response_mask) for one in encoded]
    with torch.no_grad():
        packed = lessons.packed_answer_logps(model, sequences)
        torch.testing.assert_close(answer_logps(model, sequences), packed, atol=1e-3, rtol=1e-5)


def test_a_policy_has_gained_nothing_over_its_own_copy(study: Study) -> None:
    model, tokenizer = lessons.load_plain_model(study, "base")
    ids = tokenizer.encode("Name a prime number.")
    rows = lessons.log_ratios(model, copy.deepcopy(model), {"chosen": (ids, [0] + [1] * (
        len(ids) - 1))})
    assert rows[0]["answer"] == "chosen"
    assert rows[0]["gained"] == 0
    assert rows[0]["policy"] == rows[0]["reference"] < 0


@pytest.mark.parametrize("rank", [0, 4])
def test_the_lessons_learner_trains_what_the_profile_trains_and_leaves_the_model_alone(
        study: Study, rank: int) -> None:
    model, tokenizer = lessons.load_plain_model(study, "base")
    ids = tokenizer.encode("Name a prime number.")
    sequence = (ids, [1] * len(ids))
    weights = copy.deepcopy(model.state_dict())
    learner = lessons.learner_of(model, SFTSettings(lora_rank=rank))
    trained = sum(p.numel() for p in learner.parameters() if p.requires_grad)
    assert (trained < 0.2 * sum(p.numel() for p in model.parameters())) == bool(rank)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3)
    assert sft_step(learner, optimizer, [sequence]) > sft_batch_loss(learner, [sequence]).item()
    assert all(weights[name].equal(weight) for name, weight in model.state_dict().items())


def test_a_token_table_has_a_row_a_token_with_its_columns(study: Study) -> None:
    model, tokenizer = lessons.load_plain_model(study, "base")
    ids, mask = tokenizer.encode("One line\n"), [0, 1, 1]
    ids = ids[:3]
    with torch.no_grad():
        logps, shifted = token_logps(model, [(ids, mask)])
    rows = lessons.token_rows(tokenizer, ids[1:], shifted[0].tolist(), logp=logps[0].tolist())
    assert [row["id"] for row in rows] == ids[1:]
    assert [row["mask"] for row in rows] == [1, 1]
    assert [row["logp"] for row in rows] == logps[0].tolist()
    assert eval(rows[0]["token"]) == tokenizer.decode([ids[1]])


def test_the_table_of_settings_counts_the_steps_that_training_takes(study: Study) -> None:
    rows = {row["setting"]: row["value"] for row in lessons.training_rows(study, "sft", "sft")}
    count = len(load_part(study, "sft"))
    assert rows["training rows"] == f"{count} (sft)"
    assert rows["optimizer steps"] == -(-count // 8)
    assert "beta" not in rows


@pytest.mark.parametrize(("loss", "beta", "own", "meaning"), [
    ("dpo", "0.1", "dpo, label_smoothing 0.0", "pull towards the reference"),
    ("robust", "0.1", "robust, label_smoothing 0.1", "pull towards the reference"),
    ("simpo", "2", "simpo, gamma_beta_ratio 0.5", "scale of the rewards")])
def test_the_table_of_settings_names_the_loss_and_what_it_reads(
        loss: str, beta: str, own: str, meaning: str, study: Study) -> None:
    dpo = replace(DPOSettings(loss=loss), lora_rank=4, warmup_share=0.5, batch_size=8)
    other = replace(study, profile=replace(study.profile, dpo=dpo))
    rows = {row["setting"]: row for row in lessons.training_rows(other, "dpo", "preferences")}
    assert (rows["beta"]["value"], rows["beta"]["meaning"]) == (beta, meaning)
    assert rows["loss"]["value"] == own
    assert rows["weights"]["value"] == "LoRA of rank 4"
    steps = rows["optimizer steps"]["value"]
    assert rows["schedule"]["value"].startswith(f"up for {-(-steps // 2)} of {steps} steps")


def test_a_shown_source_is_escaped_html_with_its_place_and_plain_text_beside_it(
        monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, str]] = []
    monkeypatch.setattr(show_source, "display", lambda bundle, raw: shown.append(bundle))
    show_source.show_source(dpo_loss, token_logps)
    assert [bundle["text/html"].count("<pre") for bundle in shown] == [1, 1]
    assert re.search(r"lib/training/losses\.py, line \d+", shown[0]["text/html"])
    assert "def dpo_loss(" in shown[0]["text/plain"]
    assert "def</span> dpo_loss(" in shown[0]["text/html"]
    assert show_source.highlighted("x < '<b>'").count("<b>") == 0
    words = re.sub(r"<[^>]+>", "", show_source.highlighted("if x:\n    return 1  # why\n"))
    assert words == "if x:\n    return 1  # why\n"


def test_formulas_become_mathml_and_prices_and_code_stay() -> None:
    text = mathml("From $5 to $6, $x_{<t}$ and `$x$`.\n\n$$\\frac{a}{b}$$\n")
    assert text.count("<math") == 2
    assert text.startswith("From $5 to $6, <math")
    assert "`$x$`" in text


def test_every_formula_of_the_notebooks_can_be_typeset() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        for cell in typeset(nbformat.read(path, as_version=4)).cells:
            if cell.cell_type == "markdown":
                assert "$$" not in cell.source, path.name


def test_an_exported_notebook_shows_its_formulas_without_a_script(tmp_path: Path) -> None:
    path = tmp_path / "lesson.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell("$$\\log\\, \\sigma(z)$$")]), path)
    page = export_html(path).read_text(encoding="utf-8")
    assert "</math>" in page
    assert "$$" not in page[page.index("<main>"):]


def test_answers_are_sampled_once_and_again_when_their_settings_change(
        study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    original = examples.sample

    def counted(*arguments: Any, **options: Any) -> list:
        calls.append(options["description"])
        return original(*arguments, **options)

    monkeypatch.setattr(examples, "sample", counted)
    first = examples.answers_side_by_side(study, ["base"], prompts=2)
    assert examples.answers_side_by_side(study, ["base"], prompts=2) == first
    assert calls == ["base answers"]
    examples.answers_side_by_side(study, ["base"], prompts=1)
    assert len(calls) == 2
    assert all("… (cut at" in row["base"] for row in first)  # 24 tokens were not enough


@pytest.mark.parametrize(("check", "answer", "reason"), [
    (lessons.check_curve, lambda proxy, gold: best_of_n_curve(gold, gold), "the proxy only"),
    (lessons.check_curve, lambda proxy, gold: "high", "no number or list of numbers"),
    (lessons.check_curve, lambda proxy, gold: best_of_n_curve(range(6), gold), "is not sorted"),
    (lessons.check_curve, lambda proxy, gold: best_of_n_curve(-proxy, gold), "the lowest proxy"),
    (lessons.check_curve, lambda proxy, gold: [gold[proxy[:n].argmax()] for n in range(1, 7)],
     "average over all subsets"),
    (lessons.check_win_rate, lambda a, b: (a > b).sum() / 4, "counts half a win, not nothing"),
    (lessons.check_win_rate, lambda a, b: (a >= b).sum() / 4, "not a whole one"),
    (lessons.check_win_rate, lambda a, b: ((a > b) + (a == b) / 2).mean(), "counts them as losses"),
    (lessons.check_win_rate, lambda a, b: ((b > a).sum() + 0.5) / 4, "the other system's win rate"),
    (lessons.check_win_rate, lambda a, b: ((np.sign(a - b) + 1) / 2).mean(), "leave such prompts"),
    (lessons.check_advantages, lambda rewards: rewards - rewards.mean(), "without its own"),
    (lessons.check_advantages, lambda rewards: (rewards.sum() - rewards) / 3, "baseline itself"),
    (lessons.check_advantages, lambda rewards: (rewards.mean() - rewards) * 4 / 3, "the sign"),
    (lessons.check_advantages, lambda rewards: (rewards - rewards.mean()) / rewards.std(ddof=1),
     "GRPO"),
    (lessons.check_advantages, lambda rewards: rewards - (rewards.sum() - rewards) / 4,
     "one less than all"),
    (lessons.check_kappa, lambda a, b: (a == b).mean(), "the plain agreement"),
    (lessons.check_kappa, lambda a, b: (a == b).mean() - 0.53125, "what chance leaves"),
    (lessons.check_kappa, lambda a, b: ((a == b).mean() - 1 / 3) * 1.5, "not one third")])
def test_a_known_mistake_is_named(check: Callable, answer: Callable, reason: str) -> None:
    assert reason in check(answer).data
