"""An empty cache of replies."""

from pathlib import Path

import pytest

from lib.inference.rewards.cache import ScoreCache


@pytest.fixture
def cache(tmp_path: Path) -> ScoreCache:
    return ScoreCache(tmp_path / "replies.sqlite")
