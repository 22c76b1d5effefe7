"""Metrics of the answers without a judge: repetition, variety, length, identical candidates.

These, not win rates, show the loops of a small model. In: response rows of one system. Whitespace
separates words, so the numbers compare systems on one prompt set, not languages.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lib.analysis.comparisons.scoreboard import answered, chosen
from lib.analysis.statistics.clusters import clustered_mean_interval, clustered_share_interval
from lib.analysis.statistics.intervals import wilson_interval
from lib.analysis.texts.repetition import is_loop, longest_repeated_run, seq_rep
from lib.analysis.texts.variety import (
    dispersion,
    distinct_n,
    effective_number,
    self_bleu,
    word_similarity,
)
from lib.data.schema import is_missing
from lib.runtime.files import Row

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def text_metrics(rows: Sequence[Row], word_budget: int | None = None) -> Row:
    """Metrics of one system's chosen answers and of their candidates.

    word_budget: distinct-n pools only this many words (variety falls with total length, so compare
    systems at one budget). Shares come with Wilson's 95 % interval. An answer that a server did
    not give has no text and is left out. Raises ValueError where none is left.
    """
    rows = answered(rows)
    if not rows:
        raise ValueError("no response rows; text metrics need at least one answer")
    answers = [chosen(row) for row in rows]
    texts = [answer["text"] for answer in answers]
    return {"n": len(rows), **_lengths(answers, texts), **_repetition(texts),
            **_variety(texts, word_budget), **_candidates(rows)}


def text_metrics_by_system(systems: Mapping[str, Sequence[Row]]) -> dict[str, Row]:
    """Metrics of each system, with distinct-n at the word count of the shortest one."""
    systems = {name: kept for name, rows in systems.items() if (kept := answered(rows))}
    budgets = [sum(len(chosen(row)["text"].split()) for row in rows) for rows in systems.values()]
    budget = min(budgets, default=0) or None
    return {name: text_metrics(rows, budget) for name, rows in systems.items()}


def share(flags: Sequence[bool], name: str) -> Row:
    """`name`, its Wilson interval `name`_low and `name`_high: the share of true flags."""
    low, high = wilson_interval(sum(flags), len(flags))
    return {name: sum(flags) / len(flags), f"{name}_low": low, f"{name}_high": high}


def _lengths(answers: Sequence[Row], texts: Sequence[str]) -> Row:
    tokens = np.array([answer.get("tokens", np.nan) for answer in answers], dtype=float)
    known = tokens[~np.isnan(tokens)]
    quantiles = np.quantile(known, QUANTILES) if len(known) else [None] * len(QUANTILES)
    low, high = clustered_mean_interval(known) if len(known) > 1 else (None, None)
    return {"mean_tokens": float(known.mean()) if len(known) else None,
            "mean_tokens_low": low, "mean_tokens_high": high,
            "token_quantiles": {str(q): None if value is None else float(value)
                                for q, value in zip(QUANTILES, quantiles, strict=True)},
            "mean_characters": float(np.mean([len(text) for text in texts])),
            **share([not text.strip() for text in texts], "empty"),
            **share([answer.get("finish") == "length" for answer in answers], "stopped_at_limit")}


def _repetition(texts: Sequence[str]) -> Row:
    """seq_rep_n is None where every text is shorter than n words; runs are in words."""
    runs = [longest_repeated_run(text) for text in texts]
    means: Row = {}
    for n in (1, 2, 3, 4):
        known = [value for text in texts if (value := seq_rep(text, n)) is not None]
        ends = clustered_share_interval(known) if known else (None, None)
        means |= {f"seq_rep_{n}": _mean(known), f"seq_rep_{n}_low": ends[0],
                  f"seq_rep_{n}_high": ends[1]}
    return {**means, **share([is_loop(text) for text in texts], "loop_rate"),
            "mean_longest_run": float(np.mean(runs)), "longest_run": max(runs)}


def _variety(texts: Sequence[str], word_budget: int | None) -> Row:
    return {"distinct_1": distinct_n(texts, 1, word_budget),
            "distinct_2": distinct_n(texts, 2, word_budget),
            "distinct_words_pooled": word_budget, "self_bleu": self_bleu(texts)}


def _candidates(rows: Sequence[Row]) -> Row:
    """Variety of the candidates of Best-of-N; None for one candidate a prompt."""
    pools = [[candidate["text"].strip() for candidate in row["candidates"]
              if not is_missing(candidate)] for row in rows]
    several = [pool for pool in pools if len(pool) > 1]
    if not several:
        return {"candidates": 1} | dict.fromkeys((
            "distinct_candidates", "identical_candidates", "effective_candidates",
            "candidate_dispersion", "candidate_self_bleu"))
    similarities = [word_similarity(pool) for pool in several]
    return {"candidates": float(np.mean([len(pool) for pool in pools])),
            "distinct_candidates": float(np.mean([len(set(pool)) for pool in several])),
            "identical_candidates": float(np.mean([1 - len(set(pool)) / len(pool)
                                                   for pool in several])),
            "effective_candidates": _mean([effective_number(one) for one in similarities]),
            "candidate_dispersion": _mean([dispersion(one) for one in similarities]),
            "candidate_self_bleu": _mean([self_bleu(pool) for pool in several])}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
