"""Order and sides of a blind comparison, drawn from a seed.

The draw is a hash of seed and prompt id, not a random generator, so that Python and the page
(`web/blind.js`) draw the same and a vote can be traced back to what the rater saw.
"""

from collections.abc import Iterable


def draw(text: str) -> int:
    """32-bit FNV-1a hash of the UTF-8 bytes, with a final mix so that neighbours fall apart."""
    state = 0x811C9DC5
    for byte in text.encode("utf-8", "surrogatepass"):
        state = ((state ^ byte) * 0x01000193) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):  # murmur3's finaliser
        state = ((state ^ (state >> shift)) * factor) & 0xFFFFFFFF
    return state


def shuffled(ids: Iterable[str], seed: int) -> list[str]:
    """The ids in a random order that depends on the seed and on each id alone."""
    return sorted(ids, key=lambda id: (draw(f"{seed}:order:{id}"), id))


def sides(a: str, b: str, id: str, seed: int) -> tuple[str, str]:
    """(left, right): which of the two systems stands on which side for this prompt."""
    first, second = sorted((a, b))
    return (first, second) if draw(f"{seed}:side:{id}") % 2 == 0 else (second, first)
