"""Figures that explain: tokens with the loss, who sees whom in a packed row, what fills memory."""

import numpy as np
import pytest

from lib.analysis import figures
from lib.analysis.figures.teaching import packed_row_figure, token_mask_html
from tests.analysis.figures.test_figures import subtitle, title


def test_tokens_that_carry_the_loss_are_marked_twice_and_text_stays_text() -> None:
    page = token_mask_html(["<b>", "a\n", "", "end"], [0, 1, 1, 0])
    assert "2 of 4 tokens carry the loss" in page
    assert page.count("border-bottom:2px") == page.count('title="response"') == 2
    assert "&lt;b&gt;" in page
    assert "a&#8629;<br>" in page  # a line break can be seen
    assert "&#8709;</span>" in page  # and a token without text


def test_a_token_sees_its_prompt_and_what_stands_before_it_in_its_own_answer() -> None:
    figure = packed_row_figure([(2, (1, 2)), (0, (2,))])
    assert np.array(figure.data[0].z).tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],  # the first answer
        [1, 1, 0, 1, 0, 0, 0],  # the second one does not see it
        [1, 1, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],  # a conversation of its own
        [0, 0, 0, 0, 0, 1, 1]]
    assert figure.data[0].text[4][2] == "prompt 1, answer 2 sees prompt 1, answer 1"
    assert title(figure) == "Only 33% of all pairs of positions are computed"


@pytest.mark.parametrize(("gb", "told"), [
    ((2.0, 3.0), "At most 8.0 of 16 GB are in use"),
    ((9.0, 2.0), "At most 14.0 of 16 GB are in use")])
def test_the_memory_of_the_fullest_stage_is_told_beside_the_gpus(
        gb: tuple[float, float], told: str) -> None:
    rows = [{"stage": stage, "kind": kind, "gb": value, "of": 16}
            for stage, weights, rest in (("sft", 5.0, gb[0]), ("dpo", 5.0, gb[1]))
            for kind, value in (("weights", weights), ("activations", rest))]
    figure = figures.memory_figure(rows)
    assert title(figure) == told
    assert [(bar.name, list(bar.x)) for bar in figure.data] == [
        ("weights", [5, 5]), ("activations", list(gb))]
    assert "counted, not measured; n = 2 stages" in subtitle(figure)
