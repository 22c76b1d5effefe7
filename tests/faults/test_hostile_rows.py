"""Hostile rows from a file to the page: nothing crashes, and no row is lost uncounted.

Each example is a file of eight rows of made-up columns, layouts and texts. It is read as
conversations, pairs, scored answers and held-out prompts, curated with two chat templates, written
and read again, exported, and shown on a page. Among the tests are a few hundred rows; this command
takes 100,000 of them, in five parts of a few minutes each:

    for part in 1 2 3 4 5; do HOSTILE_ROWS=20000 HOSTILE_SEED=$part \
        python -m pytest tests/faults/test_hostile_rows.py; done
"""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from lib.analysis.exports import formats
from lib.data.cells import SchemaError
from lib.data.curation import curate
from lib.data.layouts.reading import Reading
from lib.data.parquet import read_parquet, write_parquet
from lib.data.settings import DataSettings
from lib.data.sources import load_heldout, load_preferences, load_sft
from lib.runtime.files import read_json, read_jsonl, write_json, write_jsonl
from lib.viewers.page import write_page
from tests.data.conftest import SMOLLM, build_tokenizer
from tests.viewers.viewer_rows import HOSTILE

Row = dict[str, Any]
ROWS, SEED = int(os.environ.get("HOSTILE_ROWS", "240")), int(os.environ.get("HOSTILE_SEED", "0"))
EACH = 8  # rows of an example
STRICT = (  # turns must alternate, as Gemma and Mistral want them
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('turns must alternate') }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")

COLUMNS = ("messages", "conversations", "turns", "prompt", "chosen", "rejected", "instruction",
           "input", "output", "question", "response", "completion", "label", "kto_tag", "answers",
           "scores", "score_chosen", "id", "system", "history", "text", "context", "reference",
           "kwargs", "source", "cut_off_chosen", "flaws", "label ", "")
HH = "\n\nHuman: q\n\nAssistant: "
TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(
    [text[:300] for text in HOSTILE.values()] + [
        HH, HH + "a", "### Human: q### Assistant: a", "Human: q\nAssistant: a", "<|im_end|>",
        "<|im_start|>assistant\n", "\ue000", "\ue000\ue000<|im_end|>", "\r", "\x85", "\ufeff"]))
LEAVES = st.one_of(TEXTS, st.none(), st.booleans(), st.integers(), st.floats(),
                   st.sampled_from([0, 1, 1.0, "true", "-1", 10**400, "NaN"]))
TURNS = st.lists(st.fixed_dictionaries({}, optional={
    "role": st.sampled_from(["user", "assistant", "system", "tool", None, "model"]),
    "from": st.sampled_from(["human", "gpt", "system", 3]), "content": LEAVES, "value": TEXTS}),
    max_size=4)
ANSWERS = st.lists(st.fixed_dictionaries({"text": TEXTS}, optional={
    "score": LEAVES, "model": TEXTS, "flaws": st.just(["cut_off"]), "rating": st.integers(0, 9)}),
    max_size=3)
VALUES = st.one_of(LEAVES, TURNS, TEXTS, ANSWERS, st.lists(LEAVES, max_size=3),
                   st.dictionaries(st.sampled_from(COLUMNS), LEAVES, max_size=3))
TALKS = st.lists(TEXTS, min_size=1, max_size=4).map(lambda texts: [
    {"role": ("user", "assistant")[place % 2], "content": text}
    for place, text in enumerate(texts)])
LIKELY = st.one_of(  # rows that most often can be used
    st.fixed_dictionaries({"messages": TALKS}, optional={"label": LEAVES, "id": LEAVES}),
    st.fixed_dictionaries({"prompt": st.one_of(TEXTS, TALKS), "chosen": TEXTS, "rejected": TEXTS},
                          optional={"score_chosen": LEAVES, "system": TEXTS}),
    st.fixed_dictionaries({"prompt": st.sampled_from(["a", "\ud83d"]), "completion": TEXTS,
                           "label": st.booleans()}),
    st.fixed_dictionaries({"prompt": TEXTS, "answers": ANSWERS}),
    st.fixed_dictionaries({"instruction": TEXTS, "output": TEXTS}, optional={"input": TEXTS}))
HOSTILE_ROW = st.one_of(LIKELY, st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=5))
FILES = st.lists(HOSTILE_ROW, min_size=EACH, max_size=EACH)
PARTS = {"sft": (load_sft, ("written",)), "preferences": (load_preferences, (
    "written", "on_policy")), "heldout": (load_heldout, ("written",))}


@pytest.fixture(scope="module")
def tokenizers() -> list[PreTrainedTokenizerBase]:
    return [build_tokenizer(template, "<|im_end|>") for template in (SMOLLM, STRICT)]


def read(file: Path, part: str, pairs: str, rows: int) -> tuple[list[Row], Reading]:
    """A part's rows; every row of the file is one of them, or counted."""
    load, _ = PARTS[part]
    given = DataSettings(source="local", pairs=pairs, min_gap=0.5, **{f"{part}_path": str(file)})
    arguments, reading = () if part == "heldout" else (0,), Reading()
    try:
        found = load(given, *arguments, reading=reading)
    except SchemaError:  # none can be used
        return [], reading
    if pairs == "on_policy":
        prompts = {row["id"].rpartition("/")[0] for row in found}
        kept = len(prompts) + reading.without_pair
    else:
        kept = len(found)
    assert kept + reading.joined + reading.dropped.total() == rows
    assert len({row["id"] for row in found}) == len(found)
    return found, reading


def curated(rows: list[Row], tokenizer: PreTrainedTokenizerBase, file: Path) -> list[Row]:
    """The rows that can be used, written and read again; the others are counted by reason."""
    kept, report = curate([{"id": "good", "source": "s", **GOOD[kind_of(rows[0])]}, *rows],
                          tokenizer, 64)
    counts = report.to_dict()
    assert counts["rows"] == len(rows) + 1 == counts["kept"] + sum(counts["dropped"].values())
    json.dumps(counts, allow_nan=False)
    write_parquet(kept, file)
    assert read_parquet(file) == kept
    return kept


GOOD = {
    "sft": {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    "preferences": {"prompt": [{"role": "user", "content": "good?"}], "chosen": "a",
                    "rejected": "b", "score_chosen": None, "score_rejected": None,
                    "cut_off_chosen": False, "cut_off_rejected": False},
    "heldout": {"prompt": "good?", "reference": None, "instruction_id_list": [], "kwargs": []}}


def kind_of(row: Row) -> str:
    return "sft" if "messages" in row else "preferences" if "chosen" in row else "heldout"


def exported(heldout: list[Row], texts: list[str], folder: Path) -> None:
    """Answers of two systems in every format, and on the page."""
    systems = {name: [{
        "id": row["id"], "prompt": row["prompt"], "source": row["source"], "chosen": 0,
        "candidates": [{"text": texts[(place + shift) % len(texts)], "tokens": 3,
                        "finish": "stop", "rewards": {"selector": float(place),
                                                      "judge": None if place % 2 else 0.5}}]}
        for place, row in enumerate(heldout)] for shift, name in enumerate(("sft", "dpo"))}
    board = formats.leaderboard_rows(systems["sft"], "ours")
    write_jsonl(folder / "board.jsonl", board)
    assert [row["id"] for row in read_jsonl(folder / "board.jsonl")] == [row["id"] for row in board]
    write_json(folder / "alpaca.json", formats.alpaca_eval_outputs(systems["dpo"], "ours"))
    write_json(folder / "comparator.json", formats.llm_comparator(
        systems["sft"], systems["dpo"], "sft", "dpo", ["selector", "judge"]))
    assert len(read_json(folder / "comparator.json")["examples"]) == len(heldout)
    page = write_page(systems, folder / "page.html", heldout, ["judge"]).read_text("utf-8")
    assert page.count("<script") == page.count("</script>") == 2


@seed(SEED)
@settings(max_examples=ROWS // EACH, deadline=None, suppress_health_check=list(HealthCheck),
          database=None, phases=(Phase.generate, Phase.shrink))
@given(rows=FILES)
def test_hostile_rows_reach_the_page_or_are_counted(
        rows: list[Row], tokenizers: list, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "hostile"
    folder.mkdir(exist_ok=True)
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    for tokenizer in tokenizers:
        kept = {}
        for part, (_, kinds) in PARTS.items():
            for pairs in kinds:
                found, _ = read(file, part, pairs, len(rows))
                if found:
                    kept[part] = curated(found, tokenizer, folder / f"{part}.parquet")
        if "preferences" in kept:
            formats.write_preferences(folder / "trl.parquet", kept["preferences"])
            assert pq.read_table(folder / "trl.parquet").num_rows == len(kept["preferences"])
        if "heldout" in kept:
            texts = [text for row in rows for text in row.values() if isinstance(text, str)]
            exported(kept["heldout"], texts or [""], folder)
