"""Model text with every hidden or reordering character made visible.

Answers of a model may be hostile. Control characters, terminal escape codes, bidirectional
overrides, invisible tag characters and lone surrogates are replaced here, once, before the page or
a panel escapes the text, so that both show the same.
"""

import re

# C0 (but tab and line feed), DEL and C1 controls; bidi marks, embeddings, overrides and isolates;
# invisible spaces and separators; annotation and tag characters ("ASCII smuggling"); surrogates.
# The joiners U+200C/D stay: Persian, Hindi and emoji are misspelt without them.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e01ef]"
)
CONTROL_PICTURES = 0x2400


def visible(text: str) -> str:
    """`text` with every hidden character replaced by a picture (`␛`) or its code (`⟨U+202E⟩`).

    Windows line ends become plain ones; tabs and line feeds stay.
    """
    return HIDDEN.sub(_stand_in, text.replace("\r\n", "\n"))


def _stand_in(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(CONTROL_PICTURES + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"
