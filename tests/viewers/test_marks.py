from lib.viewers.marks import CLIP, MOST_FINDS, shown


def test_a_find_inside_a_changed_stretch_keeps_both_marks() -> None:
    pieces = shown("one two three", [(4, 13)], "changed", "THREE").head
    assert [(piece.text, piece.mark, piece.found) for piece in pieces] == [
        ("one ", "", False), ("two ", "changed", False), ("three", "changed", True)]


def test_the_pieces_together_are_the_text() -> None:
    text = "again and " * 1000
    result = shown(text, [(3, 5000), (6000, 6001)], "shared", "and")
    assert "".join(piece.text for piece in (*result.head, *result.rest)) == text


def test_a_long_text_is_clipped_and_the_rest_counted() -> None:
    result = shown("x" * (CLIP + 10))
    assert sum(len(piece.text) for piece in result.head) == CLIP
    assert result.rest_length == 10


def test_the_number_of_marked_finds_is_bounded() -> None:
    result = shown("a" * 100_000, search="a")
    assert sum(piece.found for piece in (*result.head, *result.rest)) == MOST_FINDS


def test_letters_that_change_length_in_lower_case_do_not_shift_marks() -> None:
    assert not any(piece.found for piece in shown("İstanbul is big", search="big").head)


def test_white_space_alone_is_empty() -> None:
    assert shown(" \n ").empty
    assert not shown("x").empty
