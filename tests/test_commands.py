"""Every command that a page prints is one that its program takes: nothing is copied in vain.

A command is checked, not run: its options, settings, notebooks' parameters, modules and targets.
"""

import json
import re
import shlex
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from lib import ROOT
from lib.study import __main__ as command
from lib.study.notebooks import notebook_paths
from lib.study.profiles import load_profile, parse_setting

PAGES = ("README.md", "lib/study/README.md", "lib/study/planning/README.md",
         "lib/inference/rewards/README.md", "tests/bench/README.md", "figures/README.md",
         "lib/viewers/README.md", "tests/faults/README.md", "tests/faults/mutants.md")
INLINE = re.compile(r"`((?:study|make|papermill|python) [^`]+)`")
ELSEWHERE = ("vllm", "pip", "python3", "jupyter", "pipx", "cp", "export", "docker", "accelerate",
             "srun")


def commands_of(page: str) -> list[str]:
    """The page's commands, one a line: fenced blocks joined over backslashes, and inline ones."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = text.split("\n```")[1::2]  # each begins with its language, which commands lack
    lines = "".join(block for block in blocks if block.startswith("\n")).replace("\\\n", " ")
    found = [part.strip() for line in lines.split("\n") for part in _parts(line)]
    found += [part.strip() for line in INLINE.findall(text) for part in _parts(line)]
    return [line for line in found if line]


def _parts(line: str) -> list[str]:
    """A line's commands without its comment; of a loop the body, for the loop's first value."""
    line = re.sub(r"\s#.*$|^#.*$", "", line)
    if loop := re.fullmatch(r"for (\w) in (\S+).*?; do (.*); done", line.strip()):
        line = loop[3].replace(f"${loop[1]}", loop[2])
    return re.split(r"&&|;", line)


@pytest.mark.parametrize(("page", "line"), [
    (page, line) for page in PAGES for line in commands_of(page)])
def test_a_printed_command_is_one_that_its_program_takes(page: str, line: str) -> None:
    first, *words = shlex.split(line)
    if first == ".":
        assert words == [".venv/bin/activate"]
    elif first == "study":
        takes_study(words)
    elif first == "python" and words[:2] == ["-m", "lib.study"]:
        takes_study(words[2:])
    elif first == "python" and words[0] == "-m":
        assert find_spec(words[1]), line
    elif first == "python":
        assert (ROOT / words[0]).exists(), line
    elif first == "make":
        takes_make(words)
    elif first == "papermill":
        takes_papermill(words)
    else:
        assert first in ELSEWHERE or first.endswith(".sh") or "=" in first, line


def takes_study(words: list[str]) -> None:
    options = command._parser().parse_args(words)
    if options.profile.endswith(".yaml"):
        return
    settings = dict(parse_setting(text) for group in options.settings for text in group)
    load_profile(options.profile, settings)
    notebook_paths([number for number in options.only.split(",") if number], options.start)


def takes_make(words: list[str]) -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert words[0] in targets.split()
    for given in words[1:]:
        name, _, text = given.partition("=")
        assert name == "ARGS"
        if words[0] == "study":
            takes_study(shlex.split(text))


def takes_papermill(words: list[str]) -> None:
    notebook = json.loads((ROOT / words[0]).read_text(encoding="utf-8"))
    parameters, = ["".join(cell["source"]) for cell in notebook["cells"]
                   if "parameters" in cell["metadata"].get("tags", [])]
    for place, word in enumerate(words):
        if word == "-p":
            assert f"{words[place + 1]}: " in parameters, words


def test_the_profile_that_a_page_prints_can_be_read(tmp_path: Path) -> None:
    text = (ROOT / "lib/study/README.md").read_text(encoding="utf-8")
    written = re.search(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1]
    (tmp_path / "mine.yaml").write_text(written, encoding="utf-8")
    profile = load_profile(str(tmp_path / "mine.yaml"))
    assert profile.data.source == "local"
    assert profile.evaluation.prompts == 100


def test_the_pages_have_commands_and_their_modules_can_be_imported() -> None:
    modules = {words.split()[2] for page in PAGES for words in commands_of(page)
               if words.startswith("python -m lib")}
    assert len(modules) >= 4
    for name in modules:
        import_module(f"{name}.__main__" if (ROOT / name.replace(".", "/")).is_dir() else name)
