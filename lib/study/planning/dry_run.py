"""Every notebook on a few rows before the hours of a run: what cannot work stops in seconds.

    python -m lib.study --check

The cells of the notebooks run with the run's own settings and its own rows, eight of each part, in
a temporary folder. A random two-layer model stands in for the policy and the embedded heads for
other reward models, so that nothing is downloaded, asked or paid for: those are asked by
`lib.study.planning.access`.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib import ROOT
from lib.data.schema import prompt_text
from lib.runtime.errors import sentence
from lib.runtime.files import Row, read_json, sha256_of_value, write_json
from lib.runtime.manifest import code_hash
from lib.runtime.parent import end_with_parent
from lib.runtime.places import HEADLESS, prepare_children
from lib.runtime.progress import duration, say
from lib.runtime.settings import build
from lib.study.notebooks import notebook_paths
from lib.study.profiles import Profile
from lib.study.run import Study, StudyError
from lib.study.stages.data import PARTS, load_part, prepare_data, write_parts
from lib.study.workers.processes import CONFIG, COUNT, SHARDED

ROWS = 8  # of each part
PASSED = "dry_run.json"  # in the run folder: the settings with which the dry run went well
STAND_INS: dict[str, Any] = {
    "model.name": "smoke", "model.revision": None, "model.device": "cpu",
    "model.precision": "float32", "rewards.selector": "embedded", "rewards.judge": "embedded",
    "rewards.backbone": "smoke", "sampling.server": None, "sampling.max_new_tokens": 8,
    "sampling.max_prompt_tokens": 1024, "data.max_length": 1024, "data.max_pair_length": 1024,
    "sft.lora_targets": None, "dpo.lora_targets": None, "warning.lora_targets": None}
EIGHT_PAIRS = {"margin": 1e-9, "fdpo_threshold": 1e9, "clusters": 2}  # choices that leave some
PAIRED = {"preferences": "other_pairs", "preferences_validation": "other_validation"}
LARGEST = {"evaluation.prompts": ROWS, "evaluation.temperature_prompts": ROWS,
           "evaluation.deep_prompts": ROWS, "evaluation.deep_samples": 16,
           "evaluation.probe_prompts": ROWS, "evaluation.warning_pairs": ROWS,
           "evaluation.resamples": 200, "beyond.prompts": ROWS, "beyond.trained_tokens": 2000,
           "beyond.kl_prompts": 4} | {
    f"{stage}.{key}": value for stage in ("sft", "dpo", "warning")
    for key, value in (("epochs", 1.0), ("batch_size", 4), ("checkpoint_every", 0),
                       ("evaluate_every", 0), ("lora_rank", 8))}


def dry_run(study: Study, keep_data: bool) -> None:
    """Run every notebook on a few rows, unless that went well before.

    keep_data: prepare all rows in the run folder, as notebook 01 would, and not in the temporary
    one. Raises StudyError, one sentence with the notebook and its error.
    """
    passed = {"passed": sha256_of_value([asdict(study.profile), code_hash()])}
    if keep_data and study.path(PASSED).exists() and read_json(study.path(PASSED)) == passed:
        return
    started = time.monotonic()
    say(f"dry run: every notebook on {ROWS} rows, with a small random model")
    with tempfile.TemporaryDirectory() as temporary:
        folder = study.folder if keep_data else Path(temporary) / "whole"
        options = {"profile": asdict(study.profile), "folder": str(folder),
                   "from_run": study.from_run and str(study.from_run)}
        write_json(Path(temporary) / "options.json", options)
        _run_apart(Path(temporary) / "options.json")
    if keep_data:
        write_json(study.path(PASSED), passed)
    say(f"dry run: the notebooks work with these settings ({duration(time.monotonic() - started)})")


def _run_apart(options: Path) -> None:
    """In one process of its own, whose memory is free again before training starts."""
    prepare_children()
    alone = {HEADLESS: "1", COUNT: "1", SHARDED: "", CONFIG: ""}
    done = subprocess.run([sys.executable, "-m", "lib.study.planning.dry_run", str(options)],
                          env=os.environ | alone, stderr=subprocess.PIPE, encoding="utf-8",
                          errors="replace", check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        reason = said[-1].removeprefix("error: ") if said else (
            f"the dry run ended with status {done.returncode}: {done.stderr.strip()[-300:]}")
        raise StudyError(reason)


def smaller(profile: Profile, prompts: int) -> Profile:
    """The profile of the dry run; prompts: how many held-out ones it has."""
    values, few = asdict(profile), {
        "evaluation.prompts": prompts, "evaluation.temperature_prompts": prompts}
    for key, most in LARGEST.items():
        section, name = key.split(".")
        values[section][name] = min(values[section][name], few.get(key, most), most)
    data, dpo = values["data"], values["dpo"]
    if data["pairs"] == "self_generated":  # eight random tokens end no answer
        data["pairs"] = "on_policy" if dpo["loss"] == "bonbon" else "written"
    data |= {name: value for name, value in EIGHT_PAIRS.items() if data[name] is not None}
    if dpo["kl_target"]:
        dpo |= {"evaluate_every": 1, "kl_horizon": None}
    for key, value in STAND_INS.items():
        section, name = key.split(".")
        values[section][name] = value
    return build(Profile, values)


def few_rows(parts: Mapping[str, Sequence[Row]], count: int = ROWS) -> dict[str, list[Row]]:
    """The first rows of each part; pairs of the other kind are those of the same prompts."""
    few = {part: list(rows[:count]) for part, rows in parts.items()}
    for own, other in PAIRED.items():
        known = {prompt_text(row) for row in parts[other]}
        few[own] = [row for row in parts[own] if prompt_text(row) in known][:count] or few[own]
        chosen = {prompt_text(row) for row in few[own]}
        few[other] = [row for row in parts[other] if prompt_text(row) in chosen]
    return few


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebooks' cells as an options file says; the exit status."""
    path, = sys.argv[1:] if arguments is None else arguments
    options = read_json(path)
    source = options["from_run"]
    end_with_parent()
    whole = Study(build(Profile, options["profile"]), Path(options["folder"]),
                  from_run=Path(source) if source else None)
    try:
        prepare_data(whole)
        parts = few_rows({part: load_part(whole, part) for part in PARTS})
        small = Study(smaller(whole.profile, len(parts["heldout"])), Path(path).parent / "few")
        with contextlib.redirect_stdout(io.StringIO()):
            prepare_data(small, lambda folder: write_parts(
                folder, parts, read_json(whole.path("data", "report.json"))))
            for notebook in notebook_paths():
                _run_cells(notebook, small)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _run_cells(notebook: Path, study: Study) -> None:
    """Run a notebook's code cells in this process; StudyError names the one that fails."""
    from lib.analysis.figures import files
    # Pictures take long, and a missing browser is no error.
    files.browser_ready = lambda: False  # type: ignore[assignment]  # a stand-in without a cache
    given = {"run": str(study.folder), "settings": asdict(study.profile)}
    names: dict[str, Any] = {}
    for place, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] != "code":
            continue
        try:
            exec(compile("".join(cell["source"]), f"{notebook.stem}, cell {place}", "exec"), names)
        except Exception as error:  # noqa: BLE001 - whatever stops a cell would stop it later
            raise StudyError(f"notebook {notebook.stem} would stop at cell {place}: "
                             f"{_named(error)}") from error
        if "parameters" in cell["metadata"].get("tags", ()):
            names |= given


def _named(error: Exception) -> str:
    """The error's sentence; of another library's error also its type and where it came from."""
    if text := sentence(error):
        return text
    own = [frame for frame in traceback.extract_tb(error.__traceback__)
           if Path(frame.filename).is_relative_to(ROOT / "lib")]
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


if __name__ == "__main__":
    sys.exit(main())
