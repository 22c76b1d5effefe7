"""The paper's numbers, with the intervals that it does not print, and which of its claims hold.

Qin & Garcia, "SFT, DPO and Best-of-N on Qwen2.5-0.5B" (CS224R 2025). The paper names no n; 200 is
inferred, because all eight published rates are multiples of .005. It reports no ties.
"""

from dataclasses import dataclass

from lib.analysis.statistics.intervals import wilson_interval
from lib.analysis.statistics.selection_law import selection_win_rate
from lib.analysis.statistics.significance import mcnemar, sign_test
from lib.inference.systems import System
from lib.runtime.files import Row

PROMPTS, PAPER = 200, "the paper"


@dataclass(frozen=True)
class PaperRate:
    """One published win rate: system a over b, a by its family (`dpo+bon4`)."""

    a: str
    b: str
    rate: float
    temperature: float | None = None

    @property
    def wins(self) -> int:
        """Prompts won, of 200."""
        return round(self.rate * PROMPTS)

    @property
    def row(self) -> Row:
        """A win-rate row of the judge `the paper`, with Wilson's 95 % interval at n = 200."""
        low, high = wilson_interval(self.wins, PROMPTS)
        return {"a": self.a, "b": self.b, "temperature": self.temperature, "n": PROMPTS,
                "wins": self.wins, "win_rate": self.rate, "ci_low": low, "ci_high": high,
                "judge": PAPER}


TABLE_1 = (
    PaperRate("sft", "base", 0.945),
    PaperRate("sft+bon4", "base", 0.970),
    PaperRate("dpo", "sft", 0.620),
    PaperRate("dpo+bon4", "sft", 0.930, 0.25),
    PaperRate("dpo+bon4", "sft", 0.935, 0.6),
    PaperRate("dpo+bon4", "sft", 0.875, 1.0),
)
LEADERBOARD = (  # against a system that it does not name
    PaperRate("dpo", "unnamed", 0.115),
    PaperRate("dpo+bon4", "unnamed", 0.200),
)
DPO_EVAL = {"rewards/chosen": 0.1878, "rewards/rejected": -0.3919, "rewards/margins": 0.5798,
            "loss": 0.563, "rewards/accuracies": 0.6923}


def paper_rows() -> list[Row]:
    """Table 1 as win-rate rows with the sign test's p-value."""
    return [rate.row | {"p_value": sign_test(rate.wins, PROMPTS - rate.wins)} for rate in TABLE_1]


def paper_row(a: str, b: str) -> Row | None:
    """The published row of a comparison under the study's names, or None.

    `dpo+bon4@0.6` finds the paper's T = 0.6; `sft+bon4@T` its one rate without a temperature.
    """
    system = System.parse(a)
    return next((rate.row | {"a": a} for rate in TABLE_1
                 if (rate.a, rate.b) == (system.family, b)
                 and rate.temperature in (None, system.temperature)), None)


def claims() -> list[Row]:
    """The paper's conclusions: {"claim", "survives", "why"}; yes, no, or cannot be told."""
    beaten, dpo, best = TABLE_1[0], TABLE_1[2], TABLE_1[4]
    alone = selection_win_rate(4, single=dpo.rate)
    return [
        {"claim": "SFT beats the base model", "survives": "yes",
         "why": f"{_with_interval(beaten)}, by one judge"},
        {"claim": "DPO beats SFT", "survives": "yes",
         "why": f"{_with_interval(dpo)}, sign test p = "
                f"{_number(sign_test(dpo.wins, 200 - dpo.wins), 4)}, "
                "by one judge and one training seed"},
        {"claim": "Best-of-4 lifts SFT from .945 to .970 over the base",
         "survives": "cannot be told",
         "why": f"five prompts of 200: McNemar p = {_number(mcnemar(5, 0).exact_p)} at best; the "
                "selector is the judge, whose own scores give its picks "
                f"{_number(selection_win_rate(4, single=beaten.rate))}"},
        {"claim": "Best-of-4 lifts DPO to .93 over SFT", "survives": "cannot be told",
         "why": f"the selector is the judge: its own scores give its picks {_number(alone)} from a "
                f"single win rate of .62, and {_number(selection_win_rate(4), 2)} for equal "
                "policies; the decoding changed too"},
        {"claim": "Best-of-N and DPO complement each other", "survives": "cannot be told",
         "why": "SFT+BoN met only the base and DPO+BoN only SFT; no common opponent, no "
                "DPO+BoN against SFT+BoN"},
        {"claim": "T = 0.6 is the best temperature", "survives": "no",
         "why": f"{best.wins} against 186 of 200 is one prompt, McNemar p = "
                f"{mcnemar(1, 0).exact_p:.1f} at best; three temperatures were tried"},
        {"claim": "Best-of-N is robust to the temperature", "survives": "cannot be told",
         "why": "T = 1.0 lies 12 prompts below T = 0.6; paired p is anywhere between "
                f"{_number(mcnemar(12, 0).exact_p, 4)} and "
                f"{_number(mcnemar(25, 13).exact_p, 2)}"},
        {"claim": "A falling reward of rejected answers shows success", "survives": "no",
         "why": "only the margin is trained; both log-probabilities may fall while it grows"},
        {"claim": "Best-of-N follows instructions more reliably", "survives": "no",
         "why": 'the appendix\'s own third example picks "[C]" over a valid question'},
        {"claim": "Best-of-N doubles the leaderboard score", "survives": "cannot be told",
         "why": f"{_with_interval(LEADERBOARD[1])} after {_with_interval(LEADERBOARD[0])}, against "
                "a system and by a metric that are not named, with other decoding"},
    ]


INCONSISTENCIES = (
    "Temperatures: the table has 0.25, 0.6 and 1.0, the text 0.6 and lower ones of 0.25 and 0.1.",
    "One reward model selects and judges; for 4 draws of equal policies that alone wins .80.",
    "SFT+BoN is compared with the base, DPO+BoN with SFT, and the two rates with each other.",
    "The reported margin is DPO's implicit one; the appendix says that Nemotron tracked it.",
    "A more negative reward of rejected answers is called better; it is no aim of the loss.",
    "Preferences are called human; UltraFeedback's are GPT-4's, SmolTalk's answers are synthetic.",
    "Best-of-N is an argmax in the equation and \"among the highest-scoring\" in the text.",
    "No n, ties, intervals, k of top-k, or decoding of the single-sample systems are given; the "
    "two texts that are printed for prompt 2 are identical, a tie by no stated rule.",
    "T = 0.6 is best by one prompt in 200; the abstract calls the same rates robust.",
    "Agreement with Rafailov et al. on temperature is partly true at most: as far as their figure "
    "can be read, DPO itself is best at T 0 to 0.25 and declines; only the best of 128 peaks near "
    "0.5.",
    "Nemotron is said to score pairs; it is a scalar model, comparable within a prompt only. "
    "Nemotron-70B is also the name of an instruct model.",
    "The third example's Best-of-N answer is \"[C]\", where plain DPO wrote a valid question: the "
    "worse one, against the section's conclusion.",
    "The full UltraFeedback in one section is a reduced set in another, and which release or split "
    "is not said (63,967 prompts, or the binarized pairs); .6923 fits no k / 2000.",
    "The SFT loss is a sum in the equation, while code averages; accumulation is not described. "
    "The cut at 512 tokens can remove the end of turn, while answers may have 1,024.",
    "The leaderboard scores of .115 and .200 come without the reference system or the metric; "
    ".115 is 23 of 200 prompts, and the bar of .1 is 20.",
    "DPO is said to contain human preferences, and its loss to contrast logits.",
)


def _with_interval(rate: PaperRate) -> str:
    low, high = map(_number, wilson_interval(rate.wins, PROMPTS))
    return f"{_number(rate.rate)} [{low}, {high}] at n = {PROMPTS}"


def _number(value: float, digits: int = 3) -> str:
    """As in the tables, without a zero before the point."""
    return f"{value:.{digits}f}".removeprefix("0")
