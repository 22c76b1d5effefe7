"""A server whose replies a test chooses."""

from collections.abc import Iterator

import pytest

from tests.inference.fake_server import FakeServer


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.http.shutdown()
    fake.http.server_close()
