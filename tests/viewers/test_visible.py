"""Characters that a page would hide, or that would change it, are shown as signs."""

import pytest

from lib.viewers.visible import HIDDEN, visible
from tests.viewers.viewer_rows import HOSTILE


@pytest.mark.parametrize(("text", "seen"), [
    ("a\x00b", "a␀b"),
    ("\x1b[31mred", "␛[31mred"),
    ("a\u202egpj.exe", "a⟨U+202E⟩gpj.exe"),
    ("zero\u200bwidth", "zero⟨U+200B⟩width"),
    ("\U000e0041", "⟨U+E0041⟩"),
    ("\ud83d", "⟨U+D83D⟩"),
    ("one\r\ntwo\rthree", "one\ntwo␍three"),
])
def test_hidden_characters_become_visible(text: str, seen: str) -> None:
    assert visible(text) == seen


@pytest.mark.parametrize("text", [
    "tab\tand\nline", "\U0001f469\u200d\U0001f467 \u2705\ufe0f", "\u0645\u0631\u062d\u0628\u0627",
    "\u0928\u092e\u0938\u094d\u0924\u0947", "na\u00efve \u201cquotes\u201d",
])
def test_ordinary_writing_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_nothing_hidden_is_left_in_hostile_text() -> None:
    assert not [name for name, text in HOSTILE.items() if HIDDEN.search(visible(text))]
