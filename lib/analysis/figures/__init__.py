"""The figures of notebooks 04 to 07 and of a run's folder by name: plain rows in, plotly out.

Each title states what the numbers say, computed from them; the subtitle gives n.
"""

from lib.analysis.figures.arms import arm_rates_figure, reward_kl_figure, win_cost_figure
from lib.analysis.figures.comparisons import (
    best_of_n_figure,
    temperature_figure,
    win_rates_figure,
)
from lib.analysis.figures.costs import memory_figure
from lib.analysis.figures.files import save_figure
from lib.analysis.figures.judges import calibration_figure, judge_pairs_figure
from lib.analysis.figures.ratings import ratings_figure, round_robin_figure
from lib.analysis.figures.selection import (
    best_over_random_figure,
    gains_figure,
    over_optimisation_figure,
    surface_figure,
    worlds_figure,
)
from lib.analysis.figures.texts import data_mix_figure, text_metrics_figure
from lib.analysis.figures.theme import use_study_renderer
from lib.analysis.figures.training import (
    accuracy_figure,
    displacement_figure,
    dpo_loss_figure,
    rewards_figure,
    sample_quality_figure,
    sft_loss_figure,
    warning_figure,
)

__all__ = [
    "accuracy_figure", "arm_rates_figure", "best_of_n_figure", "best_over_random_figure",
    "calibration_figure", "data_mix_figure", "displacement_figure", "dpo_loss_figure",
    "gains_figure", "judge_pairs_figure", "memory_figure", "over_optimisation_figure",
    "ratings_figure", "reward_kl_figure", "rewards_figure", "round_robin_figure",
    "sample_quality_figure", "save_figure", "sft_loss_figure", "surface_figure",
    "temperature_figure", "text_metrics_figure", "use_study_renderer", "warning_figure",
    "win_cost_figure", "win_rates_figure", "worlds_figure",
]
