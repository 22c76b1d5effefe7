"""An API's scores are replayed from the run's cache; the API is reached for the others only."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from lib.inference.api.transport import ApiStoppedError
from lib.inference.rewards import Conversation
from lib.inference.rewards.remote import nemotron
from lib.study.planning.access import check_access
from lib.study.planning.preflight import blockers
from lib.study.profiles import ProfileError
from lib.study.reward_models import remote
from lib.study.reward_models.api import api_settings
from lib.study.reward_models.remote import remote_reward_model
from lib.study.run import Study, open_study
from tests.study.stand_ins import judge_folder, nvidia_server


def conversation(answer: str) -> Conversation:
    return [{"role": "user", "content": "question"}, {"role": "assistant", "content": answer}]


ANSWERS = [conversation(text) for text in ("one", "two", "three")]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", "nvapi-right")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def nowhere() -> str:
    """An address at which nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/v1"


def study_at(url: str, folder: Path, fallback: str = "owner/fallback") -> Study:
    return open_study("paper", str(folder), {"rewards.base_url": url, "rewards.fallback": fallback})


def scored_online(folder: Path) -> list[float | None]:
    with nvidia_server() as server:
        return remote_reward_model(study_at(server.url, folder), "nemotron").score(ANSWERS)


def test_a_run_with_all_its_scores_needs_neither_key_nor_network(
        nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = scored_online(tmp_path)
    assert None not in scores
    monkeypatch.delenv("NVIDIA_API_KEY")
    replayed = remote_reward_model(study_at(nowhere, tmp_path), "nemotron")
    assert replayed.score(ANSWERS[::-1]) == scores[::-1]
    assert remote_reward_model(study_at(nemotron.HOSTED, tmp_path), "nemotron").score(
        ANSWERS) == scores


def test_a_score_that_is_lacking_offline_is_one_sentence(
        nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored_online(tmp_path)
    more = [*ANSWERS, conversation("four")]
    monkeypatch.setattr(remote, "api_settings",
                        lambda rewards: replace(api_settings(rewards), backoff=0.001))
    with pytest.raises(ApiStoppedError, match="1 of 4 answers have no cached score of nemotron in "
                                              ".*scores.sqlite, and the probe of .* failed"):
        remote_reward_model(study_at(nowhere, tmp_path), "nemotron").score(more)
    monkeypatch.delenv("NVIDIA_API_KEY")
    with pytest.raises(ApiStoppedError, match="1 of 4 .*, and NVIDIA_API_KEY is not set") as error:
        remote_reward_model(study_at(nemotron.HOSTED, tmp_path), "nemotron").score(more)
    assert "\n" not in str(error.value)


def test_the_api_is_probed_once_and_not_before_a_score_is_lacking(tmp_path: Path) -> None:
    with nvidia_server() as server:
        model = remote_reward_model(study_at(server.url, tmp_path), "nemotron")
        assert server.bodies == []
        model.score(ANSWERS[:1])
        model.score(ANSWERS)
    assert len(server.bodies) == 1 + len(ANSWERS)


def test_a_gone_endpoint_gives_way_to_the_fallback_unless_two_models_scores_would_mix(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fallback = str(judge_folder(tmp_path / "judge"))
    with nvidia_server(410) as server:
        fresh = remote_reward_model(study_at(server.url, tmp_path / "new", fallback), "nemotron")
        assert len(fresh.score(ANSWERS)) == len(fresh.score(ANSWERS)) == 3
        assert len(server.bodies) == 1
        assert f"falling back to {fallback}" in capsys.readouterr().out
        scored_online(tmp_path / "old")
        begun = remote_reward_model(study_at(server.url, tmp_path / "old", fallback), "nemotron")
        assert None not in begun.score(ANSWERS)
        with pytest.raises(ApiStoppedError, match="3 other answers have one, and scores of two "
                                                  "models cannot be compared: name .*judge"):
            begun.score([conversation("four")])


def test_a_run_with_cached_scores_starts_without_the_api_and_one_without_does_not(
        nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("lib.study.planning.access._checks", lambda study: [])
    scored_online(tmp_path)
    check_access(study_at(nowhere, tmp_path))
    assert "the run uses 3 cached scores" in capsys.readouterr().out
    with pytest.raises(ProfileError, match="ConnectionError"):
        check_access(study_at(nowhere, tmp_path / "another"))


def test_no_key_blocks_a_run_only_while_it_has_no_cached_scores(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored_online(tmp_path)
    monkeypatch.delenv("NVIDIA_API_KEY")
    without_key = "NVIDIA_API_KEY is not set"
    blocked = blockers(study_at(nemotron.HOSTED, tmp_path / "another"))
    assert any(problem.startswith(without_key) for problem in blocked)
    replayed = blockers(study_at(nemotron.HOSTED, tmp_path))
    assert not any(problem.startswith(without_key) for problem in replayed)
