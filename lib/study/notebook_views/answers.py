"""The run's answers in the viewers: compare, candidates, blind vote; live panels or the page.

Every viewer reads one collection of all systems. The judge decides who won; the selector, which
picked the answers, stands beside it.
"""

from pathlib import Path

from lib.runtime.progress import say
from lib.study.policies import load_systems, system_at_main
from lib.study.run import Study
from lib.study.stages.data import load_part
from lib.viewers.live import is_live
from lib.viewers.page import show_page, write_page
from lib.viewers.rows import Collection, join
from lib.viewers.show import show_compare, show_vote
from lib.viewers.votes import read_votes

JUDGES = ("judge",)


def read_answers(study: Study) -> Collection:
    """All systems' answers to the held-out prompts, joined; the judge's scores come first."""
    return join(load_systems(study), load_part(study, "heldout"), JUDGES)


def main_pair(study: Study) -> tuple[str, str]:
    """The comparison that a reader meets first: DPO, and DPO with Best-of-N."""
    return "dpo", system_at_main(study.profile, "dpo").name


def show_comparison(study: Study, answers: Collection) -> None:
    """Write figures/compare.html; show it, or the live panel where a person has a kernel."""
    a, b = main_pair(study)
    page = write_page(answers, study.path("figures", "compare.html"), a=a, b=b)
    if is_live():
        show_compare(answers, a=a, b=b, votes=votes_path(study, answers))
    else:
        show_page(page)


def show_ballot(study: Study, answers: Collection) -> None:
    """Show the blind vote between DPO and DPO with Best-of-N; any other two can be chosen.

    Headless, how many votes the run has: the page above votes too.
    """
    a, b = main_pair(study)
    path = votes_path(study, answers)
    if is_live():
        show_vote(answers, path, a=a, b=b, seed=study.profile.seed)
    else:
        say(f"{len(read_votes(path))} votes in {path.name}; cast more in JupyterLab or in "
            "figures/compare.html (key v).")


def votes_path(study: Study, answers: Collection) -> Path:
    """The votes on these very texts; other answers get a file of their own.

    A vote names its prompt and systems, not their words, so that it would be counted for an answer
    that nobody has read.
    """
    return study.path("votes", f"{answers.key}.jsonl")
