"""The types of `lib` hold; `pyproject.toml` says how strictly they are checked."""

import re
import subprocess
import sys

import pytest

from lib import ROOT

IGNORED = re.compile(r"#\s*type:\s*ignore(?!\[[\w-]+(, ?[\w-]+)*\]  # \S)")


@pytest.mark.slow
def test_the_types_of_lib_hold() -> None:
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True,
                          encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_ignored_type_says_which_and_why() -> None:
    bare = [f"{path.relative_to(ROOT)}:{number}" for path in sorted((ROOT / "lib").rglob("*.py"))
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
            if IGNORED.search(line)]
    assert bare == []
