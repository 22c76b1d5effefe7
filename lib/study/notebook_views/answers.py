"""The run's answers in the viewers: compare, candidates, blind vote; live panels or the page.

Every viewer reads one collection of all systems. The judge decides who won; the selector, which
picked the answers, stands beside it.
"""

from pathlib import Path

from lib.runtime.files import sha256_of_value
from lib.study.policies import load_systems, system_at_main
from lib.study.run import Study
from lib.study.stages.data import load_part
from lib.viewers.page import show_page, write_page
from lib.viewers.rows import Collection, join
from lib.viewers.show import is_live, show_compare, show_vote

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
        show_compare(answers, a=a, b=b)
    else:
        show_page(page)


def show_ballot(study: Study, answers: Collection) -> None:
    """Show the blind vote between DPO and DPO with Best-of-N; any other two can be chosen."""
    a, b = main_pair(study)
    show_vote(answers, votes_path(study, answers), a=a, b=b, seed=study.profile.seed)


def votes_path(study: Study, answers: Collection) -> Path:
    """The votes on these very texts, in votes/<hash>.jsonl: other answers get a file of their own.

    A vote names its prompt and systems, not their words, so that it would be counted for an answer
    that nobody has read.
    """
    texts = [[prompt.id, *(found.text if (found := prompt.answer(system)) else None
                           for system in answers.systems)] for prompt in answers.prompts]
    return study.path("votes", f"{sha256_of_value([answers.systems, texts])[:12]}.jsonl")
