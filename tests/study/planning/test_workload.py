"""The work of a run as it is counted before, beside what a recorded run computed."""

from dataclasses import replace

import pytest

from lib.study.planning.benchmark import Rates
from lib.study.planning.memory import SHAPES
from lib.study.planning.work import Work, lengths_of
from lib.study.planning.workload import DEPTH, evaluations, planned_work, validation_rows
from lib.study.profiles import Profile, load_profile
from lib.study.stages.table import STAGES

# tokens computed in training, and new tokens, of the recorded run of the laptop study
RECORDED = {"sft": 41_024, "dpo": 53_312, "warning": 2 * (10_496 + 9_600)}
SAMPLED = 78_922 + 133_941 + 102_124 + 35_475 + 32_789 + 35_612
OPTIONAL = {"pairs", "chosen_pairs", "deep", "verdicts"}  # of a laptop run
RATES = Rates(1e11, 1e8, 2e11, 5e10, "given")


def works(profile: Profile) -> dict[str, Work]:
    return {stage.name: stage.work for stage in planned_work(profile)}


def test_every_stage_of_a_run_is_planned_in_the_notebook_that_makes_it() -> None:
    planned = {stage.name: stage.notebook for stage in planned_work(load_profile("laptop"))}
    assert planned.keys() == STAGES.keys() - OPTIONAL
    assert all(planned[name] == STAGES[name].notebook for name in planned.keys() - {"rewards"})
    assert planned["rewards"] == "03_dpo"  # whose probe is the first that needs the judge


def test_stages_that_only_some_runs_have_are_planned_where_they_are_set() -> None:
    assert "deep" in works(load_profile("laptop", {"evaluation.deep_samples": 16}))
    assert "pairs" in works(load_profile("gemma"))
    assert "chosen_pairs" in works(load_profile("laptop", {"data.fdpo_threshold": 0.0}))
    assert "beyond" not in works(load_profile("laptop", {"beyond.arms": []}))
    assert "warning" not in works(load_profile("laptop", {"evaluation.warning_run": False}))


@pytest.mark.parametrize("stage", RECORDED)
def test_planned_training_tokens_are_those_of_a_recorded_run(stage: str) -> None:
    assert works(load_profile("laptop"))[stage].trained == pytest.approx(RECORDED[stage], rel=0.15)


def test_planned_new_tokens_are_those_of_a_recorded_run() -> None:
    assert works(load_profile("laptop"))["responses"].sampled == pytest.approx(SAMPLED, rel=0.1)


def test_evaluations_are_counted_as_the_loop_makes_them() -> None:
    laptop = load_profile("laptop")  # its recorded run evaluated SFT and DPO three times
    assert evaluations(256, laptop.sft) == 3
    assert evaluations(522, laptop.dpo) == 3
    assert evaluations(48, laptop.warning) == 2
    assert evaluations(64, replace(laptop.sft, evaluate_every=4)) == 2  # the last step is one


def test_validation_rows_are_those_of_a_recorded_run() -> None:
    assert validation_rows(load_profile("laptop"), 256) == pytest.approx(64)
    assert validation_rows(load_profile("laptop"), 170) == pytest.approx(43, abs=1)


def test_scoring_reads_three_views_of_each_answer() -> None:
    laptop = load_profile("laptop")
    one = replace(laptop, evaluation=replace(laptop.evaluation, temperatures=(0.6,)))
    lengths, read = lengths_of(one), works(one)["responses"].read
    answers = 200 * (4 + 8 + 8)
    least = 3 * answers * DEPTH * lengths.answer  # each view reads at least the answer
    assert least < read < 2.5 * least


def test_a_server_that_samples_leaves_scoring_to_this_machine() -> None:
    served = works(load_profile("laptop", {"sampling.server": "http://localhost:8000/v1"}))
    assert served["responses"].sampled == 0
    assert served["responses"].read > 0


def test_an_arm_is_planned_with_every_training_and_every_answer_that_measures_kl() -> None:
    def work(arm: str) -> Work:
        return works(load_profile("laptop", {"beyond.arms": [arm]}))["beyond"]
    laptop, plain = load_profile("laptop"), work("offline_dpo")
    answer = lengths_of(laptop).answer
    steered, matched, online = (work(arm) for arm in ("adaptive_beta", "odpo_matched", "raft"))
    probes = 9 * laptop.evaluation.probe_prompts  # before training and about eight times in it
    assert steered.sampled - plain.sampled == pytest.approx(probes * answer)
    assert steered.read_heads > plain.read_heads
    assert matched.trained == 3 * plain.trained
    assert matched.sampled - plain.sampled == pytest.approx(3 * laptop.beyond.kl_prompts * answer)
    assert online.sampled - plain.sampled == pytest.approx(
        laptop.beyond.prompts * laptop.beyond.samples * answer)
    assert online.trained == plain.trained


def test_without_a_probe_dpo_samples_nothing() -> None:
    assert works(load_profile("laptop"))["dpo"].sampled == 3 * 32 * 80
    assert works(load_profile("laptop", {"evaluation.probe_prompts": 0}))["dpo"].sampled == 0


@pytest.mark.parametrize(("settings", "stage"), [
    ({"evaluation.candidates": 16}, "responses"), ({"evaluation.temperature_prompts": 200},
                                                   "responses"),
    ({"sft.epochs": 2.0}, "sft"), ({"dpo.epochs": 2.0}, "dpo"), ({"dpo.evaluate_every": 1}, "dpo"),
    ({"evaluation.warning_pairs": 96}, "warning"), ({"evaluation.prompts": 400}, "movement"),
    ({"dpo.activation_checkpointing": True}, "dpo")])
def test_more_of_anything_takes_longer_in_its_stage(settings: dict, stage: str) -> None:
    shape = SHAPES["packaged"]
    before, after = (works(load_profile("laptop", given))[stage].takes(shape, RATES)
                     for given in ({}, settings))
    assert after > before


@pytest.mark.parametrize("kind", ["training", "updating", "reading", "sampling"])
def test_every_rate_counts(kind: str) -> None:
    whole = sum(works(load_profile("laptop")).values(), Work())
    faster = replace(RATES, **{kind: 2 * getattr(RATES, kind)})
    assert whole.takes(SHAPES["packaged"], faster) < whole.takes(SHAPES["packaged"], RATES)


@pytest.mark.parametrize("profile", ["smoke", "laptop", "gemma", "paper", "t4"])
def test_the_work_of_every_preset_is_counted(profile: str) -> None:
    assert all(work.takes(SHAPES["packaged"], RATES) > 0
               for work in works(load_profile(profile)).values())
