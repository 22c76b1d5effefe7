"""Devices: reasons that are true, and an import that asks for nothing that a system may lack."""

import subprocess
import sys

import pytest

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
