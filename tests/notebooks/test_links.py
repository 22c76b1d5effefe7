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


def anchors(page: Path) -> set[str]:
    """Of its headings: words joined with hyphens, on a Markdown page small and without signs."""
    found = {line.lstrip("#").strip() for line in text_of(page).splitlines()
             if line.startswith("#")}
    if page.suffix != ".ipynb":  # GitHub's; else JupyterLab's
        found = {re.sub(r"[^\w -]", "", heading.lower()) for heading in found}
    return {heading.replace(" ", "-") for heading in found}


def test_every_relative_link_leads_to_a_file_or_a_heading(page: Path) -> None:
    for link in LINK.findall(text_of(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_module_that_a_command_starts_exists(page: Path) -> None:
    for name in re.findall(r"-m ((?:lib|tests)[\w.]*)", text_of(page)):
        assert find_spec(name), name


@pytest.mark.parametrize("page", [page for page in PAGES if page.suffix == ".md"],
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_of_the_repository_exists(page: Path) -> None:
    for name in re.findall(r"`((?:lib|tests|notebooks|figures|data)/[\w/.-]+)`", text_of(page)):
        made_later = name.startswith(("data/models", "data/cache"))
        assert made_later or (ROOT / name).exists(), name
