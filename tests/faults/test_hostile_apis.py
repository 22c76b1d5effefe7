"""A small part of what `hostile_apis` does with 2,000 items."""

from pathlib import Path

import pytest

from tests.faults.hostile_apis import Trial, try_rewards, try_sampling


@pytest.mark.parametrize("trial", [try_rewards, try_sampling])
def test_of_a_hostile_server_every_item_is_right_or_missing_and_counted(
        trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_TEST_KEY", "")  # set anew, and unset after the test
    server, said, faults = trial(300, tmp_path)
    assert faults == []
    assert not said.startswith("0 of")
    assert len(server.met) > 0.8 * len(server.troubles | server.odd)
