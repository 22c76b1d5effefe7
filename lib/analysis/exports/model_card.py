"""The README.md beside a trained model: data, recipe, results with intervals, limits, provenance.

In: the stage's manifest and rows of `results.json`. Out: Markdown with the hub's front matter.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lib.analysis.tables.formatting import DOUBTFUL, markdown_table, win_rate_table
from lib.analysis.tables.policies import text_table
from lib.inference.systems import System
from lib.runtime.files import Row, sha256_of_value
from lib.runtime.manifest import dotted

STAGES = {"sft": "supervised fine-tuning", "dpo": "Direct Preference Optimization"}
LIMITS = """\
- Preference scores, the judges' training labels and the audit were made by a large language model
  reading blind, not by people; "preferred" means preferred by that reader.
- The win rates below come from reward models of the study, which share errors with each other; the
  blind reader's own verdicts stand in the study's notebook 05.
- Mostly English; other languages were not checked by native speakers. No safety training was done.
- A model of this size is often wrong and may loop or stop at the token limit. Do not use it to make
  decisions about people or to state facts."""


def model_card(name: str, stage: str, base_model: str, manifest: Mapping[str, Any],
               win_rates: Sequence[Row] = (), text_metrics: Mapping[str, Row] | None = None,
               data: str = "the study's sample corpus", license_name: str = "apache-2.0") -> str:
    """Model card of one stage (`sft` or `dpo`) as Markdown.

    win_rates: rows of results.json, of which those with this stage's system are shown.
    """
    shown = [row for row in win_rates
             if stage in {System.parse(row[side]).policy for side in ("a", "b")}]
    metrics = {key: row for key, row in (text_metrics or {}).items()
               if System.parse(key).policy == stage}
    sections = [
        _front_matter(base_model, license_name, stage),
        f"# {name}\n\n{base_model} after {STAGES.get(stage, stage)} on {data}, made to measure "
        "the effect of each alignment step.",
        f"## Recipe\n\n{_recipe(manifest)}",
        "## Results\n\n" + (
            f"{win_rate_table(shown)}\n\n{DOUBTFUL}" if shown else "No comparison was made."),
        "## Text\n\n" + (text_table(metrics) if metrics else "No answers were measured."),
        f"## Limits\n\n{LIMITS}",
        f"## Provenance\n\n{_provenance(manifest)}"]
    return "\n\n".join(sections) + "\n"


def _front_matter(base_model: str, license_name: str, stage: str) -> str:
    return (f"---\nbase_model: {base_model}\nlicense: {license_name}\nlibrary_name: transformers\n"
            f"pipeline_tag: text-generation\ntags:\n- {stage}\n- alignment-study\n---")


def _recipe(manifest: Mapping[str, Any]) -> str:
    rows = [{"name": key, "value": value}
            for key, value in dotted(manifest.get("parameters", {})).items()]
    return markdown_table(rows, {"parameter": "name", "value": lambda row: f"{row['value']}"})


def _provenance(manifest: Mapping[str, Any]) -> str:
    git, packages = manifest.get("git", {}), manifest.get("environment", {})
    changed = " with uncommitted changes" if git.get("dirty") else ""
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "transformers")
                         if name in packages)
    inputs = ", ".join(f"{name} `{value}`" for name, value in manifest.get("inputs", {}).items())
    return (f"- Manifest hash (SHA-256): `{sha256_of_value(manifest)}`\n"
            f"- Commit `{git.get('commit')}`{changed}; {versions or 'versions not recorded'}\n"
            f"- Inputs: {inputs or 'not recorded'}\n"
            f"- Seed {manifest.get('seed')}, {manifest.get('device_reason') or 'device not known'},"
            f" {manifest.get('seconds')} s, {manifest.get('peak_memory_gb')} GB at peak")
