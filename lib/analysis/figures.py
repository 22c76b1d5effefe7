"""All figures of the study by name: plain rows in, a plotly figure out.

Each title states what the numbers say, computed from them; the subtitle gives n. Saving and the
renderer that survives export are here too.
"""

from lib.analysis.comparison_figures import (
    best_of_n_figure,
    temperature_figure,
    win_rates_figure,
)
from lib.analysis.figure_files import save_figure
from lib.analysis.judge_figures import calibration_figure, selection_figure
from lib.analysis.rating_figures import ratings_figure, round_robin_figure
from lib.analysis.selection_figures import parting_figure, surface_figure
from lib.analysis.text_figures import data_mix_figure, length_figure, text_metrics_figure
from lib.analysis.theme import use_study_renderer
from lib.analysis.training_figures import (
    accuracy_figure,
    displacement_figure,
    dpo_loss_figure,
    rewards_figure,
    sample_quality_figure,
    sft_loss_figure,
)

__all__ = [
    "accuracy_figure", "best_of_n_figure", "calibration_figure", "data_mix_figure",
    "displacement_figure", "dpo_loss_figure", "length_figure", "parting_figure", "ratings_figure",
    "rewards_figure", "round_robin_figure", "sample_quality_figure", "save_figure",
    "selection_figure", "sft_loss_figure", "surface_figure", "temperature_figure",
    "text_metrics_figure", "use_study_renderer", "win_rates_figure",
]
