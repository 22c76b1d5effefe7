"""The panel of a notebook without its browser: what it answers to messages."""

from pathlib import Path

import pytest

from lib.viewers.page_data import page_data
from lib.viewers.panel import AnswersPanel
from lib.viewers.rows import join
from tests.viewers.viewer_rows import small_systems


def test_a_vote_in_a_panel_without_a_file_of_votes_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collection = join(small_systems(), judges=["judge"])
    panel, said = AnswersPanel(collection, page_data(collection, votes=False)), []
    monkeypatch.setattr(panel, "send", lambda message, buffers=None: said.append(message))
    prompt = collection.prompts[0].id
    panel.heard({"kind": "vote", "vote": {"id": prompt, "left": "sft", "right": "dpo",
                                          "vote": "left"}})
    assert said == [{"kind": "refused", "reason":
                     "this panel keeps no votes; show it with a file of votes"}]


def test_a_panel_names_its_file_of_votes_as_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    collection = join(small_systems(), judges=["judge"])
    for given, told in ((tmp_path / "runs" / "x.jsonl", Path("runs", "x.jsonl")),
                        (tmp_path.parent / "x.jsonl", tmp_path.parent / "x.jsonl"), (None, "")):
        panel = AnswersPanel(collection, page_data(collection), given)
        assert panel.setup["votes"] == str(told)
