"""The tables of the notebooks and the README by name: rows of `results.json` in, Markdown out.

Every share has its n and interval beside it; the statistics are computed elsewhere.
"""

from lib.analysis.tables.arms import (
    arm_verdicts_table,
    arms_findings,
    arms_table,
    catalogue_table,
    controls_finding,
    equal_movement_table,
    noise_table,
    reader_forecast_sentence,
)
from lib.analysis.tables.comparisons import (
    complementarity_table,
    contrasts_table,
    costs_table,
    family_table,
    intervals_table,
    printed_answers_table,
    ratings_table,
    resolution_table,
    rules_table,
    seeds_table,
    single_draws_table,
    sources_table,
    systems_table,
)
from lib.analysis.tables.data import (
    kept_rows_table,
    layouts_table,
    left_out_table,
    overlap_table,
)
from lib.analysis.tables.design import components_table, refits_finding, sample_sizes_table
from lib.analysis.tables.findings import (
    analysis_findings,
    best_of_n_findings,
    confound,
    forecast_findings,
)
from lib.analysis.tables.formatting import (
    claims_table,
    markdown_table,
    paper_table,
    win_rate_table,
)
from lib.analysis.tables.judges import (
    audit_agreement_table,
    calibration_table,
    chat_judge_sentence,
    corrected_table,
    judge_agreement_table,
    judge_quality_table,
    length_bias_table,
    position_bias_table,
    reference_table,
    reward_models_table,
    slices_table,
    system_order_table,
)
from lib.analysis.tables.payments import payments_finding, payments_table
from lib.analysis.tables.policies import (
    choices_table,
    constraints_table,
    displacement_table,
    divergence_table,
    dpo_paper_table,
    retention_table,
    text_table,
    warning_table,
)
from lib.analysis.tables.reader import (
    reader_findings,
    reader_table,
    reliability_table,
    who_read,
)
from lib.analysis.tables.selection import (
    best_over_random_table,
    correlations_table,
    judge_pairs_table,
    over_optimisation_table,
)

__all__ = [
    "analysis_findings", "arm_verdicts_table", "arms_findings", "arms_table",
    "audit_agreement_table", "best_of_n_findings", "best_over_random_table",
    "calibration_table", "catalogue_table", "chat_judge_sentence", "choices_table",
    "claims_table", "complementarity_table", "components_table", "confound",
    "constraints_table", "contrasts_table", "controls_finding", "corrected_table",
    "correlations_table", "costs_table", "displacement_table", "divergence_table",
    "dpo_paper_table", "equal_movement_table", "family_table", "forecast_findings",
    "intervals_table", "judge_agreement_table", "judge_pairs_table", "judge_quality_table",
    "kept_rows_table", "layouts_table", "left_out_table", "length_bias_table", "markdown_table",
    "noise_table", "over_optimisation_table", "overlap_table", "paper_table", "payments_finding",
    "payments_table", "position_bias_table", "printed_answers_table", "ratings_table",
    "reader_findings", "reader_forecast_sentence", "reader_table", "reference_table",
    "refits_finding", "reliability_table", "resolution_table", "retention_table",
    "reward_models_table", "rules_table", "sample_sizes_table", "seeds_table",
    "single_draws_table", "slices_table",
    "sources_table", "system_order_table", "systems_table", "text_table", "warning_table",
    "who_read", "win_rate_table",
]
