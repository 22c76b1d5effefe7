"""All figures of the study by name: plain rows in, a plotly figure out.

Each title states what the numbers say, computed from them; the subtitle gives n. Saving is here
too, and how figures follow the page that shows them.
"""

from lib.analysis.figures.comparisons import (
    best_of_n_figure,
    temperature_figure,
    win_rates_figure,
)
from lib.analysis.figures.costs import hours_figure, memory_figure
from lib.analysis.figures.data import token_lengths_figure
from lib.analysis.figures.files import save_figure
from lib.analysis.figures.judges import calibration_figure, selection_figure
from lib.analysis.figures.ratings import ratings_figure, round_robin_figure
from lib.analysis.figures.selection import parting_figure, surface_figure
from lib.analysis.figures.teaching import packed_row_figure, token_mask_html
from lib.analysis.figures.texts import data_mix_figure, text_metrics_figure
from lib.analysis.figures.theme import use_study_renderer
from lib.analysis.figures.training import (
    accuracy_figure,
    displacement_figure,
    dpo_gradient_weight_figure,
    dpo_loss_figure,
    rewards_figure,
    sample_quality_figure,
    sft_loss_figure,
)

__all__ = [
    "accuracy_figure", "best_of_n_figure", "calibration_figure", "data_mix_figure",
    "displacement_figure", "dpo_gradient_weight_figure", "dpo_loss_figure", "hours_figure",
    "memory_figure", "packed_row_figure", "parting_figure", "ratings_figure", "rewards_figure",
    "round_robin_figure", "sample_quality_figure", "save_figure", "selection_figure",
    "sft_loss_figure", "surface_figure", "temperature_figure", "text_metrics_figure",
    "token_lengths_figure", "token_mask_html", "use_study_renderer", "win_rates_figure",
]
