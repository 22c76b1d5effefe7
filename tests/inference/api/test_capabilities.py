"""Servers are asked what they can before the work, and sampled from as they are."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lib.inference.api.server import ServerSamplingError, sample_from_server
from lib.inference.api.transport import ApiStoppedError, ServerSettings
from lib.inference.sampling_settings import SamplingSettings
from lib.runtime.files import Row
from tests.inference.api.servers import (
    HOSTED,
    IGNORING,
    LLAMA,
    LLAMA_PYTHON,
    LM_STUDIO,
    NIM,
    OLDER_LLAMA,
    OLLAMA,
    REASONING,
    SGLANG,
    VLLM,
    Kind,
    serving,
)
from tests.inference.fake_server import FakeServer, good, is_test

PROMPTS = [{"id": f"p{number}", "prompt": f"question {number}", "source": "test"}
           for number in range(3)]
SETTINGS = SamplingSettings(samples=3, temperature=0.7, max_new_tokens=16, seed=5)
KINDS = {"vllm": VLLM, "sglang": SGLANG, "llama.cpp": LLAMA, "an older llama.cpp": OLDER_LLAMA,
         "llama-cpp-python": LLAMA_PYTHON, "LM Studio": LM_STUDIO, "NIM": NIM, "Ollama": OLLAMA}


def sampled(server: FakeServer, folder: Path, settings: SamplingSettings = SETTINGS) -> list[Row]:
    return sample_from_server(PROMPTS, settings, server.settings, folder / "rows.jsonl")


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_server_samples_with_our_values_and_none_of_its_own(
        kind: Kind, tmp_path: Path) -> None:
    with serving(kind) as server:
        rows = sampled(server, tmp_path)
    assert [len({answer["text"] for answer in row["candidates"]}) for row in rows] == [3, 3, 3]
    ours = {"temperature": 0.7, "top_p": 1.0, "top_k": 50, "min_p": 0.0, kind.penalty: 1.0,
            "frequency_penalty": 0.0, "presence_penalty": 0.0}
    for used in server.used:
        known = ours.keys() & used.keys()
        assert {name: used[name] for name in known} == {name: ours[name] for name in known}
    assert len({used["seed"] for used in server.used}) == len(server.used)


@pytest.mark.parametrize(("kind", "requests"), [
    (VLLM, 3), (SGLANG, 3), (LLAMA, 3), (OLDER_LLAMA, 9), (LLAMA_PYTHON, 9), (OLLAMA, 9)])
def test_n_answers_come_from_one_request_where_the_server_gives_them_and_else_from_n_seeds(
        kind: Kind, requests: int, tmp_path: Path) -> None:
    with serving(kind) as server:
        sampled(server, tmp_path)
    assert len(server.used) == requests


def test_a_server_whose_n_answers_share_one_seed_is_asked_for_one_at_a_time(tmp_path: Path) -> None:
    with serving(VLLM) as server:
        several = server.behave
        server.behave = lambda asked, call: (
            200, {}, _all_as_the_first(several(asked, call)[2]))
        rows = sampled(server, tmp_path)
    assert [len({answer["text"] for answer in row["candidates"]}) for row in rows] == [3, 3, 3]


def _all_as_the_first(body: str) -> str:
    reply = json.loads(body)
    reply["choices"] = [reply["choices"][0] | {"index": place}
                        for place in range(len(reply["choices"]))]
    return json.dumps(reply)


def test_one_line_says_what_a_server_can(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with serving(VLLM) as server:
        sampled(server, tmp_path)
    assert (f"tiny at {server.settings.base_url}: takes n, seed, top_k, min_p, repetition_penalty; "
            "gives log-probabilities and token ids\n") in capsys.readouterr().out
    with serving(LM_STUDIO) as server:
        sampled(server, tmp_path)
    assert ("takes seed, top_k, repetition_penalty; gives texts only; ignores min_p, where its own "
            "default counts; one answer a request\n") in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "how", "sent"), [
    (IGNORING, "ignores", -1), (HOSTED, "refuses", None)])
def test_a_server_without_top_k_is_refused_before_any_prompt_and_taken_without_it(
        kind: Kind, how: str, sent: int | None, tmp_path: Path) -> None:
    with serving(kind) as server:
        with pytest.raises(ApiStoppedError, match=f"{how} top_k, and sampling.top_k is 50; set it "
                                                  "to null, or use a server that takes it"):
            sampled(server, tmp_path)
        assert not server.used
        rows = sampled(server, tmp_path, SamplingSettings(samples=3, top_k=None))
    assert [len(row["candidates"]) for row in rows] == [3, 3, 3]
    asked = [call for call in server.asked if not is_test(call)]
    assert [call.get("top_k") for call in asked] == [sent] * len(asked)


@pytest.mark.parametrize(("kind", "changes", "name"), [
    (IGNORING, {"top_k": None, "repetition_penalty": 1.3}, "repetition_penalty"),
    (REASONING, {"top_k": None}, "temperature"),
    (REASONING, {"top_k": None, "temperature": 1.0, "top_p": 0.9}, "top_p")])
def test_what_a_server_cannot_do_is_refused_by_its_name(
        kind: Kind, changes: dict, name: str, tmp_path: Path) -> None:
    with serving(kind) as server, pytest.raises(ApiStoppedError, match=f"sampling.{name} is"):
        sampled(server, tmp_path, SamplingSettings(**{"samples": 2, "temperature": 0.6} | changes))
    assert not server.used


def test_another_name_for_the_most_new_tokens_is_found(tmp_path: Path) -> None:
    with serving(REASONING) as server:
        sampled(server, tmp_path, SamplingSettings(samples=2, temperature=1.0, top_k=None))
    asked = [call for call in server.asked if not is_test(call)]
    assert {call["max_completion_tokens"] for call in asked} == {128}
    assert not any("max_tokens" in call for call in asked)


def test_a_server_that_refuses_only_a_combination_keeps_the_temperature(tmp_path: Path) -> None:
    with serving(IGNORING) as server:
        takes = server.behave
        server.behave = lambda asked, call: (
            (400, {}, "`temperature` and `top_p` cannot both be specified")
            if {"temperature", "top_p"} <= asked.keys() else takes(asked, call))
        sampled(server, tmp_path, SamplingSettings(samples=1, top_k=None))
    assert {used["temperature"] for used in server.used} == {0.6}


def test_a_server_whose_greedy_answers_differ_is_not_accused_of_ignoring(tmp_path: Path) -> None:
    with serving(IGNORING) as server:
        server.behave = lambda asked, call: good(asked | {"messages": [
            {"content": f"{asked.get('seed')} {asked['messages'][-1]['content']}"}]})
        assert len(sampled(server, tmp_path)) == 3


@pytest.mark.parametrize("name", ["sft", "models/sft", "sft:latest"])
def test_a_tag_or_a_path_does_not_make_another_model(name: str, tmp_path: Path) -> None:
    with serving(VLLM, model=name) as server:
        rows = sample_from_server(PROMPTS, SETTINGS, _named(server, "sft"), tmp_path / "a.jsonl")
    assert len(rows) == 3


def test_a_server_that_would_answer_under_any_name_is_refused_before_any_question(
        tmp_path: Path) -> None:
    with serving(LLAMA, model="sft") as server, pytest.raises(
            ApiStoppedError, match="serves sft and not base; serve the model under .* --alias"):
        sample_from_server(PROMPTS, SETTINGS, _named(server, "base"), tmp_path / "a.jsonl")
    assert not server.asked


def test_a_catalogue_that_lacks_the_name_is_no_reason_to_stop(tmp_path: Path) -> None:
    with serving(VLLM) as server:
        server.listed["/v1/models"] = {"data": [{"id": f"model-{n}"} for n in range(50)]}
        assert len(sampled(server, tmp_path)) == 3


@pytest.mark.parametrize("listed", [[], {"data": None}, {"data": [None, 3, {}]}, "no"])
def test_a_list_of_models_that_cannot_be_read_says_nothing(
        listed: object, tmp_path: Path) -> None:
    with serving(VLLM) as server:
        server.listed["/v1/models"] = listed
        assert len(sampled(server, tmp_path)) == 3


def test_ollama_is_told_how_much_context_the_run_needs(tmp_path: Path) -> None:
    with serving(OLLAMA) as server:
        sampled(server, tmp_path)
    assert {used["num_ctx"] for used in server.used} == {1024 + 16}
    assert {used["num_predict"] for used in server.used} == {16}


def test_a_whole_vocabulary_is_asked_for_in_ollamas_way(tmp_path: Path) -> None:
    with serving(OLLAMA) as server:
        sampled(server, tmp_path, SamplingSettings(samples=2, top_k=None))
    assert {used["top_k"] for used in server.used} == {0}


@pytest.mark.parametrize("message", [
    "As of transformers v4.44, default chat template is no longer allowed", "no such model"])
def test_a_server_that_refuses_a_plain_request_is_one_sentence_with_its_words(
        message: str, tmp_path: Path) -> None:
    with serving(VLLM) as server:
        server.behave = lambda asked, call: (400, {}, message)
        with pytest.raises(ServerSamplingError, match="does not answer a test question: .*" + (
                message[:20])) as error:
            sampled(server, tmp_path)
    assert "\n" not in str(error.value)


def _named(server: FakeServer, model: str) -> ServerSettings:
    return replace(server.settings, model=model)
