from lib.viewers.blind import draw, shuffled, sides

IDS = [f"explanation-{number:03d}" for number in range(200)]


def test_the_hash_is_fnv_1a_with_murmurs_finaliser() -> None:
    assert draw("") == finalised(0x811C9DC5)
    assert draw("a") == finalised(0xE40C292C)  # FNV's published test vector for "a"


def finalised(state: int) -> int:
    state = (state ^ state >> 16) * 0x85EBCA6B % 2**32
    state = (state ^ state >> 13) * 0xC2B2AE35 % 2**32
    return state ^ state >> 16


def test_each_system_stands_on_each_side_about_as_often() -> None:
    left = [sides("sft", "dpo", id, seed=1)[0] for id in IDS]
    assert 70 < left.count("sft") < 130


def test_the_side_does_not_depend_on_the_order_in_which_systems_are_named() -> None:
    assert all(sides("sft", "dpo", id, 3) == sides("dpo", "sft", id, 3) for id in IDS)


def test_another_seed_gives_other_sides_and_another_order() -> None:
    assert [sides("a", "b", id, 0) for id in IDS] != [sides("a", "b", id, 1) for id in IDS]
    assert shuffled(IDS, 0) != shuffled(IDS, 1)


def test_an_order_is_a_permutation_that_others_leaving_does_not_change() -> None:
    order = shuffled(IDS, 5)
    assert sorted(order) == IDS
    assert shuffled(IDS[:50], 5) == [id for id in order if id in set(IDS[:50])]
