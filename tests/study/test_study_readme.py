"""The README states the numbers of one recorded run, all of them from results.json."""

from lib import ROOT
from lib.runtime.files import read_json
from lib.study.readme import BEGIN, END, results_section


def test_the_readmes_results_are_those_of_the_recorded_run() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.split(BEGIN)[1].split(END)[0].strip()
    assert shown == results_section(read_json(ROOT / "figures" / "results.json")).strip()


def test_every_file_that_the_readme_shows_is_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [part.split(")")[0] for part in readme.split("](")[1:]]
    assert links
    assert all((ROOT / link).exists() for link in links if "://" not in link)
