"""Addresses of servers: which are none, and which are on this machine, where no proxy is asked."""

import socket
from pathlib import Path

import pytest

from lib.inference.api.address import is_local
from lib.inference.api.server import sample_from_server
from lib.inference.api.transport import ServerSettings, Transport
from lib.inference.rewards.remote.nemotron import ApiSettings, NemotronRewardModel
from lib.inference.sampling_settings import SamplingSettings
from tests.inference.fake_server import FakeServer
from tests.inference.judges.fake_judge import completion

SETTINGS = SamplingSettings(samples=1, max_new_tokens=8)
PROMPTS = [{"id": "p0", "prompt": "question", "source": "test"}]
NOBODY = "http://127.0.0.1:9"  # the port that discards


@pytest.mark.parametrize("address", [
    "localhost:8000", "http://", "http:///v1", "http://::1:8000/v1", "http://[::1", "http://[]:80",
    "http://localhost:port/v1", "http://localhost:8000:9/v1", "http://my host/v1", "ftp://host/v1",
    "http://localhost:8000/v1\n", " http://localhost:8000/v1", "http://host?version=1", ""])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"base_url is .*; use text \(an http or https address"):
        ServerSettings("tiny", base_url=address)


@pytest.mark.parametrize("address", [
    "http://localhost:8000/v1", "https://api.example.org/v1", "http://[::1]:8000/v1",
    "http://[fe80::1%25eth0]:8000/v1", "http://[::ffff:127.0.0.1]/v1", "http://10.0.0.7:8000",
    "http://user:word@proxied.example.org/v1", "https://b\u00fccher.example/v1", "http://node_7:80/"])
def test_an_address_of_every_form_is_taken(address: str) -> None:
    assert ServerSettings("tiny", base_url=address).base_url == address


@pytest.mark.parametrize(("host", "local"), [
    ("localhost", True), ("LOCALHOST", True), ("localhost.", True), ("me.localhost", True),
    ("127.0.0.1", True), ("127.8.9.1", True), ("127.1", True), ("[::1]", True),
    ("[0:0:0:0:0:0:0:1]", True), ("0.0.0.0", True), ("[::]", True), ("[::ffff:127.0.0.1]", True),
    (socket.gethostname(), True), ("localhost.example.org", False), ("notlocalhost", False),
    ("10.0.0.7", False), ("128.0.0.1", False), ("[fe80::1%25eth0]", False),
    ("[2001:db8::1]", False), ("b\u00fccher.example", False)])
def test_a_machines_own_addresses_are_known(host: str, local: bool) -> None:
    assert is_local(f"http://{host}:8000/v1") is local
    assert is_local(f"https://{host}/v1") is local


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_server_on_this_machine_is_asked_without_the_proxy_of_the_environment(
        variable: str, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, NOBODY)
    row, = sample_from_server(PROMPTS, SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert row["candidates"][0]["text"] == "answer 0 to question"
    server.behave = lambda asked, call: completion("reward:-1.5")
    scorer = NemotronRewardModel(ApiSettings(base_url=server.settings.base_url, attempts=1))
    assert scorer.probe() == -1.5


def test_another_machine_is_asked_through_the_proxy_of_the_environment(
        server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", server.settings.base_url.removesuffix("/v1"))
    elsewhere = "http://models.example.org/v1"
    server.listed[f"{elsewhere}/models"] = {"data": [{"id": "tiny"}]}
    transport = Transport(ServerSettings("tiny", base_url=elsewhere))
    assert transport.get(f"{elsewhere}/models") == {"data": [{"id": "tiny"}]}


def test_an_ipv6_address_is_asked_as_any_other(tmp_path: Path) -> None:
    try:
        server = FakeServer("::1")
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    assert "[::1]" in server.settings.base_url
    row, = sample_from_server(PROMPTS, SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert row["candidates"][0]["text"] == "answer 0 to question"
    server.http.shutdown()
    server.http.server_close()
