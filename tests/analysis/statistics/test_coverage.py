"""The reported interval covers the truth as often as it says, and holds the estimate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.analysis.statistics.intervals import mean_interval, score_interval, wilson_interval

DRAWS = 20_000
COUNTS = st.integers(0, 300)


def coverage(n: int, rate: float, tie_share: float) -> float:
    """Share of simulated studies whose interval holds the true win rate."""
    win_share = rate - tie_share / 2
    shares = [win_share, tie_share, 1 - win_share - tie_share]
    studies = np.random.default_rng(0).multinomial(n, shares, size=DRAWS)
    distinct, times = np.unique(studies, axis=0, return_counts=True)
    low, high = score_interval(*distinct.T)
    return float(np.sum(times[(low <= rate) & (rate <= high)]) / DRAWS)


@pytest.mark.parametrize("n", [50, 200, 800])
@pytest.mark.parametrize(("rate", "tie_share"), [
    (0.5, 0), (0.5, 0.1), (0.5, 0.4), (0.62, 0), (0.62, 0.1), (0.62, 0.4),
    (0.935, 0), (0.935, 0.05), (0.935, 0.1)])
def test_the_interval_covers_the_truth_in_93_to_97_percent(
        n: int, rate: float, tie_share: float) -> None:
    assert 0.93 <= coverage(n, rate, tie_share) <= 0.97


def test_wilsons_interval_would_be_too_wide_with_ties() -> None:
    studies = np.random.default_rng(0).multinomial(200, [0.3, 0.4, 0.3], size=2000)
    held = [low <= 0.5 <= high for low, high in
            (wilson_interval(wins + ties / 2, 200) for wins, ties, _ in studies)]
    assert np.mean(held) > 0.98


@settings(deadline=None)
@given(wins=COUNTS, losses=COUNTS.filter(bool))
def test_without_ties_the_interval_is_wilsons(wins: int, losses: int) -> None:
    low, high = score_interval(wins, 0, losses)
    assert (low, high) == pytest.approx(wilson_interval(wins, wins + losses), abs=1e-9)


@settings(deadline=None)
@given(wins=COUNTS, ties=COUNTS, losses=COUNTS)
def test_an_interval_holds_its_estimate_and_shrinks_with_n(
        wins: int, ties: int, losses: int) -> None:
    n = max(wins + ties + losses, 1)
    losses = n - wins - ties
    low, high = score_interval(wins, ties, losses)
    assert 0 <= low <= (wins + ties / 2) / n <= high <= 1
    narrower_low, narrower_high = score_interval(4 * wins, 4 * ties, 4 * losses)
    assert narrower_high - narrower_low < high - low


def test_all_ties_still_have_an_interval_around_one_half() -> None:
    low, high = mean_interval([0.5] * 50)
    assert low < 0.5 < high
    assert high - low < 0.08


def test_missing_outcomes_are_left_out_of_the_interval() -> None:
    assert mean_interval([1, 0, np.nan, 0.5]) == mean_interval([1, 0, 0.5])


def test_averaged_outcomes_are_sent_to_the_interval_of_clusters() -> None:
    with pytest.raises(ValueError, match=r"outcome 0\.75 .* use clustered_share_interval"):
        mean_interval([1, 0.75])


@pytest.mark.parametrize(("wins", "n"), [(1, 0), (11, 10), (-1, 10)])
def test_impossible_counts_are_refused(wins: int, n: int) -> None:
    with pytest.raises(ValueError, match="expected|needs at least one"):
        wilson_interval(wins, n)
