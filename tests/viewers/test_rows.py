"""Rows of answers become pools, choices and scores; what cannot be joined is named."""

import math

import pytest

from lib.viewers.page_data import _pool
from lib.viewers.rows import Collection, ViewerError, join
from tests.viewers.viewer_rows import candidate, response, small_systems


@pytest.fixture
def collection() -> Collection:
    return join(small_systems(), judges=["judge"])


def test_systems_that_chose_from_one_pool_share_it(collection: Collection) -> None:
    pool = collection.prompts[0].pool("sft")
    assert pool is collection.prompts[0].pool("sft+bon2@0.6")
    assert pool.chosen == {"sft": 0, "sft+bon2@0.6": 1, "sft+random2@0.6": 1}
    assert len(collection.prompts[0].pools) == 2


def test_each_system_keeps_its_own_choice(collection: Collection) -> None:
    assert collection.prompts[0].answer("sft").text == "It is red."
    assert collection.prompts[0].answer("sft+bon2@0.6").text == "Blue it is."


def test_judges_come_first_and_the_rest_are_selectors(collection: Collection) -> None:
    assert collection.models == ("judge", "selector")
    assert collection.selectors == ("selector",)


def test_equal_stripped_texts_of_a_prompt_have_one_number() -> None:
    systems = {"sft": [response("p", [candidate(" same\n"), candidate("other")])],
               "dpo": [response("p", [candidate("same")])]}
    prompt = join(systems).prompts[0]
    assert prompt.answer("sft").text_id == prompt.answer("dpo").text_id
    assert prompt.pool("sft").answers[1].text_id != prompt.answer("dpo").text_id


def test_a_choice_without_a_score_to_go_by_was_not_picked() -> None:
    systems = {"sft": [response("p", [candidate("one", judge=None), candidate("two")])],
               "sft+bon2@1": [response("p", [candidate("one", judge=1.0), candidate("two")])],
               "dpo": [response("p", [candidate("alone", judge=None)])]}
    prompt = join(systems).prompts[0]
    assert prompt.pool("sft").picked == {"sft+bon2@1"}
    assert prompt.pool("dpo").picked == {"dpo"}


def test_answers_of_a_word_each_have_no_pairs_of_words_that_could_be_distinct() -> None:
    collection = join({"sft": [response("p", [candidate("Yes."), candidate("No.")])]})
    pool, = collection.prompts[0].pools
    assert pool.diversity is None
    assert _pool(pool, collection)[2] is None


def test_other_answers_have_another_key_and_the_same_ones_the_same() -> None:
    systems = small_systems()
    assert join(systems).key == join(systems, judges=["judge"]).key
    systems["dpo"][0]["candidates"][0]["text"] += "!"
    assert join(systems).key != join(small_systems()).key


def test_scores_that_only_one_copy_of_a_pool_has_are_not_lost() -> None:
    texts = ["one", "two"]
    systems = {
        "sft": [response("p", [candidate(text, judge=None) for text in texts])],
        "sft+bon2@1": [response("p", [candidate(text, judge=3.0) for text in texts], 1)],
    }
    assert join(systems).prompts[0].answer("sft").rewards == {"judge": 3.0}


def test_constraints_are_checked_on_every_candidate() -> None:
    heldout = [{"id": "p", "prompt": "Say hi.", "reference": "Hi!", "source": "constraints",
                "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}]
    systems = {"sft": [response("p", [candidate("Hi, you."), candidate("Hi you.")])]}
    answers = join(systems, heldout).prompts[0].pools[0].answers
    assert [dict(answer.checks) for answer in answers] == [
        {"punctuation: no comma": False}, {"punctuation: no comma": True}]


def test_a_score_that_is_not_a_number_counts_as_missing() -> None:
    systems = {"sft": [response("p", [candidate("x", judge=math.nan)])]}
    assert join(systems).prompts[0].answer("sft").rewards == {"judge": None}


def test_no_responses_are_refused_with_advice() -> None:
    with pytest.raises(ViewerError, match="generate answers first"):
        join({"sft": []})


def test_a_prompt_answered_twice_is_named() -> None:
    with pytest.raises(ViewerError, match="sft answers prompt 'p' twice"):
        join({"sft": [response("p", [candidate("a")])] * 2})


def test_a_choice_outside_the_candidates_is_named() -> None:
    with pytest.raises(ViewerError, match="chosen is 3"):
        join({"sft": [response("p", [candidate("a")], chosen=3)]})


def test_an_unknown_judge_is_named_with_those_that_are_known() -> None:
    with pytest.raises(ViewerError, match="'nemotron' scored nothing; scores are by judge, sel"):
        join(small_systems(), judges=["nemotron"])
