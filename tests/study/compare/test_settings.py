"""What two runs were made with: every difference once, and nothing that only follows from one."""

from pathlib import Path

from lib.study.compare.settings import differing_settings
from tests.study.compare.recorded_runs import change_manifest, recorded_run


def differences(a: Path, b: Path) -> dict[str, tuple[str, str, str]]:
    return {row["setting"]: (row["a"], row["b"], row["stages"])
            for row in differing_settings(a, b)}


def test_a_setting_that_several_stages_share_stands_once(tmp_path: Path) -> None:
    a = recorded_run(tmp_path / "a")
    b = recorded_run(tmp_path / "b", {"seed": 3, "sampling.top_k": None}, reference="Other.")
    assert differences(a, b) == {
        "seed": ("0", "3", "data, rewards, responses"),
        "sampling.top_k": ("50", "None", "responses"),
        "input heldout": ("Good.", "Other.", "data")}
    assert list(differences(a, b)) == ["sampling.top_k", "seed", "input heldout"]


def test_machine_packages_and_code_are_named_last(tmp_path: Path) -> None:
    a, b = (recorded_run(tmp_path / name) for name in "ab")
    change_manifest(b, "responses", device="cuda", environment={"torch": "3"},
                    git={"commit": "ab" * 20, "dirty": False})
    assert differences(a, b) == {
        "made with device": ("cpu", "cuda", "responses"),
        "made with environment.torch": ("2", "3", "responses"),
        "made with git.commit": ("121212121212", "abababababab", "responses")}


def test_a_stage_that_one_run_lacks_is_one_difference(tmp_path: Path) -> None:
    a, b = (recorded_run(tmp_path / name) for name in "ab")
    (b / "rewards" / "manifest.json").unlink()
    assert differences(a, b) == {"stage": ("there", "absent", "rewards")}
    assert differences(a, a) == {}
