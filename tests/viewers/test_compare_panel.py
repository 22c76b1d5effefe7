import re

import pytest

from lib.viewers.compare_panel import ComparePanel
from lib.viewers.rows import ViewerError, join
from tests.viewers.viewer_rows import hostile_systems, many_systems, small_systems


@pytest.fixture
def panel() -> ComparePanel:
    return ComparePanel(join(small_systems(), judges=["judge"]), "sft", "dpo")


def shown_id(panel: ComparePanel) -> str:
    return re.search(r'class="id">([^<]*)<', panel.body.value)[1]


def press(panel: ComparePanel, preset: str) -> None:
    panel.presets[preset].click()


def test_the_panel_opens_on_the_first_prompt_of_the_wanted_systems(panel: ComparePanel) -> None:
    assert shown_id(panel) == "p0"
    assert "It is red." in re.sub("<[^>]*>", "", panel.body.value)
    assert "5 of 5 prompts" in panel.pager.count.value


def test_without_a_wish_the_last_system_meets_the_first() -> None:
    panel = ComparePanel(join(small_systems()))
    assert (panel.left.value, panel.right.value) == ("dpo", "sft")


def test_next_and_previous_walk_and_hold_at_the_ends(panel: ComparePanel) -> None:
    panel.pager.previous.click()
    assert shown_id(panel) == "p0"
    for _ in range(9):
        panel.pager.next.click()
    assert shown_id(panel) == "p4"


def test_the_buttons_tell_their_keys(panel: ComparePanel) -> None:
    buttons = (panel.pager.next, panel.pager.previous, panel.diff)
    assert [button.tooltip for button in buttons] == ["Next (j)", "Previous (k)", "Mark words (d)"]


def test_a_number_jumps_to_its_row(panel: ComparePanel) -> None:
    panel.pager.number.value = 4
    assert shown_id(panel) == "p3"


def test_a_preset_filters_and_everything_brings_all_back(panel: ComparePanel) -> None:
    press(panel, "identical")
    assert shown_id(panel) == "p2"
    assert "1 of 5 prompts" in panel.pager.count.value
    press(panel, "everything")
    assert "5 of 5 prompts" in panel.pager.count.value


def test_the_preset_that_holds_looks_pressed_until_a_control_departs_from_it(
    panel: ComparePanel
) -> None:
    def pressed() -> list[str]:
        return [name for name, button in panel.presets.items() if button.button_style]

    assert pressed() == ["everything"]
    press(panel, "identical")
    assert pressed() == ["identical"]
    panel.search.value = "same"
    assert pressed() == []


def test_the_systems_change_sides_at_one_click(panel: ComparePanel) -> None:
    panel.swap.click()
    assert (panel.left.value, panel.right.value) == ("dpo", "sft")
    assert "n = 4: 0 wins, 1 ties, 3 losses" in panel.numbers.value


def test_a_search_narrows_and_marks(panel: ComparePanel) -> None:
    panel.search.value = "GREEN"
    assert shown_id(panel) == "p0"
    assert "<mark>" in panel.body.value


def test_a_search_without_finds_says_so_and_recovers(panel: ComparePanel) -> None:
    panel.search.value = "nothing has this"
    assert "No prompt passes" in panel.body.value
    panel.search.value = ""
    assert shown_id(panel) == "p0"


def test_the_diff_switch_redraws(panel: ComparePanel) -> None:
    assert 'class="changed"' in panel.body.value
    panel.diff.value = False
    assert 'class="changed"' not in panel.body.value


def test_the_numbers_follow_the_filters(panel: ComparePanel) -> None:
    assert "n = 4: 3 wins, 1 ties" in panel.numbers.value
    panel.winner.value = "left"
    assert "n = 3: 3 wins, 0 ties" in panel.numbers.value


def test_sources_lengths_and_order_narrow_and_a_preset_takes_them_back(
    panel: ComparePanel
) -> None:
    panel.sources["coding"].value = True
    assert "2 of 5 prompts" in panel.pager.count.value
    panel.shortest.value = 10
    assert "1 of 5 prompts" in panel.pager.count.value
    press(panel, "everything")
    assert "5 of 5 prompts" in panel.pager.count.value
    panel.order.value = "score gap"
    assert shown_id(panel) == "p3"


def test_a_click_on_a_bar_filters_and_a_second_one_takes_it_back(panel: ComparePanel) -> None:
    bars = panel.histogram.bars
    place = next(place for place, bar in enumerate(bars) if not bar.disabled)
    bars[place].click()
    assert "1 of 5 prompts" in panel.pager.count.value
    assert shown_id(panel) == "p3"  # the largest gap stands outermost, on the winner's side
    assert panel.histogram.counts[place].value == "1"
    bars[place].click()
    assert "5 of 5 prompts" in panel.pager.count.value


def test_other_systems_can_be_chosen(panel: ComparePanel) -> None:
    panel.right.value = "sft+bon2@0.6"
    assert "Blue it is." in re.sub("<[^>]*>", "", panel.body.value)


def test_hostile_text_stays_text_in_the_panel() -> None:
    panel = ComparePanel(join(hostile_systems()))
    for place in range(len(panel.rows)):
        panel.pager.number.value = place + 1
        assert not re.search("<(script|img|iframe|a|link|style)[ >]", panel.body.value)


def test_one_system_cannot_be_compared() -> None:
    with pytest.raises(ViewerError, match="at least two"):
        ComparePanel(join({"sft": small_systems()["sft"]}))


def test_systems_without_scores_can_be_read() -> None:
    systems = small_systems()
    for rows in systems.values():
        for row in rows:
            for candidate in row["candidates"]:
                candidate["rewards"] = {}
    panel = ComparePanel(join(systems))
    assert "No scored pair" in panel.numbers.value
    assert shown_id(panel) == "p0"


def test_the_panel_is_built_of_core_widgets(panel: ComparePanel) -> None:
    modules = {type(widget).__module__.split(".")[0] for widget in everything_in(panel)}
    assert modules <= {"ipywidgets", "lib"}


def everything_in(widget: object) -> list[object]:
    return [widget, *(inner for child in getattr(widget, "children", ())
                      for inner in everything_in(child))]


def test_a_thousand_prompts_are_paged_through_without_filtering_again(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = ComparePanel(join(many_systems(1000, 2, words=20)))
    monkeypatch.setattr("lib.viewers.compare_panel.select", lambda *_: pytest.fail("filtered"))
    panel.pager.next.click()
    assert shown_id(panel) == "p1"
    panel.pager.number.value = 1000
    assert shown_id(panel) == "p999"


def test_filtering_makes_no_new_widgets(panel: ComparePanel) -> None:
    before = [id(widget) for widget in everything_in(panel)]
    press(panel, "hit the limit")
    assert [id(widget) for widget in everything_in(panel)] == before
