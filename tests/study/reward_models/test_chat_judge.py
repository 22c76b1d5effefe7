"""A chat model judges a run's answers: what it is asked, what it costs, what the study reports."""

import re
from pathlib import Path

import pytest

from lib.analysis.tables import chat_judge_sentence, position_bias_table, win_rate_table
from lib.runtime.files import Row, read_jsonl, write_json
from lib.study.planning.access import check_chat_judge
from lib.study.planning.plan import plan_text
from lib.study.profiles import ProfileError, load_profile
from lib.study.reward_models import chat_judge
from lib.study.reward_models.chat_judge import chat_judge_results
from lib.study.run import Study, open_study
from tests.inference.fake_server import FakeServer
from tests.inference.judges.fake_judge import (
    biased,
    chance,
    completion,
    judging,
    message,
    shown_answers,
)

PROMPTS = 120
PAIRS = [("sft", "base"), ("dpo", "sft")]


def answer(system: str, name: str) -> str:
    return f"answer {chance(system, name):.12f} to {name}"


def fair(first: str, second: str) -> str:
    """Answers have a hidden quality, which says nothing of their system."""
    return "[[A]]" if chance("quality", first) > chance("quality", second) else "[[B]]"


def rows_of(system: str) -> list[Row]:
    return [{"id": f"p{number}", "prompt": f"prompt {number}", "source": "test", "chosen": 0,
             "candidates": [{"text": answer(system, f"p{number}"), "tokens": 9, "rewards": {}}]}
            for number in range(PROMPTS)]


@pytest.fixture
def systems(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Row]]:
    """Three equal systems' answers, in place of those of a run."""
    found = {name: rows_of(name) for name in ("base", "sft", "dpo")}
    heldout = [{"id": row["id"], "prompt": row["prompt"], "reference": "the reference"}
               for row in found["base"]]
    monkeypatch.setattr(chat_judge, "load_systems", lambda study: found)
    monkeypatch.setattr(chat_judge, "load_part", lambda study, part: heldout)
    return found


def study_of(server: FakeServer, folder: Path, **changes: object) -> Study:
    settings = {"rewards.judge": "llm", "llm_judge.model": "tiny",
                "llm_judge.base_url": server.settings.base_url,
                "llm_judge.key_variable": "STUDY_TEST_KEY"}
    settings |= {f"llm_judge.{key}": value for key, value in changes.items()}
    study = open_study("smoke", str(folder / "run"), settings)
    for stage in ("data", "responses"):
        write_json(study.path(stage, "manifest.json"), {"outputs": {"rows": stage}})
    return study


def test_the_study_shows_a_bias_to_the_first_place_and_takes_it_off(
        systems: dict[str, list[Row]], tmp_path: Path) -> None:
    with judging(biased(0.5, fair)) as server:
        results = chat_judge_results(study_of(server, tmp_path), PAIRS)
    assert len(server.asked) == 2 * 2 * PROMPTS
    overall, *pairs = results["position_bias"]
    assert overall["first_low"] < 0.75 < overall["first_high"]  # .5 + .5 / 2
    assert overall["first_low"] > 0.6
    for rate, bias in zip(results["win_rates"], pairs, strict=True):
        assert rate["judge"] == "llm"
        assert rate["n"] == PROMPTS
        assert rate["ci_low"] < 0.5 < rate["ci_high"]
        assert bias["shown_first_low"] > 0.5 > bias["shown_second_high"]
        assert bias["inconsistent"] > 0.3


def test_an_unbiased_judge_decides_every_prompt_alike_in_both_orders(
        systems: dict[str, list[Row]], tmp_path: Path) -> None:
    with judging(fair) as server:
        results = chat_judge_results(study_of(server, tmp_path), PAIRS)
    overall = results["position_bias"][0]
    assert (overall["first_share"], overall["inconsistent"]) == (0.5, 0)
    assert [row["ties"] for row in results["win_rates"]] == [0, 0]


def test_equal_texts_tie_without_a_question_and_an_answer_without_a_pick_is_missing(
        systems: dict[str, list[Row]], tmp_path: Path) -> None:
    for name in ("sft", "dpo"):
        systems[name][0]["candidates"][0]["text"] = " the same "
    systems["dpo"][1]["candidates"] *= 2  # several candidates, none with a score
    with judging(fair) as server:
        results = chat_judge_results(study_of(server, tmp_path), [("dpo", "sft")])
    (row,) = results["win_rates"]
    assert (row["n"], row["missing"], row["ties"]) == (PROMPTS - 1, 1, 1)
    assert len(server.asked) == 2 * (PROMPTS - 2)
    assert results["costs"]["equal_texts"] == 1


def test_garbage_is_missing_and_never_a_tie(systems: dict[str, list[Row]],
                                            tmp_path: Path) -> None:
    with judging(fair) as server:
        server.behave = lambda asked, call: completion(
            "both are bad" if "prompt 7\n" in message(asked) else fair(*shown_answers(asked)))
        results = chat_judge_results(study_of(server, tmp_path), PAIRS)
    assert {(row["n"], row["missing"], row["ties"]) for row in results["win_rates"]} == {
        (PROMPTS - 1, 1, 0)}
    assert results["costs"]["missing"] == 4
    assert results["costs"]["reasons"] == ["no verdict in 'both are bad'; no verdict in "
                                           "'both are bad'"]


def test_the_request_holds_prompt_and_reference_and_both_orders(
        systems: dict[str, list[Row]], tmp_path: Path) -> None:
    with judging(fair) as server:
        chat_judge_results(study_of(server, tmp_path, prompts=1), [("dpo", "sft")])
    first, second = (answer(name, "p0") for name in ("dpo", "sft"))
    assert {shown_answers(asked) for asked in server.asked} == {(first, second), (second, first)}
    assert all("prompt 0" in message(asked) and "the reference" in message(asked)
               for asked in server.asked)


def test_a_finished_judgement_is_replayed_without_a_call_and_other_settings_judge_again(
        systems: dict[str, list[Row]], tmp_path: Path) -> None:
    with judging(fair) as server:
        study = study_of(server, tmp_path, input_price=10.0)
        first = chat_judge_results(study, PAIRS)
        calls = len(server.asked)
        assert chat_judge_results(study, PAIRS) == first
        study.path("verdicts", "manifest.json").unlink()
        assert chat_judge_results(study, PAIRS) == first
        assert len(server.asked) == calls == first["costs"]["calls"]
        assert first["costs"]["price"] == pytest.approx(calls * 100 * 10 / 1e6)
        server.behave = lambda asked, call: completion("[[A=B]]")
        arena = chat_judge_results(study_of(server, tmp_path, style="arena_hard"), PAIRS)
    assert arena["costs"]["style"] == "arena_hard"
    assert {row["ties"] for row in arena["win_rates"]} == {PROMPTS}
    assert len(read_jsonl(study.path("verdicts", "verdicts.jsonl"))) == 2 * PROMPTS


def test_another_judge_has_no_verdicts(tmp_path: Path) -> None:
    assert chat_judge_results(open_study("smoke", str(tmp_path / "run")), PAIRS) == {}


def test_its_tables_have_the_form_of_the_other_judges(systems: dict[str, list[Row]],
                                                      tmp_path: Path) -> None:
    with judging(biased(0.3, fair)) as server:
        results = chat_judge_results(study_of(server, tmp_path), PAIRS)
    table = win_rate_table(results["win_rates"])
    assert re.search(r"\| sft over base \| llm \| 120 \| \d+ / \d+ / \d+ \| \.\d\d \[", table)
    assert "| all | llm | 240 |" in position_bias_table(results["position_bias"])
    sentence = chat_judge_sentence(results["costs"])
    assert "tiny judged by the pairwise setting: 480 verdicts of 480 asked, all of them hard" \
        in sentence


def test_a_judge_without_any_verdict_has_tables_that_say_so(
        systems: dict[str, list[Row]], tmp_path: Path) -> None:
    with judging(lambda *_: "well") as server:
        results = chat_judge_results(study_of(server, tmp_path, prompts=2), PAIRS)
    table = win_rate_table(results["win_rates"])
    assert "| 0 | 0 / 0 / 0 | – | – | – | nothing: no prompt has a verdict on both" in table
    assert "No chat model gave a verdict" in position_bias_table(results["position_bias"])
    assert "0 verdicts of 8 asked, all of them hard; 8 missing" in chat_judge_sentence(
        results["costs"])


def test_what_scores_candidates_keeps_the_embedded_judge() -> None:
    rewards = load_profile("laptop", {"rewards.judge": "llm", "llm_judge.model": "m"}).rewards
    assert rewards.scoring == load_profile("laptop").rewards
    paper = load_profile("paper").rewards
    assert paper.scoring is paper


@pytest.mark.parametrize(("settings", "sentence"), [
    ({"rewards.judge": "llm"}, "llm_judge.model is ''; name the chat model that judges"),
    ({"rewards.selector": "llm"}, "rewards.selector is 'llm', which compares two answers"),
    ({"rewards.judge": "llm", "rewards.selector": "llm"}, "the judge must not be the selector"),
    ({"rewards.judge": "llm", "rewards.selector": "org/m", "llm_judge.model": "org/m"},
     "llm_judge.model is 'org/m', which is the selector"),
    ({"rewards.judge": "llm", "rewards.selector": "nemotron", "rewards.api_model": "n/r",
      "llm_judge.model": "n/r"}, "which is the selector"),
    ({"llm_judge.style": "mt_bench"}, "llm_judge.style is 'mt_bench'; use one of pairwise"),
    ({"llm_judge.base_url": "localhost"}, "llm_judge.base_url is 'localhost'; use text"),
    ({"llm_judge.input_price": -1}, "llm_judge.input_price is -1; use a number of at least 0")])
def test_a_setting_that_cannot_be_used_is_one_sentence(settings: dict, sentence: str) -> None:
    with pytest.raises(ProfileError, match=re.escape(sentence)):
        load_profile("laptop", settings)


def test_the_plan_says_calls_tokens_and_price(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path / "run"), {
        "rewards.judge": "llm", "llm_judge.model": "m", "llm_judge.input_price": 1000,
        "llm_judge.prompts": 8})
    line = next(line for line in plan_text(study).splitlines() if line.startswith("judge: "))
    assert re.search(r"m at http://localhost:8000/v1 \(pairwise\), at most about \d+ calls, "
                     r"[\d,]+ tokens read and [\d,]+ written, price \d+\.\d+; OPENAI_API_KEY",
                     line)
    assert "judge: " not in plan_text(open_study("smoke", str(tmp_path / "other")))


@pytest.mark.parametrize(("status", "sentence"), [
    (401, "put a valid one into STUDY_TEST_KEY"), (404, "tiny is not deployed at"),
    (503, "did not answer a test question")])
def test_a_judge_that_cannot_be_asked_stops_a_run_before_any_work(
        status: int, sentence: str, tmp_path: Path) -> None:
    with judging() as server:
        server.tests_too, server.behave = True, lambda asked, call: (status, {}, "")
        with pytest.raises(ProfileError, match=sentence) as error:
            check_chat_judge(study_of(server, tmp_path))
    assert "\n" not in str(error.value)


def test_a_judge_whose_replies_hold_no_verdict_stops_a_run_whatever_it_replied_before(
        systems: dict[str, list[Row]], tmp_path: Path) -> None:
    with judging(lambda *_: "Both are good.") as server:
        server.tests_too = True
        study = study_of(server, tmp_path, prompts=2)
        chat_judge_results(study, PAIRS)  # 8 replies are kept, none with a verdict
        study.path("verdicts", "manifest.json").unlink()
        with pytest.raises(ProfileError, match="gave no verdict on a test question .*Both are"):
            check_chat_judge(study)


def test_a_judge_is_shown_a_question_as_long_as_the_run_may_ask(tmp_path: Path) -> None:
    with judging() as server:
        server.tests_too = True
        study = study_of(server, tmp_path)
        check_chat_judge(study)
    sampling = study.profile.sampling
    words = max(message(asked).count("word ") for asked in server.asked)
    assert words >= sampling.max_prompt_tokens + 2 * sampling.max_new_tokens - 3


def test_a_judge_that_is_away_does_not_stop_a_run_that_has_its_replies(
        systems: dict[str, list[Row]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with judging(fair) as server:
        study = study_of(server, tmp_path, prompts=2)
        chat_judge_results(study, PAIRS)
        calls = len(server.asked)
        check_chat_judge(study)  # finished: nobody is asked
        assert len(server.asked) == calls
        study.path("verdicts", "manifest.json").unlink()
        server.tests_too, server.behave = True, lambda asked, call: (503, {}, "")
        check_chat_judge(study)
    assert "the run uses 8 cached verdicts" in capsys.readouterr().out
