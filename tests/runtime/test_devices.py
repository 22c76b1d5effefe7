"""Devices: reasons that are true, and an import that asks for nothing that a system may lack."""

import ast
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

from lib import ROOT
from lib.runtime import devices

WITHOUT = """
import os, psutil, sys
sys.modules["resource"] = None  # as on Windows, and no os.sysconf
del os.sysconf
from lib.study.run import open_study
from lib.study.planning.preflight import blockers
print(len(blockers(open_study("smoke", sys.argv[1]))))
"""


def test_a_system_without_resource_and_sysconf_opens_a_study_and_checks_it(
        tmp_path_factory: pytest.TempPathFactory) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT, str(tmp_path_factory.mktemp("run"))],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["0"], done.stderr


@pytest.mark.parametrize(("flags", "reason"), [
    ("", "nothing here says whether the processor has native bfloat16"),
    ("avx2", "the processor has no native bfloat16"),
    ("avx512_bf16", "bfloat16: the processor multiplies it natively")])
def test_the_reason_for_a_precision_says_no_more_than_is_known(
        flags: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_cpu_flags", lambda: flags)
    assert reason in devices.choose_device("cpu").reason


def mac(monkeypatch: pytest.MonkeyPatch, there: bool = True) -> None:
    """A Mac without CUDA; its GPU is simulated by what `_numbers` says of it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there)
    devices.differs.cache_clear()


def gpu_numbers(monkeypatch: pytest.MonkeyPatch, off: float) -> None:
    own = devices._numbers

    def numbers(device: torch.device) -> list[torch.Tensor]:
        return [values + off * (device.type == "mps") for values in own(torch.device("cpu"))]
    monkeypatch.setattr(devices, "_numbers", numbers)


def test_a_macs_gpu_is_taken_where_its_numbers_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    mac(monkeypatch)
    gpu_numbers(monkeypatch, 1e-6)
    chosen = devices.choose_device()
    assert (chosen.device.type, chosen.dtype) == ("mps", torch.float32)
    assert devices.choose_device("cpu").device.type == "cpu"
    assert devices.choose_device("mps").device.type == "mps"


def test_a_macs_gpu_with_other_numbers_leaves_the_work_to_the_cpu_and_says_why(
        monkeypatch: pytest.MonkeyPatch) -> None:
    mac(monkeypatch)
    gpu_numbers(monkeypatch, 0.01)
    chosen = devices.choose_device()
    assert chosen.device.type == "cpu"
    assert "the Mac's GPU is not used: its numbers are up to 0.01 off the CPU's" in chosen.reason
    with pytest.raises(ValueError, match="device is mps, but its numbers are up to 0.01 off"):
        devices.choose_device("mps")


def test_a_macs_gpu_that_cannot_compute_something_is_not_used(
        monkeypatch: pytest.MonkeyPatch) -> None:
    mac(monkeypatch)  # PyTorch without mps raises an error of its own at the first tensor
    chosen = devices.choose_device()
    assert chosen.device.type == "cpu"
    assert "mps cannot compute all of it (" in chosen.reason


def test_mps_on_another_machine_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    mac(monkeypatch, there=False)
    assert "Mac" not in devices.choose_device().reason
    with pytest.raises(ValueError, match="PyTorch sees no Mac's GPU; use device=cpu or auto"):
        devices.choose_device("mps")


def test_the_check_of_a_gpu_finds_the_cpu_equal_to_itself() -> None:
    assert devices.differs("cpu") == ""


@pytest.mark.parametrize(("system", "factor"), [("linux", 1024), ("darwin", 1), ("win32", None)])
def test_peak_memory_is_counted_in_each_systems_unit(
        system: str, factor: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(getrusage=lambda who: SimpleNamespace(ru_maxrss=2_000_000),
                            RUSAGE_SELF=0)
    monkeypatch.setitem(sys.modules, "resource", usage if factor else None)
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(
        memory_info=lambda: SimpleNamespace(peak_wset=5e9)))
    monkeypatch.setattr(sys, "platform", system)
    assert devices.peak_memory_gb() == (2e6 * factor / 1e9 if factor else 5.0)


POSIX = ("import resource", "import fcntl", "import pwd", "import grp", "import termios",
         "import signal", "import ctypes", "os.fork", "os.sysconf", "os.getuid", "os.geteuid",
         "os.times(", "os.uname", "os.kill(", "/proc/", "sched_getaffinity", "\"fork\"")


def test_what_one_system_alone_has_stands_in_guarded_places() -> None:
    found = {path.name for path in (ROOT / "lib").rglob("*.py")
             for text in [path.read_text(encoding="utf-8")] if any(word in text for word in POSIX)}
    assert found == {"devices.py", "signals.py"}


def test_text_is_read_and_written_as_utf_8_whatever_the_system_prefers() -> None:
    for path in (ROOT / "lib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(
                node.func, "id", "")
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            if name == "read_text" or (name == "write_text" and isinstance(node.func,
                                                                           ast.Attribute)
                                       and ast.unparse(node.func.value) != "files"):
                assert "encoding" in given, f"{path}, line {node.lineno}"
            assert "text" not in given or name not in ("run", "Popen"), f"{path}: {node.lineno}"
