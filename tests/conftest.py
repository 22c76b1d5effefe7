"""No test asks a hub or sends telemetry; set before anything imports the libraries that would."""

import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def _no_headless_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner marks its process as headless; no test leaves that mark to the next."""
    monkeypatch.delenv("STUDY_HEADLESS", raising=False)
