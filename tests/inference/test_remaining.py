"""Sampling's estimate: steps that are left, while nobody knows how long the answers get."""

import random

import pytest

from lib.inference.engine.decoding import Sample, SampleRequest
from lib.inference.remaining import DecodingSteps
from lib.runtime import progress

LONGEST = 128


def pool(kind: str, answers: int) -> list[int]:
    """Tokens of answers in the order in which they are sampled."""
    draw = random.Random(0)
    if kind == "all to the limit":
        return [LONGEST] * answers
    if kind == "short":
        return [draw.randint(2, 20) for _ in range(answers)]
    if kind == "as a base model":  # half of them reach the limit
        return [min(LONGEST, int(draw.expovariate(1 / 180)) + 1) for _ in range(answers)]
    if kind == "as after DPO":
        return [min(LONGEST, max(5, int(draw.gauss(66, 34)))) for _ in range(answers)]
    if kind == "the last are long":
        return [draw.randint(20, 60) for _ in range(answers - 32)] + [LONGEST] * 32
    return [draw.randint(60, LONGEST) for _ in range(answers // 2)] + [
        draw.randint(30, 80) for _ in range(answers - answers // 2)]


def expected(lengths: list[int], rows: int = 64) -> list[tuple[int, float]]:
    """(steps over, steps left as expected) after each step of an engine with so many rows."""
    steps, waiting, running, found = DecodingSteps(len(lengths), LONGEST), list(lengths), [], []
    request = SampleRequest("p", 0, (1,))
    while waiting or running:
        while waiting and len(running) < rows:
            running.append((Sample(request, 0), waiting.pop(0)))
        ended = []
        for sample, length in running:
            sample.tokens.append(0)
            if len(sample.tokens) == length:
                sample.finish = "length" if length == LONGEST else "stop"
                ended.append(sample)
        running = [(sample, length) for sample, length in running if not sample.finish]
        over, work = steps.after(ended, [sample for sample, _ in running])
        found.append((over, work - over))
    return found


EVEN = ("all to the limit", "short", "as a base model", "as after DPO")


@pytest.mark.parametrize(("kind", "answers"), [  # 64 short answers are over within 32 steps
    (kind, n) for kind in EVEN for n in (64, 512, 1600) if (kind, n) != ("short", 64)])
def test_the_expected_steps_are_right_within_a_factor_of_two(kind: str, answers: int) -> None:
    found = expected(pool(kind, answers))
    end, begun = found[-1][0], len(found) // 5
    late = [(end - over, left) for over, left in found[begun:] if end - over > 32]
    assert max(max(left / real, real / left) for real, left in late) < 2


@pytest.mark.parametrize(("kind", "answers"), [  # of fewer short answers no second line is told
    (kind, n) for kind in (*EVEN, "the last are long", "the first are long")
    for n in (64, 512, 1600) if kind != "short" or n == 1600])
def test_no_estimate_jumps_by_a_factor_of_two(
        kind: str, answers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, told = [0.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    with progress.Progress("sampling", answers, "answer") as shown:
        for over, left in expected(pool(kind, answers)):
            clock[0] += 0.3
            before = shown.said
            shown.expect(0, over, over + left)
            if before and shown.said != before and (due := before[1] - clock[0] + before[0]) > 10:
                told.append(max(shown.said[1] / due, due / shown.said[1]))
    assert max(told) < 2


def test_nothing_is_left_at_the_end() -> None:
    assert expected([3, 5, 9])[-1] == (9, 0.0)


@pytest.mark.parametrize("longest", [1, 2])
def test_answers_of_one_or_two_tokens_have_an_estimate(longest: int) -> None:
    steps = DecodingSteps(3, longest)
    over, work = steps.after([], [Sample(SampleRequest("p", 0, (1,)), 0, [5])])
    assert over == 1
    assert work >= 1
