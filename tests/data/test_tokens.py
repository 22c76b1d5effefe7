"""A row is tokenised once: what the data stage stored is what training would have computed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast as Tokenizer

from lib.data import tokens
from lib.data.curation import curate
from lib.data.parquet import TOKENS, read_parquet, write_parquet
from lib.data.settings import DataSettings
from lib.data.sources import load_preferences, load_sft
from lib.modeling.loading import load_tokenizer
from lib.runtime.files import Row
from lib.training.dpo import encode_pairs
from lib.training.reward import encode_reward_pairs
from lib.training.sft import encode_sft

LIMIT = 80  # tokens; cuts some rows


def rows_of(load: Callable[..., list[Row]], tokenizer: Tokenizer) -> list[Row]:
    settings = DataSettings(sft_rows=20, preference_rows=20)
    return curate(load(settings, 0), tokenizer, 200)[0]


def bare(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name not in TOKENS} for row in rows]


@pytest.mark.parametrize(("load", "encode"), [
    (load_sft, encode_sft), (load_preferences, encode_pairs),
    (load_preferences, encode_reward_pairs)])
def test_stored_ids_are_those_that_training_computes(
        load: Callable[..., Any], encode: Callable[..., Any], smollm: Tokenizer,
        tmp_path: Path) -> None:
    write_parquet(rows_of(load, smollm), tmp_path / "rows.parquet")
    stored = read_parquet(tmp_path / "rows.parquet")
    assert encode(stored, smollm, LIMIT) == encode(bare(stored), smollm, LIMIT)


def test_stored_ids_are_not_computed_again(smollm: Tokenizer,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    stored, asked = rows_of(load_preferences, smollm), []
    encode_prompt = tokens.encode_prompt
    monkeypatch.setattr(tokens, "encode_prompt",
                        lambda *given: asked.append(given) or encode_prompt(*given))
    encode_pairs(stored, smollm, LIMIT)
    assert len(asked) == 1  # of the first row, to see whose ids these are
    encode_pairs(bare(stored), smollm, LIMIT)
    assert len(asked) > len(stored)


def test_ids_of_another_tokenizer_are_not_used(smollm: Tokenizer) -> None:
    stored, other = rows_of(load_preferences, smollm), load_tokenizer("smoke")
    assert encode_pairs(stored, other, LIMIT) == encode_pairs(bare(stored), other, LIMIT)
