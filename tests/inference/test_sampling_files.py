"""What surrounds sampling: limits on prompts and memory, streams, and interrupted runs."""

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.inference import partial_file
from lib.inference.partial_file import PartialFile, share_of
from lib.inference.prompts import encode_within
from lib.inference.sampling import SamplingSettings, generate_stream, sample, sample_to_file
from lib.runtime.files import Row, read_jsonl, sha256_of_value, write_jsonl
from tests.inference.tiny_models import PROMPTS, texts

SETTINGS = SamplingSettings(samples=2, temperature=1.0, max_new_tokens=8, rows=2)


def test_a_long_prompt_keeps_its_beginning_and_the_opening_of_the_answer(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    long = {"id": "long", "source": "test", "prompt": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "pearls and oysters " * 50}]}
    settings = SamplingSettings(samples=1, max_new_tokens=2, max_prompt_tokens=40)
    cut, short = sample(qwen, tokenizer, [long, PROMPTS[0]], settings)
    assert (cut["prompt_truncated"], cut["prompt_tokens"]) == (True, 40)
    assert short["prompt_truncated"] is False
    text = tokenizer.decode(encode_within(tokenizer, long, 40)[0])
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\npearls")
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_what_outgrows_the_context_is_refused_with_the_prompt_named(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ValueError, match=r"prompt 'p0' has \d+ tokens .* context is 256; lower"):
        sample(qwen, tokenizer, PROMPTS, SamplingSettings(max_new_tokens=250))


def test_two_prompts_with_one_id_are_refused(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ValueError, match="two prompts have the id 'p0'"):
        sample(qwen, tokenizer, PROMPTS[:1] * 2, SamplingSettings())


def test_a_memory_budget_lowers_the_rows_and_not_the_answers(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    free = sample(qwen, tokenizer, PROMPTS, SamplingSettings(max_new_tokens=8))
    tight = sample(qwen, tokenizer, PROMPTS, SamplingSettings(max_new_tokens=8, memory_gb=1e-4))
    assert texts(free) == texts(tight)
    with pytest.raises(ValueError, match="memory_gb is 1e-09, but one sequence needs"):
        sample(qwen, tokenizer, PROMPTS, SamplingSettings(memory_gb=1e-9))


@pytest.mark.parametrize(("wrong", "message"), [
    ({"top_k": 0}, "top_k is 0; use a whole number of at least 1, or null"),
    ({"temperature": -1.0}, "temperature is -1.0; use a number of at least 0"),
    ({"top_p": 0.0}, "top_p is 0.0; use a number above 0 and at most 1"),
    ({"samples": 0}, "samples is 0; use a whole number of at least 1"),
    ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0; use a number above 0"),
])
def test_settings_that_cannot_be_used_are_refused_in_a_sentence(
        wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplingSettings(**wrong)


def test_a_stream_shows_the_texts_as_they_grow_and_ends_as_sampled(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    settings = SamplingSettings(samples=2, max_new_tokens=6)
    shown: dict[int, list[tuple[str, bool]]] = {0: [], 1: []}
    for number, text, cut_off in generate_stream(qwen, tokenizer, PROMPTS[0], settings):
        shown[number].append((text, cut_off))
    row, = sample(qwen, tokenizer, PROMPTS[:1], settings)
    assert [parts[-1] for parts in shown.values()] == [
        (answer["text"], answer["finish"] == "length") for answer in row["candidates"]]
    assert not any(cut_off for parts in shown.values() for _, cut_off in parts[:-1])
    assert all(len(parts) <= 6 for parts in shown.values())


def test_a_stream_stops_when_told(qwen: PreTrainedModel,
                                  tokenizer: PreTrainedTokenizerBase) -> None:
    seen: list[str] = []
    settings = SamplingSettings(samples=1, max_new_tokens=50)
    for _, text, _ in generate_stream(qwen, tokenizer, PROMPTS[0], settings,
                                      lambda: len(seen) == 3):
        seen.append(text)
    assert len(seen) == 3


class Killed(BaseException):
    pass


def interrupt(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path,
              monkeypatch: pytest.MonkeyPatch, after: int = 2) -> None:
    """Sample into `path` and stop as if killed after some prompts."""
    appended = []
    real = partial_file.append_jsonl

    def append(path: Path, row: Row) -> None:
        if len(appended) == after:
            raise Killed
        appended.append(row["id"])
        real(path, row)

    with monkeypatch.context() as patch:
        patch.setattr(partial_file, "append_jsonl", append)
        with pytest.raises(Killed):
            sample_to_file(model, tokenizer, PROMPTS, SETTINGS, path, model_key="m")


def test_a_resumed_file_is_byte_for_byte_the_uninterrupted_one(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    whole, resumed = tmp_path / "whole.jsonl", tmp_path / "resumed.jsonl"
    rows = sample_to_file(qwen, tokenizer, PROMPTS, SETTINGS, whole, model_key="m")
    assert rows == read_jsonl(whole)
    assert [row["id"] for row in rows] == [prompt["id"] for prompt in PROMPTS]
    interrupt(qwen, tokenizer, resumed, monkeypatch)
    assert not resumed.exists()
    sample_to_file(qwen, tokenizer, PROMPTS, SETTINGS, resumed, model_key="m")
    assert "resuming after 2 finished prompts" in capsys.readouterr().out
    assert resumed.read_bytes() == whole.read_bytes()
    assert [path.name for path in tmp_path.glob("*.partial*")] == []


def test_a_damaged_last_line_is_dropped_and_sampled_again(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "answers.jsonl"
    interrupt(qwen, tokenizer, path, monkeypatch)
    partial = tmp_path / "answers.jsonl.partial.jsonl"
    partial.write_bytes(partial.read_bytes()[:-20])
    rows = sample_to_file(qwen, tokenizer, PROMPTS, SETTINGS, path, model_key="m")
    out = capsys.readouterr().out
    assert "line 3 of 3: damaged" in out
    assert "after 1 finished" in out
    assert texts(rows) == texts(sample(qwen, tokenizer, PROMPTS, SETTINGS))


def test_what_other_settings_or_another_model_left_is_thrown_away(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "answers.jsonl"
    interrupt(qwen, tokenizer, path, monkeypatch)
    sample_to_file(qwen, tokenizer, PROMPTS, SETTINGS, path, model_key="another")
    assert "other settings or another model; starting anew" in capsys.readouterr().out


def test_an_answer_with_a_line_separator_in_it_is_kept_over_a_restart(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"id": "p0", "candidates": [{"text": "one\u2028two\x85three"}]}
    partial_file.PartialFile(tmp_path / "answers.jsonl", "key").append(row)
    assert partial_file.PartialFile(tmp_path / "answers.jsonl", "key").rows == [row]
    assert "damaged" not in capsys.readouterr().out


def test_rows_without_token_ids_that_an_older_version_left_are_not_mixed_in(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    old = {"id": "p0", "candidates": [{"text": "old"}]}
    key = sha256_of_value(["m", str(qwen.dtype), SETTINGS.deciding(), None])  # as it was written
    write_jsonl(tmp_path / "answers.jsonl.partial.jsonl", [{"key": key}, old])
    rows = sample_to_file(qwen, tokenizer, PROMPTS, SETTINGS, path, model_key="m")
    assert all(answer["token_ids"] for row in rows for answer in row["candidates"])


def test_shares_of_killed_processes_are_taken_over_once_and_those_of_another_key_dropped(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pool.jsonl"
    for rank, (key, ids) in enumerate((("k", "ab"), ("k", "bc"), ("other", "d"))):
        share = PartialFile(share_of(path, rank), key)
        for name in ids:
            share.append({"id": name, "by": rank})
    with share_of(path, 1).with_name("pool.jsonl.share-1.partial.jsonl").open("a") as file:
        file.write('{"id": "e", "b')  # it was killed in a line
    whole = PartialFile(path, "k")
    whole.append({"id": "a", "by": "an earlier take-over"})
    whole.take_over()
    assert "share-1.partial.jsonl, line 4 of 4: damaged" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["pool.jsonl.partial.jsonl"]
    assert whole.missing([{"id": name} for name in "abcde"]) == [{"id": "d"}, {"id": "e"}]
    again = PartialFile(path, "k")  # a kill after it costs nothing
    assert [(row["id"], row["by"]) for row in again.rows] == [
        ("a", "an earlier take-over"), ("b", 0), ("c", 1)]
