"""When a decoding pass is recorded, and that the engine's pass may be: no GPU is needed here."""

from contextlib import contextmanager

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from lib.inference.engine.cuda_graph import WARM_UPS, RecordedPass
from lib.inference.engine.decoding import Engine, SampleRequest
from lib.inference.engine.sampling_mode import sampling_mode
from lib.inference.sampling import SamplingSettings
from tests.inference.tiny_models import FAMILIES, tiny


class FakeCuda:
    """Streams and graphs of torch.cuda, as far as they are used; a graph replays by `replayed`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: str = "") -> None:
        self.replayed, self.error = 0, error
        for name in ("Stream", "current_stream"):
            monkeypatch.setattr(torch.cuda, name, lambda: self)
        monkeypatch.setattr(torch.cuda, "stream", self.entered)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        monkeypatch.setattr(torch.cuda, "graph", self.recording)

    def wait_stream(self, _: object) -> None:
        """Streams of one thread are in order anyway."""

    @contextmanager
    def entered(self, _: object):  # noqa: ANN201
        """Make a stream the current one."""
        yield

    @contextmanager
    def recording(self, _: object):  # noqa: ANN201
        """Record, or fail as CUDA does when a pass waits for the GPU."""
        yield
        if self.error:
            raise RuntimeError(self.error)

    def replay(self) -> None:
        """Count a replay."""
        self.replayed += 1


def test_a_pass_is_recorded_once_for_each_place_of_its_memory(
        monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, runs = FakeCuda(monkeypatch), []
    recorded = RecordedPass(lambda: runs.append(1) or torch.tensor(len(runs)))
    results = [recorded(place) for place in (1, 1, 1, 2, 2)]
    assert len(runs) == 2 * (WARM_UPS + 1)
    assert cuda.replayed == 5
    assert [int(result) for result in results] == [WARM_UPS + 1] * 3 + [2 * WARM_UPS + 2] * 2


def test_a_pass_that_cannot_be_recorded_runs_as_it_is_and_says_so(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cuda = FakeCuda(monkeypatch, error="operation not permitted when stream is capturing")
    recorded = RecordedPass(lambda: torch.tensor(7))
    assert [int(recorded(1)), int(recorded(2))] == [7, 7]
    assert cuda.replayed == 0
    assert capsys.readouterr().out.count("stream is capturing") == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pass_may_be_played_back(family: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """It gives the same twice, and what it reads stays in its place until the cache has moved."""
    model = tiny(family, tokenizer)
    requests = [SampleRequest(str(length), 0, tuple(range(1, length))) for length in (6, 9)]
    settings = SamplingSettings(samples=2, max_new_tokens=60)
    places: dict[int, set] = {}
    with torch.inference_mode(), sampling_mode(model):
        engine = Engine(model, settings, [], requests)
        engine.step()
        slots = engine.slots
        while not engine.idle:
            engine._admit()
            engine.cache.fit(max(sample.length for sample in engine.running), slots)
            once, twice = engine._pass(slots, slots).clone(), engine._pass(slots, slots)
            assert torch.equal(once, twice)
            tensors = (engine.positions, engine.history, *engine.cache.keys, *engine.cache.values)
            places.setdefault(engine.cache.version, set()).add(
                tuple(tensor.data_ptr() for tensor in tensors))
            engine.step()
    assert len(places) > 1
    assert all(len(place) == 1 for place in places.values())
