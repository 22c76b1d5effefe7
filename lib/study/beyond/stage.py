"""Notebook 06's stage: every chosen arm trains, answers the held-out prompts, and is compared.

arms/<arm>/ keeps an arm's answers (answers.jsonl), its KL from SFT (kl.jsonl), its costs and its
training curves, but no model; beyond/beyond.json has the comparisons. Arms are stages of their own:
a finished one is skipped, an interrupted one resumes, and one that fails says why while the others
go on.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from lib.analysis.comparisons.all_pairs import win_rate_matrix, win_rates
from lib.analysis.comparisons.candidates import candidate_board
from lib.analysis.policies.arms import movement, reward_gain, text_rows, what_to_try
from lib.inference.rewards import ROLES
from lib.runtime.files import (
    FileError,
    Row,
    read_json,
    read_jsonl,
    remove_folder,
    sha256_of_value,
    write_json,
    write_jsonl,
)
from lib.runtime.manifest import code_hash, manifest_of, outputs_hash
from lib.runtime.progress import say
from lib.study.beyond.arm import (
    SHARED,
    ArmError,
    ArmRun,
    inputs_of,
    kl_from_sft,
    parameters_of,
    sample_scored,
)
from lib.study.beyond.catalogue import ARMS, CHECK
from lib.study.beyond.reader import read_arms, reader_of_arms
from lib.study.policies import (
    POLICIES,
    load_pools,
    rule_systems,
    system_at_main,
)
from lib.study.reader.readings import arms_asked, scores_hash
from lib.study.run import Study, StudyError, run_stage
from lib.study.stages.responses import prompts_of as held_out_prompts
from lib.training.loop import TrainingError

FILES = ("answers.jsonl", "kl.jsonl", "costs.json")


def run_arms(study: Study) -> Row:
    """Run the profile's arms, unless they are finished; beyond.json's content.

    {"arms": a row each, "failed": {arm: sentence}, "verdicts", "controls", "payments", "matrix":
    win-rate rows, "reader": of `reader_of_arms`, "first": what to try}.
    """
    if study.force:
        remove_folder(study.path("arms", SHARED))
    failed = {}
    for name in study.profile.beyond.arms:
        try:
            run_arm(study, name)
        except (StudyError, FileError):
            raise
        except (ArmError, TrainingError, ValueError) as error:
            failed[name] = str(error)
            say(f"{name}: {error}; the other arms go on")
    done = [name for name in study.profile.beyond.arms if name not in failed]
    folder = run_stage(
        study, "beyond", {}, ["beyond.json"],
        lambda folder: write_json(folder / "beyond.json", compared(study, done)),
        inputs={"code": code_hash("analysis", "study"), "order of arms": sha256_of_value(done),
                "reader": sha256_of_value([scores_hash(study.folder),
                                           arms_asked(study.folder)])} | {
            name: outputs_hash(study.path("arms", name)) for name in done})
    return read_json(folder / "beyond.json") | {"failed": failed}


def run_arm(study: Study, name: str) -> Path:
    """Train and measure one arm, unless it is finished; its folder."""
    return run_stage(study, f"arms/{name}", parameters_of(study, name), FILES,
                     lambda folder: _measure(study, name, folder), inputs=inputs_of(study, name))


def _measure(study: Study, name: str, folder: Path) -> None:
    run = ArmRun(study, name)
    say(f"{name}: {ARMS[name].idea}")
    model = ARMS[name].train(run)
    settings, sampling = study.profile.beyond, study.profile.sampling
    sample_scored(study, model, held_out_prompts(study), name, folder / "answers.jsonl",
                  settings.candidates, sampling.temperature, ROLES)
    write_jsonl(folder / "kl.jsonl", kl_from_sft(study, model, name, folder / "kl_answers.jsonl"))
    write_json(folder / "costs.json", run.costs())
    for trained in folder.glob("*/model"):
        remove_folder(trained)
        shutil.rmtree(trained.parent / "checkpoints", ignore_errors=True)


def compared(study: Study, names: Sequence[str]) -> Row:
    """All numbers of beyond.json from the arms' files."""
    main = study.profile.sampling.temperature
    pools = {pool.key: rows for pool, rows in load_pools(study).items()
             if pool.temperature == main}
    answers = {name: read_jsonl(study.path("arms", name, "answers.jsonl")) for name in names}
    board = candidate_board(pools | {(name, main): rows for name, rows in answers.items()},
                            ROLES, main)
    texts = text_rows({"sft": pools["sft", main], **answers})
    rows = [_arm_row(study, name, answers[name], pools["sft", main], texts[name])
            for name in names]
    verdicts = win_rates(board, [(name, "sft") for name in names])
    controls = win_rates(board, [(name, ARMS[name].control) for name in names
                                 if ARMS[name].control in names])
    matrix = win_rate_matrix(board, [*POLICIES, *names])
    best = [system_at_main(study.profile, policy).name for policy in ("sft", "dpo")]
    rules = [name for policy in ("sft", "dpo")
             for name in rule_systems(study.profile, board, policy)]
    return {
        "arms": rows, "sft": texts["sft"], "seed": study.profile.seed,
        "samples": study.profile.sampling.samples, "verdicts": verdicts,
        "controls": controls,
        "payments": win_rates(board, [(name, "sft") for name in (best[0], "dpo", best[1])])
                    + win_rates(board, [(name, "sft") for name in rules]),  # Holm's on their own
        "matrix": matrix,
        "reader": reader_of_arms(study, [row for row in verdicts if row["judge"] == "judge"],
                                 read_arms(study, answers)),
        "first": what_to_try(rows, verdicts, controls, matrix)}


def _arm_row(study: Study, name: str, answers: list[Row], start: list[Row], texts: Row) -> Row:
    folder = study.path("arms", name)
    arm = ARMS[name]
    return {"arm": name, "group": arm.group, "check": arm.group == CHECK, "idea": arm.idea,
            "control": arm.control,
            "seconds": manifest_of(folder)["seconds"], **read_json(folder / "costs.json"),
            **movement(read_jsonl(folder / "kl.jsonl")), **texts,
            **{role: reward_gain(answers, start, role) for role in ROLES}}
