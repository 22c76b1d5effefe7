"""Which arms a run has: each once, the one that others are matched to first, and no other names."""

import pytest

from lib.study.beyond.names import NAMES
from lib.study.beyond.settings import BeyondSettings
from lib.study.profiles import ProfileError, load_profile


@pytest.mark.parametrize(("given", "arms"), [
    (["dpo", "odpo", "raft"], ("offline_dpo", "odpo", "raft")),
    (["odpo_matched", "raft", "offline_dpo"], ("offline_dpo", "odpo_matched", "raft")),
    (["raft", "raft", "dpo", "offline_dpo"], ("offline_dpo", "raft")),
    ("raft", ("raft",)), ((), ()), (["rloo", "bond"], ("rloo", "bond"))])
def test_an_arm_is_named_once_and_the_anchor_runs_first(given: object, arms: tuple) -> None:
    assert load_profile("smoke", {"beyond.arms": given}).beyond.arms == arms
    assert BeyondSettings(arms=given).arms == arms


@pytest.mark.parametrize("given", ["all", ["all"], ["raft", "all"]])
def test_all_takes_every_arm(given: object) -> None:
    arms = load_profile("smoke", {"beyond.arms": given}).beyond.arms
    assert sorted(arms) == sorted(NAMES)
    assert arms[0] == "offline_dpo"


@pytest.mark.parametrize(("given", "hint"), [
    (["dpo", "raff"], "there is no arm 'raff'; did you mean raft"), (["DPO"], "did you mean dpo"),
    (["online"], "did you mean online_dpo"), (["ppo"], "did you mean"),
    (["xyz"], "there is no arm 'xyz'; use offline_dpo, ")])
def test_an_unknown_arm_is_answered_with_names_that_are_right(given: list, hint: str) -> None:
    with pytest.raises(ProfileError, match=hint):
        load_profile("smoke", {"beyond.arms": given})


@pytest.mark.parametrize("given", ["ppo", ["raft", "ppo"], [3], {"raft": 1}, None, [["raft"]], 7,
                                   "raft,odpo", ["RAFT"], [""]])
def test_anything_else_is_refused_by_the_settings_name(given: object) -> None:
    with pytest.raises(ProfileError, match=r"beyond\.arms"):
        load_profile("smoke", {"beyond.arms": given})


@pytest.mark.parametrize("samples", [0, 1, -4])
def test_one_sample_a_prompt_is_refused(samples: int) -> None:
    with pytest.raises(ProfileError, match=r"beyond\.samples"):
        load_profile("smoke", {"beyond.samples": samples})
