"""Repetitions are found whatever their case and spacing, near ones confirmed by similarity."""

import json
import random

import pytest

from lib.data.duplicates import MOST, near_duplicates, normalised, overlap

WORDS = ["sun", "moon", "river", "stone", "cloud", "light", "house", "keeper", "garden",
         "window", "silver", "autumn", "letter"]


def sentence(generator: random.Random) -> str:
    return " ".join(generator.choices(WORDS, k=20))


@pytest.mark.parametrize(("first", "second"), [
    ("Why is the sky blue?", "why is  the sky\nBLUE"), ("Straße", "STRASSE"),
    ("ﬁne", "fine"), ("a-b_c", "a b c"), ("你好！", "你好")])
def test_case_spaces_punctuation_and_compatibility_forms_do_not_matter(
    first: str, second: str
) -> None:
    assert normalised(first) == normalised(second)


@pytest.mark.parametrize("texts", [
    ["in C", "in C++", "in C#", "in .NET", "in NET", "in F#", "in F", "in F*"],
    ["7 + 8", "7 - 8", "7 * 8", "7 / 8", "7 % 8", "7 ^ 8", "7 = 8", "78", "7.8", "7 8"],
    ["x < 5", "x > 5", "x <= 5", "x != 5", "x == 5", "x = 5"],
    ["what is 5!", "what is 5", "what is -5", "what is 5%", "what is $5", "what is €5"],
    ["what is 10²", "what is 102", "what is 10³", "what is 10₂"],
    ["ls -l", "ls | l", "ls & l", "ls l", "ls > l", "ls ~l", "ls @l", "ls \\l"],
    ["cd", "cd .", "cd ..", "cd /", "cd ~", "cd *"],
    ["f . g", "f g", "f(g)", "f[g]", "f{g}", "f'(g)", "f/g"],
    ['print("a")', "print(a)", "print('a')"],
    ["कि", "की", "का", "क", "कु"], ["שָלום", "שלום"], ["كَتَبَ", "كتب", "كُتُب"],
    ["กา", "กี", "ก", "กุ"], ["😀 mood", "😢 mood", "mood"], ["a → b", "a ← b", "a b", "a ∧ b"],
    ["♀", "♂"], ["1/2", "½", "1 2", "1½", "11/2"], ["a&b", "a|b", "a b"]])
def test_symbols_and_the_signs_of_every_script_tell_texts_apart(texts: list[str]) -> None:
    assert len({normalised(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(("first", "second"), [
    ("Why?", "why"), ("C++.", "c++"), ('Say "hi".', "say hi"), ("¿Qué es?", "qué es"),
    ("«Oui», dit-il", "oui dit-il"), ("यह क्या है।", "यह क्या है"), ("ما هذا؟", "ما هذا"),
    ("7+8", "7 + 8"), ("f (x)", "f(x)"), ("a\u200bb", "ab"), ("Wait… what", "wait what"),
    ("well-known", "well known"), ("snake_case", "snake case"), ("(Really?)", "(really)"),
    ("cafe\u0301", "café"), ("ＡＢＣ", "abc")])
def test_the_punctuation_of_sentences_does_not_matter_in_any_language(
        first: str, second: str) -> None:
    assert normalised(first) == normalised(second)


def test_rows_of_one_template_are_compared_with_few_others_and_still_found() -> None:
    texts = [f"Translate this sentence into French, please, and keep its style: {number}"
             for number in range(600)]
    found = near_duplicates(texts)
    assert {second for _, second, _ in found} == set(range(1, 600))
    assert len(found) <= 600 * MOST
    report = overlap(texts[:400], texts[400:])
    assert {second for _, second, _ in report.near} == set(range(200))
    assert len(report.near) <= 200 * MOST


def test_texts_of_punctuation_alone_stay_different() -> None:
    assert normalised(":-)") != normalised(":-(")


def test_a_changed_word_is_near_and_another_text_is_not() -> None:
    generator = random.Random(0)
    texts = [sentence(generator) for _ in range(200)]
    changed = texts[17].replace(texts[17].split()[3], "banana", 1)
    pairs = near_duplicates([*texts, changed])
    assert [(first, second) for first, second, _ in pairs] == [(17, 200)]
    assert 0.7 <= pairs[0][2] < 1


def test_all_pairs_above_the_threshold_are_found_as_by_comparing_everything() -> None:
    generator = random.Random(1)
    texts = [sentence(generator) for _ in range(30)]
    for text in list(texts):  # variants at many distances
        words = text.split()
        for changes in (1, 2, 3, 5):
            texts.append(" ".join(words[:-changes] + generator.choices(WORDS, k=changes)))

    def grams(text: str) -> set[str]:
        return {text[start:start + 5] for start in range(len(text) - 4)}

    sets = [grams(normalised(text)) for text in texts]
    expected = {(i, j) for j in range(len(texts)) for i in range(j)
                if len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= 0.8}
    assert len(expected) > 30
    assert {(i, j) for i, j, _ in near_duplicates(texts, 0.8)} == expected


def test_overlap_tells_exact_from_near_and_ignores_repetitions_within_a_set() -> None:
    train = ["What is the capital of France?", "Describe the water cycle to a class of ten",
             "what is the capital of france", "unrelated"]
    heldout = ["WHAT is the capital of France", "Describe the water cycle to a class of six",
               "Something else altogether", "x"]
    report = overlap(train, heldout)
    assert set(report.exact) == {(0, 0), (2, 0)}
    assert [pair[:2] for pair in report.near] == [(1, 1)]
    summary = json.loads(json.dumps(report.to_dict()))
    assert (summary["train"], summary["heldout"]) == (4, 4)


def test_short_and_empty_texts_are_compared_without_failing() -> None:
    assert [pair[:2] for pair in near_duplicates(["", "a", "A!", "b", "", "é"])] == [(0, 4), (1, 2)]
    assert near_duplicates([]) == []
    assert overlap([], ["a"]).exact == ()
