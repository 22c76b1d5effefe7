"""How a chat model is asked and how its verdicts count: three published settings, by name.

The wording is ours; scale, order and counting follow the papers. Every question is asked in both
orders at temperature 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Scale(NamedTuple):
    """What one verdict says: the preference for the answer shown first, and its weight."""

    preference: float
    weight: int = 1


@dataclass(frozen=True)
class Style:
    """A way to ask: the verdicts that a reply may end in, and how two orders become one outcome.

    request: the message's last paragraph. tokens: the most of a reply. usual: tokens of a usual
    reply, for the estimate. logprobs: the verdict is one token, read from its log-probabilities
    where the server gives them. counting: agree (a win counts only where both orders name it),
    mean (of both orders), or weighted (every order counts by itself, strong verdicts more).
    """

    name: str
    request: str
    verdicts: Mapping[str, Scale]
    tokens: int
    usual: int
    logprobs: bool = False
    counting: Literal["agree", "mean", "weighted"] = "agree"


PAIRWISE = Style(
    "pairwise",
    "Compare the answers in at most four sentences. Then end your reply with one line that holds "
    "your verdict and nothing else: [[A]] if answer A is better, [[B]] if answer B is better, "
    "[[TIE]] if neither is.",
    {"[[A]]": Scale(1.0), "[[TIE]]": Scale(0.5), "[[B]]": Scale(0.0)}, tokens=512, usual=120)
"""Zheng et al. 2023 (MT-Bench, sec. 3.4): an answer wins only where it is preferred in both orders;
where the orders disagree the verdict is a tie. That is conservative: a judge's noise pulls a rate
towards one half."""

ALPACA_EVAL = Style(
    "alpaca_eval",
    "Reply with one letter and nothing else: A if answer A is better, B if answer B is better.",
    {"A": Scale(1.0), "B": Scale(0.0)}, tokens=1, usual=1, logprobs=True, counting="mean")
"""AlpacaEval 2 (Li et al. 2023; Dubois et al. 2024): one token, and the preference is its
probability among the two letters (top five log-probabilities; a letter that is not among them
counts as 0). A server without log-probabilities gives a hard verdict. AlpacaEval shows one of the
two orders at random; here both are shown and averaged, which is that draw's expectation, at twice
the calls. Its temperature of 1 has no effect on log-probabilities; here it is 0."""

ARENA_HARD = Style(
    "arena_hard",
    "First write the answer that you would give yourself. Then compare both answers with it and "
    "say what each lacks or gets wrong. End your reply with one line that holds your verdict and "
    "nothing else: [[A>>B]] if answer A is much better, [[A>B]] if it is somewhat better, [[A=B]] "
    "if they are about as good, [[B>A]] if answer B is somewhat better, [[B>>A]] if it is much "
    "better.",
    {"[[A>>B]]": Scale(1.0, 3), "[[A>B]]": Scale(1.0), "[[A=B]]": Scale(0.5),
     "[[B>A]]": Scale(0.0), "[[B>>A]]": Scale(0.0, 3)},
    tokens=4096, usual=600, counting="weighted")
"""Arena-Hard-Auto (Li et al. 2024): five verdicts in two games with swapped places; a strong
verdict counts as three games, a tie as half a win. Between two systems the fitted Bradley-Terry
win probability is this weighted share."""

STYLES = {style.name: style for style in (PAIRWISE, ALPACA_EVAL, ARENA_HARD)}
