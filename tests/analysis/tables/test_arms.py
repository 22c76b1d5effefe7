"""Tables of arms: one line each, the chosen first, the rest folded; equal ways, wrong labels."""

import re

import pytest

from lib.analysis import tables
from lib.runtime.files import Row
from lib.study.beyond.catalogue import ARMS, GROUPS, catalogue_rows


@pytest.mark.parametrize("chosen", [(), ("raft", "odpo"), tuple(ARMS)])
def test_every_arm_has_one_line_and_the_chosen_ones_come_first(chosen: tuple[str, ...]) -> None:
    text = tables.catalogue_table(catalogue_rows(), chosen)
    lines = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines()
             if line.startswith("| ") and not line.startswith(("| ---", "| arm"))]
    assert lines[:len(chosen)] == list(chosen)
    assert sorted(lines) == sorted(ARMS)
    folded = re.findall(r"<details><summary>(.*): (\d+) more</summary>", text)
    assert [name for name, _ in folded] == [group for group in GROUPS if any(
        arm.group == group and arm.name not in chosen for arm in ARMS.values())]
    assert sum(int(count) for _, count in folded) == len(ARMS) - len(chosen)
    assert text.count("<details>") == text.count("\n\n</details>") == len(folded)
    assert max(map(len, text.splitlines())) < 260


def arms(**kl: float) -> list[Row]:
    return [{"arm": name, "kl": value} for name, value in kl.items()]


def rates(**won: float) -> list[Row]:
    return [{"a": name, "b": "sft", "judge": judge, "n": 200, "win_rate": value + more,
             "ci_low": value - 0.04, "ci_high": value + 0.04}
            for name, value in won.items() for judge, more in (("judge", 0), ("selector", 0.3))]


def test_a_matched_loss_stands_beside_itself_at_the_profiles_rate() -> None:
    text = tables.equal_movement_table(arms(offline_dpo=0.2, odpo=0.5, odpo_matched=0.21),
                                       rates(offline_dpo=0.52, odpo=0.56, odpo_matched=0.51))
    lines = [line.split(" | ") for line in text.splitlines()[2:]]
    assert lines == [["| offline_dpo", ".20", ".52 [.48, .56], n = 200", "–", "– |"],
                     ["| odpo", ".50", ".56 [.52, .60], n = 200", ".21",
                      ".51 [.47, .55], n = 200 |"]]
    assert "add for example odpo and odpo_matched" in tables.equal_movement_table(
        arms(odpo=0.5), rates(odpo=0.5))


def test_flipped_labels_are_a_column_each_and_a_missing_arm_is_a_dash() -> None:
    text = tables.noise_table([], rates(offline_dpo=0.6, dpo_flipped10=0.58, dpo_flipped20=0.5,
                                        cdpo=0.59, cdpo_flipped20=0.57))
    head, _, *lines = text.splitlines()
    assert head == "| loss | none flipped | 10 % flipped | 20 % flipped |"
    assert [[cell.split(" [")[0] for cell in line.strip("| ").split(" | ")] for line in lines] == [
        ["dpo", ".60", ".58", ".50"], ["cdpo", ".59", "–", ".57"]]
    assert "add for example dpo_flipped10" in tables.noise_table([], rates(odpo=0.5))


def test_an_unread_arm_has_a_forecast_and_a_read_one_its_reading() -> None:
    empty = dict.fromkeys(("forecast", "low", "high", "read", "read_low", "read_high", "n"))
    verdicts = [row | {"holm_p": 0.2, "smallest_effect": 0.06, "length_controlled": None}
                for row in rates(odpo=0.52, raft=0.55)]
    text = tables.arm_verdicts_table(verdicts, {"line": {"comparisons": 12}, "rows": [
        {"arm": "odpo"} | empty | {"forecast": 0.51, "low": 0.42, "high": 0.6},
        {"arm": "raft"} | empty | {"read": 0.57, "read_low": 0.5, "read_high": 0.64, "n": 60}]})
    head, _, odpo, raft = text.splitlines()
    assert "reader, forecast from 12 comparisons [95 %]" in head
    assert "| .51 [.42, .60] | – |" in odpo
    assert "| – | .57 [.50, .64], 60 |" in raft
    assert "undecided" in odpo
