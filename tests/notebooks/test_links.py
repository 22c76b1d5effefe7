"""What README, glossary, other pages and notebooks point to exists: files, headings, modules."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from lib import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "figures" / "README.md",
                *(ROOT / "tests").glob("*/README.md"), *(ROOT / "notebooks").glob("*.md"),
                *(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "lib").rglob("README.md"),
                *(ROOT / "data").glob("README.md"), *(ROOT / "data/sample").glob("README.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(params=PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def text_of(page: Path) -> str:
    """Its Markdown; of a notebook that of its Markdown cells."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"]
                       if cell["cell_type"] == "markdown")


def headings(text: str) -> set[str]:
    """Anchors as JupyterLab writes them: the heading's words joined with hyphens."""
    return {line.lstrip("#").strip().replace(" ", "-") for line in text.splitlines()
            if line.startswith("#")}


def test_every_relative_link_leads_to_a_file_or_a_heading(page: Path) -> None:
    text = text_of(page)
    for link in LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        assert not path or (page.parent / path).exists(), link
        assert not anchor or path or anchor in headings(text), link


def test_every_module_that_a_command_starts_exists(page: Path) -> None:
    for name in re.findall(r"-m ((?:lib|tests)[\w.]*)", text_of(page)):
        assert find_spec(name), name


@pytest.mark.parametrize("page", [page for page in PAGES if page.suffix == ".md"],
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_of_the_repository_exists(page: Path) -> None:
    for name in re.findall(r"`((?:lib|tests|notebooks|figures|data)/[\w/.-]+)`", text_of(page)):
        made_later = name.startswith(("data/models", "data/cache"))
        assert made_later or (ROOT / name).exists(), name
