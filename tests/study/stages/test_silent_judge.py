"""A judge or selector that refuses every answer: missing, counted, said, and never a division."""

from pathlib import Path

import pytest

from lib.analysis.tables.findings import dpo_findings
from lib.inference.rewards import ROLES
from lib.runtime.files import write_json, write_jsonl
from lib.study.run import Study, StudyError, open_study
from lib.study.stages import probe
from lib.study.stages.responses import _refuse_silent, scoring_roles
from lib.study.stages.warning import warning_cells, warning_results


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return open_study("smoke", str(tmp_path / "run"))


def samples(n: int) -> dict:
    return {"split": "samples", "step": 0, "n": n, "judge_score": 1.0 if n else None,
            "judge_scores": [1.0 if n else None] * 2, "repetition": 0.0, "repetitions": [0.0, 0.0]}


class Silent:
    """Scores nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def score(self, conversations: list) -> dict[str, list[None]]:
        return {"judge": [None] * len(conversations)}


def test_the_probe_of_a_judge_that_refuses_everything_has_no_mean(
        study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [{"id": "p", "prompt": "Why?", "source": "x"}]
    answer = {"text": "Because.", "tokens": 2, "finish": "stop", "logprob": -1.0}
    monkeypatch.setattr(probe, "probe_prompts", lambda study: prompts)
    monkeypatch.setattr(probe, "Scorer", Silent)
    monkeypatch.setattr(probe, "sample", lambda *_: [{**prompts[0], "candidates": [answer]}])
    found = probe.validation_probe(study, tokenizer=None)(None, 1)
    assert (found["judge_score"], found["n"], found["judge_scores"]) == (None, 0, [None])
    assert found["repetition"] is None  # a single word repeats nothing
    said = dpo_findings([found | {"split": "samples"}] * 2)
    assert "The judge scored no fresh validation answer" in said


@pytest.mark.parametrize(("n", "shown"), [(0, False), (2, True)])
def test_short_runs_whose_judge_scored_nothing_show_nothing(
        n: int, shown: bool, study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    for name in warning_cells(study):
        write_jsonl(study.path("warning", name, "metrics.jsonl"), [samples(2), samples(n)])
        write_jsonl(study.path("warning", name, "validation_rewards.jsonl"),
                    [{"chosen": 1.0, "rejected": 0.5, "prompt": place} for place in range(2)])
    write_json(study.path("warning", "manifest.json"), {})
    assert bool(warning_results(study)) == shown
    assert ("the four show nothing" in capsys.readouterr().out) != shown


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_scored_no_answer_at_all_is_named_and_the_answers_are_kept(
        role: str, study: Study) -> None:
    rows = [{"candidates": [{"rewards": {name: None if name == role else 0.5 for name in ROLES}}]}]
    assert scoring_roles(rows) == set(ROLES) - {role}
    with pytest.raises(StudyError, match=f"the {role}, embedded, scored none of the answers.*all "
                                         "answers are kept"):
        _refuse_silent(study, scoring_roles(rows))
    _refuse_silent(study, set(ROLES))
