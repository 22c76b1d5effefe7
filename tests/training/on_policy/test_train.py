"""A job on scored answers: what is used, what is said, what is refused, and what stays the same."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lib.data.parquet import read_parquet, write_parquet
from lib.data.settings import DataSettings
from lib.data.sources import load_preferences
from lib.modeling.loading import load_model, load_tokenizer
from lib.modeling.smoke import smoke_model
from lib.runtime.files import read_jsonl
from lib.training.job import Job, read_job, write_job
from lib.training.loop import Loop
from lib.training.on_policy import train as stage
from lib.training.on_policy.answers import encode_answers
from lib.training.on_policy.train import train_policy_gradient
from lib.training.settings import PolicyGradientSettings

SETTINGS = PolicyGradientSettings(learning_rate=1e-3, batch_size=4, token_budget=1024,
                                  checkpoint_every=1)


def row(prompt: int, place: int, **fields: Any) -> dict:
    text = " ".join(["blue", "sky", "is", "far"][:place + 1])
    return {"id": f"{prompt}/{place}", "prompt": [{"role": "user", "content": f"Why {prompt}?"}],
            "answer": text, "score": float(prompt + place), "cut_off": False} | fields


ROWS = [row(prompt, place) for prompt in range(4) for place in range(3)]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return job_of(ROWS, tmp_path)


def job_of(rows: list[dict], tmp_path: Path, name: str = "rloo", **fields: Any) -> Job:
    path = tmp_path / f"{name}.parquet"
    write_parquet(rows, path)
    job = Job("policy_gradient", "smoke", str(path), str(tmp_path / name), settings=SETTINGS,
              max_length=128, device="cpu", precision="float32")
    return replace(job, **fields)


def metrics(job: Job, split: str = "train") -> list[dict]:
    return [each for each in read_jsonl(Path(job.folder) / "metrics.jsonl")
            if each["split"] == split]


def weights(name: str) -> dict[str, torch.Tensor]:
    return load_model(name, torch.float32).state_dict()


def encoded(rows: list[dict], **settings: Any) -> Any:
    return encode_answers(rows, load_tokenizer("smoke"), 128, replace(SETTINGS, **settings))


def test_answer_rows_survive_their_file(tmp_path: Path) -> None:
    rows = [row(0, 0, age=0, sft_weight=0.5, old_logps=None),
            row(0, 1, age=2, sft_weight=0.0, old_logps=[-1.5, -0.25], score=None)]
    write_parquet(rows, tmp_path / "a.parquet")
    assert read_parquet(tmp_path / "a.parquet") == rows


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_job_starts_on_policy_and_makes_better_answers_more_likely(job: Job,
                                                                    precision: str) -> None:
    job = replace(job, precision=precision, validation=job.rows,
                  settings=replace(SETTINGS, epochs=6, learning_rate=3e-3))
    train_policy_gradient(job)
    first, *_, last = metrics(job, "validation")
    assert (first["effective_samples"], first["clip_fraction"], first["kl/old"]) == (1, 0, 0)
    assert first["reward"] == pytest.approx(2.5)
    assert last["loss"] < first["loss"] - 0.1
    assert last["kl/reference"] != 0
    assert metrics(job)[0]["effective_samples"] == 1


def test_a_killed_job_goes_on_to_the_same_weights(job: Job, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    job = replace(job, settings=replace(SETTINGS, epochs=2))
    train_policy_gradient(job)
    apply = Loop._apply

    def killed(loop: Loop) -> tuple[float, bool]:
        if loop.step == 4:
            raise KeyboardInterrupt
        return apply(loop)
    again = replace(job, folder=str(tmp_path / "cut"))
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_apply", killed)
        with pytest.raises(KeyboardInterrupt):
            train_policy_gradient(again)
    train_policy_gradient(again)
    whole, resumed = weights(f"{job.folder}/model"), weights(f"{again.folder}/model")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_replayed_answers_of_age_0_are_on_policy_ones(job: Job, tmp_path: Path) -> None:
    """With the log-probabilities that the first run kept, the same weights come out."""
    train_policy_gradient(job)
    kept = {}
    for line in read_jsonl(Path(job.folder) / "old_logps_training.jsonl")[1:]:
        kept |= line["logps"]
    again = job_of([each | {"old_logps": kept[each["id"]]} for each in ROWS], tmp_path, "replay")
    train_policy_gradient(again)
    whole, replayed = weights(f"{job.folder}/model"), weights(f"{again.folder}/model")
    assert all(torch.equal(whole[name], replayed[name]) for name in whole)


def test_an_older_answer_is_weighed_by_its_own_policy(tmp_path: Path) -> None:
    lengths = [len(answer.tokens) for answer in encoded(ROWS).answers]
    job = job_of([each | {"age": 1, "old_logps": [-9.0] * count}
                  for each, count in zip(ROWS, lengths, strict=True)], tmp_path)
    train_policy_gradient(job)
    assert metrics(job)[0]["kl/old"] > 0.1
    assert metrics(job)[0]["effective_samples"] < 1


def test_another_model_can_be_the_reference(job: Job, tmp_path: Path) -> None:
    train_policy_gradient(job)
    again = replace(job, model=f"{job.folder}/model", reference="smoke",
                    folder=str(tmp_path / "second"))
    train_policy_gradient(again)
    assert metrics(again)[0]["effective_samples"] == 1  # still on-policy
    assert abs(metrics(again)[0]["kl/reference"]) > 1e-3
    assert (tmp_path / "second" / "reference_training.jsonl").exists()


def test_pairs_add_their_dpo_loss_to_the_step(job: Job, tmp_path: Path) -> None:
    write_parquet(load_preferences(DataSettings(preference_rows=6), 0), tmp_path / "pairs.parquet")
    job = replace(job, pairs=str(tmp_path / "pairs.parquet"), validation=job.rows)
    train_policy_gradient(job)
    first = metrics(job)[0]
    assert first["loss/dpo"] == pytest.approx(0.6931472, abs=1e-6)
    assert first["effective_samples"] == 1
    assert metrics(job, "validation")[-1]["n"] == 12


def test_equal_scores_say_so_and_leave_the_model_as_it_was(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_of([each | {"score": 4.0} for each in ROWS], tmp_path)
    job = replace(job, settings=replace(SETTINGS, weight_decay=0.1))  # which alone would move it
    train_policy_gradient(job)
    assert "all 12 answers are as good as the others of their prompt" in capsys.readouterr().out
    assert metrics(job) == []
    before, after = weights("smoke"), weights(f"{job.folder}/model")
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("score", [None, float("nan")])
def test_answers_without_a_score_are_left_out_and_counted(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], score: float | None) -> None:
    rows = [each | ({"score": score} if number in (0, 3, 4) else {})
            for number, each in enumerate(ROWS)]
    train_policy_gradient(job_of(rows, tmp_path))
    assert ("8 of 12 answers are used; left out: 3 without a score, 1 alone"
            in capsys.readouterr().out)


def test_without_any_score_there_is_one_sentence(tmp_path: Path) -> None:
    job = job_of([each | {"score": None} for each in ROWS], tmp_path)
    with pytest.raises(ValueError, match="none of the 12 answers in .* can be used: 12 without a"):
        train_policy_gradient(job)


def test_one_answer_a_prompt_is_refused_in_one_sentence(tmp_path: Path) -> None:
    job = job_of([each for each in ROWS if each["id"].endswith("/0")], tmp_path)
    with pytest.raises(ValueError, match="none of 4 scored answers has another of its prompt") as e:
        train_policy_gradient(job)
    assert "sample at least 2" in str(e.value)


def test_a_cut_off_answer_has_no_end_of_turn_and_pays_or_is_left_out() -> None:
    rows = [*ROWS[:3], row(0, 3, cut_off=True)]
    whole, cut = encoded([*ROWS[:3], row(0, 3)]).answers[-1], encoded(rows).answers[-1]
    assert cut.tokens == whole.tokens[:-1]
    assert cut.score == whole.score - 1.0
    assert encoded(rows, cut_off_penalty=2.5).answers[-1].score == whole.score - 2.5
    masked = encoded(rows, cut_off="masked")
    assert masked.dropped == {"cut off": 1}
    assert masked.answers == encoded(ROWS[:3]).answers


def test_an_answer_that_does_not_fit_is_left_out_not_cut() -> None:
    found = encoded([*ROWS[:3], row(0, 3, answer="far " * 300)])
    assert found.dropped == {"too long": 1}
    assert found.answers == encoded(ROWS[:3]).answers


def test_old_answers_are_left_out_and_without_their_policy_refused() -> None:
    older = [each | {"age": 2, "old_logps": [-1.0]} for each in ROWS[3:6]]
    assert encoded([*ROWS[:3], *older]).dropped == {"too old": 3}
    with pytest.raises(ValueError, match="answer 1/0 is 1 rounds old and has no old_logps"):
        encoded([each | {"age": 1} for each in ROWS[3:6]])
    with pytest.raises(ValueError, match="tokens and 1 old_logps"):
        encoded(older, max_age=2)


def test_a_job_file_says_it_all_and_other_methods_refuse_its_fields(job: Job,
                                                                    tmp_path: Path) -> None:
    job = replace(job, reference="smoke", settings=replace(SETTINGS, cut_off="masked"))
    write_job(job, tmp_path / "job.json")
    assert read_job(tmp_path / "job.json")[0] == job
    file = json.loads((tmp_path / "job.json").read_text())
    (tmp_path / "job.json").write_text(json.dumps(file | {"method": "dpo", "settings": {}}))
    with pytest.raises(ValueError, match="reference is smoke, which method=dpo does not read"):
        read_job(tmp_path / "job.json")


def test_old_log_probabilities_are_of_the_model_that_training_starts_from(
        job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    made, objective = [], stage.policy_objective

    def keeping(*given: Any) -> Any:
        made.append(objective(*given))
        return made[-1]
    monkeypatch.setattr(stage, "policy_objective", keeping)
    train_policy_gradient(job)
    assert [len(old) for old in made[0].old] == [len(a.tokens) for a in made[0].answers]
    assert torch.equal(made[0].reference, torch.stack([old.sum() for old in made[0].old]))


def test_replayed_answers_are_not_read_again_by_the_model_that_training_starts_from(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round's rows of nothing but replay pass the reference alone; the numbers are the same."""
    lengths = {answer.id: len(answer.tokens) for answer in encoded(ROWS).answers}
    rows = [each | ({"age": 1, "old_logps": [-2.0] * lengths[each["id"]]} if place >= 6 else {})
            for place, each in enumerate(ROWS)]
    computed, made = [], []
    kept, objective = stage.kept_logps, stage.policy_objective

    def counting(model: Any, packed: Any, of_row: Any, ids: Any, *more: Any) -> Any:
        computed.append({ids[i] for each in packed for i in each.examples})
        return kept(model, packed, of_row, ids, *more)

    def keeping(*given: Any) -> Any:
        made.append(objective(*given))
        return made[-1]
    monkeypatch.setattr(stage, "kept_logps", counting)
    monkeypatch.setattr(stage, "policy_objective", keeping)
    other = shutil.copytree(smoke_model(), tmp_path / "reference")
    for name, own in (("apart", str(other)), ("same", "")):
        train_policy_gradient(job_of(rows, tmp_path, name, reference=own, settings=replace(
            SETTINGS, token_budget=48, max_age=1)))
    old, reference, both = computed
    assert {key.split("/")[0] for key in old} == {"0", "1"}
    assert reference == both == set(lengths)
    apart, same = made
    assert all(torch.equal(*pair) for pair in zip(apart.old, same.old, strict=True))
    assert torch.equal(apart.reference, same.reference)
    assert all((logps == -2.0).all() for answer, logps in zip(apart.answers, apart.old, strict=True)
               if answer.age)
