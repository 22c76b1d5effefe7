"""Statistics of win rates: the names that the design fixes, each defined in its own module.

`outcomes` who won; `intervals`, `clusters` confidence intervals; `bootstrap`, `significance` tests;
`bradley_terry` ratings; `length_control`, `prediction_powered` corrections of a judge;
`selection_law` Best-of-N by a correlated score; `agreement`, `calibration` judges; `smoothing`.
"""

from lib.analysis.statistics.agreement import cohen_kappa
from lib.analysis.statistics.bootstrap import paired_bootstrap
from lib.analysis.statistics.bradley_terry import bradley_terry
from lib.analysis.statistics.calibration import expected_calibration_error
from lib.analysis.statistics.intervals import wilson_interval
from lib.analysis.statistics.length_control import length_controlled_win_rate
from lib.analysis.statistics.outcomes import win_rate
from lib.analysis.statistics.significance import mcnemar
from lib.analysis.statistics.smoothing import exponential_moving_average

__all__ = [
    "bradley_terry", "cohen_kappa", "expected_calibration_error", "exponential_moving_average",
    "length_controlled_win_rate", "mcnemar", "paired_bootstrap", "wilson_interval",
    "win_rate",
]
