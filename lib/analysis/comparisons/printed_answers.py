"""What the paper's printed answers show, and how often the same happens in a run.

The paper's appendix prints the answers to four prompts. One example proves that something happens,
not how often: here the same signs are counted over all prompts of a run, with intervals.
"""

from collections.abc import Mapping, Sequence

from lib.analysis.comparisons.scoreboard import one_reader
from lib.analysis.statistics.intervals import wilson_interval
from lib.inference.rewards import OWN_READER, ROLES
from lib.runtime.files import Row

SELECTOR, JUDGE = ROLES
FEW_WORDS = 3
SAME = ("the best of N has the text of the single answer",
        "prompt 2: DPO's text and that of DPO with Best-of-N are identical; a tie, by no rule")
FEW = (f"the best of N has at most {FEW_WORDS} words, and the single answer has more",
       'prompt 3: the best of four is "[C]", where plain DPO wrote a valid question')
WORSE = ("the best of N scores below the single answer",
         "prompt 3 again: the picked answer is the worse one, and nothing but the selector judged")


def printed_answers(systems: Mapping[str, Sequence[Row]],
                    pairs: Sequence[tuple[str, str]]) -> list[Row]:
    """How often each sign holds for (best of N, single answer): count of n prompts, share, 95 %.

    systems: response rows by system. `judge` is None where no score is read. A prompt on which the
    selector picked nothing is left out, and for a judge one without both of its scores.
    """
    rows = []
    for best, single in pairs:
        both = [(mine, other) for mine, other in zip(systems[best], systems[single], strict=True)
                if _chosen(mine)["rewards"].get(SELECTOR) is not None]
        texts = [tuple(_chosen(row)["text"].strip() for row in pair) for pair in both]
        rows += [_counted(best, single, SAME, None, [mine == other for mine, other in texts]),
                 _counted(best, single, FEW, None, [
                     len(mine.split()) <= FEW_WORDS < len(other.split()) for mine, other in texts]),
                 *(_counted(best, single, WORSE, judge, below)
                   for judge in (JUDGE, OWN_READER) if (below := _below(both, judge)))]
    return rows


def _below(both: Sequence[tuple[Row, Row]], judge: str) -> list[bool]:
    """Whether the first answer scores lower, of the pairs that have both scores of one judge."""
    pairs = [[_chosen(row) for row in pair] for pair in both]
    scores = [one_reader(pair) if judge == OWN_READER
              else [answer["rewards"].get(judge) for answer in pair] for pair in pairs]
    return [mine < other for mine, other in scores if mine is not None and other is not None]


def _chosen(row: Row) -> Row:
    return row["candidates"][row["chosen"]]


def _counted(best: str, single: str, sign: tuple[str, str], judge: str | None,
             holds: Sequence[bool]) -> Row:
    low, high = wilson_interval(sum(holds), len(holds)) if holds else (None, None)
    return {"best": best, "single": single, "sign": sign[0], "paper": sign[1], "judge": judge,
            "count": sum(holds), "n": len(holds),
            "share": sum(holds) / len(holds) if holds else None, "ci_low": low, "ci_high": high}
