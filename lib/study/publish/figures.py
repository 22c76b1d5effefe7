"""A run's figures as HTML, SVG and PNG."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.analysis import figures
from lib.analysis.judges.audit import READER
from lib.inference.rewards import OWN_READER
from lib.runtime.files import Row, read_jsonl
from lib.study.run import Study
from lib.study.stages.results import validation_accuracy


def readers_rows(results: Mapping[str, Any]) -> list[Row]:
    """Win rates of the run by judge and selector, a chat model's, and the blind reader's on them.

    The reader's are of this run's answers where someone read them, else of the audit's.
    """
    rows = list(results["win_rates"])
    pairs = {(row["a"], row["b"]) for row in rows}
    reading = results.get("reader")
    read = reading["same_answers"] if reading else results["audit"]["win_rates"]
    asked = [row for row in results.get("llm_judge", {}).get("win_rates", []) if row["n"]]
    return rows + asked + [row | {"judge": READER} for row in read
                   if row["judge"] in (READER, OWN_READER) and (row["a"], row["b"]) in pairs]


def save_figures(study: Study, results: Mapping[str, Any]) -> list[Path]:
    """Write the run's figures as HTML (with a browser, also SVG and PNG); returns the files."""
    sft, dpo = (read_jsonl(study.path(stage, "metrics.jsonl")) for stage in ("sft", "dpo"))
    n, warning = study.profile.sampling.samples, results["warning"]
    made = {"sft_loss": figures.sft_loss_figure(sft), "dpo_loss": figures.dpo_loss_figure(dpo),
            "dpo_rewards": figures.rewards_figure(dpo, study.profile.dpo.loss),
            "dpo_accuracy": figures.accuracy_figure(dpo, validation_accuracy(study)),
            "sample_quality": figures.sample_quality_figure({"DPO": dpo}),
            **({"warning": figures.warning_figure(warning["cells"])} if warning else {}),
            "win_rates": figures.win_rates_figure(readers_rows(results)),
            "temperature": figures.temperature_figure(results["win_rates"], n),
            "text_metrics": figures.text_metrics_figure(results["text_metrics"])}
    return [path for name, figure in made.items()
            for path in figures.save_figure(figure, study.view("figures"), name)]
