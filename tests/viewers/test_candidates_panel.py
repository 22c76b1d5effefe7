import pytest

from lib.viewers.candidates_panel import CandidatesPanel
from lib.viewers.pools import AS_SAMPLED, choice_of, policies, pools_of, temperatures
from lib.viewers.rows import Collection, join
from tests.viewers.viewer_rows import candidate, response, small_systems


def warm_and_cold() -> Collection:
    def pool(temperature: str) -> list[dict]:
        return [candidate(f"{temperature} answer {place}", selector=float(place))
                for place in range(3)]

    return join({
        "dpo": [response("p", pool("0.6"))],
        "dpo+bon3@0.6": [response("p", pool("0.6"), 2)],
        "dpo+bon3@1.0": [response("p", pool("1.0"), 2)],
        "base": [response("p", [candidate("base answer", selector=0.0)])],
    })


def test_policies_and_temperatures_are_read_from_the_names() -> None:
    collection = warm_and_cold()
    assert policies(collection.systems) == ["dpo", "base"]
    assert temperatures(collection, "dpo") == ["0.6", "1.0"]
    assert temperatures(collection, "base") == [AS_SAMPLED]


@pytest.mark.parametrize(("system", "how"), [
    ("dpo", "first draw"), ("dpo+random4@0.6", "random pick"), ("dpo+bon4@0.6", "chosen")])
def test_a_name_tells_how_its_answer_was_taken(system: str, how: str) -> None:
    assert choice_of(system) == how


def test_a_bare_policy_stands_in_the_pool_that_it_shares() -> None:
    pool = pools_of(warm_and_cold().prompts[0], "dpo")["0.6"]
    assert pool.chosen == {"dpo": 0, "dpo+bon3@0.6": 2}


def test_a_lone_answer_is_left_out_where_there_is_a_pool_to_choose_from() -> None:
    single = candidate("0.6 answer 0", selector=0.0)
    several = [single, candidate("another", selector=1.0)]
    collection = join({"dpo": [response("p", [single])],
                       "dpo+bon2@0.6": [response("p", several, 1)]})
    assert temperatures(collection, "dpo") == ["0.6"]


@pytest.fixture
def panel() -> CandidatesPanel:
    panel = CandidatesPanel(warm_and_cold())
    panel.policy.value = "dpo"
    return panel


def test_the_temperature_switch_shows_the_other_pool(panel: CandidatesPanel) -> None:
    panel.temperature.value = "0.6"
    assert "0.6 answer 1" in panel.body.value
    panel.temperature.value = "1.0"
    assert "1.0 answer 1" in panel.body.value
    assert "0.6 answer 1" not in panel.body.value


def test_another_policy_offers_its_own_temperatures(panel: CandidatesPanel) -> None:
    panel.policy.value = "base"
    assert panel.temperature.options == (AS_SAMPLED,)
    assert "base answer" in panel.body.value


def test_the_panel_walks_and_searches_the_prompts() -> None:
    panel = CandidatesPanel(join(small_systems(), judges=["judge"]))
    panel.policy.value = "sft"
    panel.pager.next.click()
    assert "Question p1?" in panel.body.value
    panel.search.value = "finer"
    assert "1 of 5 prompts" in panel.pager.count.value
    assert "<mark>Finer</mark>" in panel.body.value


def test_a_search_without_finds_says_so(panel: CandidatesPanel) -> None:
    panel.search.value = "no such text"
    assert "No prompt has this text" in panel.body.value
