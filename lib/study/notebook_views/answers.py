"""The run's answers in the viewers, as live panels or as a page: compare, candidates, blind vote.

Every viewer reads one collection of all systems. The judge decides who wins; viewers also show the
selector's scores, and a reader's where the run was read.
"""

from pathlib import Path

from lib.inference.rewards import OWN_READER
from lib.runtime.files import shown
from lib.runtime.progress import say
from lib.study.policies import load_systems, system_at_main
from lib.study.reader.readings import read_readings
from lib.study.run import Study
from lib.study.stages.data import load_part
from lib.viewers.live import is_live
from lib.viewers.page import show_page, write_page
from lib.viewers.rows import Collection, join
from lib.viewers.show import show_compare, show_vote
from lib.viewers.votes import read_votes

JUDGES = ("judge",)


def read_answers(study: Study) -> Collection:
    """All systems' answers to the held-out prompts; the judge's scores come first."""
    read = (OWN_READER,) if read_readings(study.folder) else ()
    return join(load_systems(study), load_part(study, "heldout"), (*JUDGES, *read))


def main_pair(study: Study) -> tuple[str, str]:
    """The comparison that viewers open with: DPO, and DPO with Best-of-N."""
    return "dpo", system_at_main(study.profile, "dpo").name


def show_comparison(study: Study, answers: Collection) -> None:
    """Write figures/compare.html, and show it, or the live panel in a live notebook."""
    a, b = main_pair(study)
    page = write_page(answers, study.view("figures", "compare.html"), a=a, b=b)
    if is_live():
        show_compare(answers, a=a, b=b, votes=votes_path(study, answers))
    else:
        show_page(page)


def show_ballot(study: Study, answers: Collection) -> None:
    """Show the blind vote, at first between DPO and DPO with Best-of-N.

    A headless run prints its number of votes; its page can collect votes too.
    """
    a, b = main_pair(study)
    path = votes_path(study, answers)
    if is_live():
        show_vote(answers, path, a=a, b=b, seed=study.profile.seed)
    else:
        say(f"votes on these answers so far: {len(read_votes(path))}; cast more in JupyterLab or "
            f"in {shown(study.view('figures', 'compare.html'))} (key v)")


def votes_path(study: Study, answers: Collection) -> Path:
    """The file of the votes on exactly these answers.

    A vote names its prompt and systems, not their texts; one file for all runs would count a vote
    for answers that its reader never saw.
    """
    return study.path("votes", f"{answers.key}.jsonl")
