"""What is compared was decided before any answer was seen, and stays so."""

from lib.analysis.comparisons.family import contrast_triples, control_pairs, family

TEMPERATURES = (1.0, 0.1)


def pairs(**options: bool) -> list[tuple[str, str]]:
    return [(row.a, row.b) for row in family(4, 0.6, TEMPERATURES, **options)]


def test_the_family_is_the_papers_table_by_temperature_and_what_it_lacks() -> None:
    assert pairs() == [
        ("sft", "base"), ("sft+bon4@0.6", "base"), ("dpo", "sft"),
        ("dpo+bon4@0.1", "sft"), ("dpo+bon4@0.6", "sft"), ("dpo+bon4@1", "sft"),
        ("dpo", "base"), ("dpo+bon4@0.6", "base"), ("sft+bon4@0.6", "sft"),
        ("dpo+bon4@0.6", "dpo"), ("dpo+bon4@0.6", "sft+bon4@0.6")]
    assert family(4, 0.6, ()) == [row for row in family(4, 0.6, TEMPERATURES)
                                  if "@0.1" not in row.a and "@1" not in row.a]


def test_where_the_base_model_has_a_best_of_n_training_and_selection_compete() -> None:
    assert pairs(base_reranked=True) == pairs() + [
        ("base+bon4@0.6", "base"), ("sft", "base+bon4@0.6"), ("dpo", "base+bon4@0.6")]


def test_a_control_is_a_random_pick_of_a_pool_against_one_answer_of_it_outside_the_family() -> None:
    assert control_pairs(4, 0.6) == [("sft+random4@0.6", "sft"), ("dpo+random4@0.6", "dpo")]
    assert not set(control_pairs(4, 0.6)) & set(pairs(base_reranked=True))


def test_a_contrast_asks_two_systems_about_one_opponent_and_no_system_about_itself() -> None:
    best = "dpo+bon4@0.6"
    assert contrast_triples(4, 0.6, TEMPERATURES) == [
        ("dpo", "sft", "base"), (best, "sft+bon4@0.6", "base"), (best, "dpo", "sft"),
        (best, "dpo+bon4@0.1", "sft"), (best, "dpo+bon4@1", "sft")]
    assert contrast_triples(4, 0.6, (0.6,)) == contrast_triples(4, 0.6, ())
