"""Notebook 01's stage: it reads rows from a source, curates them, and splits them by prompt.

It writes data/sft.parquet, preferences.parquet and heldout.parquet, the validation rows
(`*_validation.parquet`), the pairs of the other kind on the same prompts (`other_*.parquet`, sample
only), and report.json with the counts of dropped rows. With `data.pairs=self_generated` the written
pairs give their prompts and are the other kind; `lib.study.pools.self_generated` makes DPO's pairs.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lib.analysis.texts.constraints import unchecked_constraints
from lib.data import sources
from lib.data.curation import REASONS, Report, curate
from lib.data.duplicates import normalised, overlap
from lib.data.hub import Place, merge_choices, stream_choice
from lib.data.layouts.reading import Reading
from lib.data.parquet import read_parquet, write_parquet
from lib.data.schema import prompt_text
from lib.data.settings import DataSettings, Pairs
from lib.data.sources import Keyed, Reader
from lib.data.splits import held_out_subset, rows_to_read, split_by_prompt
from lib.modeling.loading import load_tokenizer
from lib.runtime.files import Row, read_json, write_json
from lib.runtime.progress import say
from lib.study.run import Study, StudyError, run_stage, stage_hash
from lib.study.workers.processes import share_count
from lib.study.workers.worker import run_on_workers
from lib.training.processes import Processes

PARTS = ("sft", "sft_validation", "preferences", "preferences_validation", "other_pairs",
         "other_validation", "heldout")


def prepare_data(study: Study, work: Callable[[Path], None] | None = None) -> dict[str, Any]:
    """Prepare the run's data, unless they are finished; returns counts of kept and dropped rows.

    work: writes them into the stage's folder in another way than from their source. Raises
    FileError, SchemaError or HubError for rows that cannot be read.
    """
    settings = study.profile.data
    folder = run_stage(study, "data", {"data": settings.read(), "tokenizer": _tokenizer(study),
                                       "prompts": study.profile.evaluation.prompts,
                                       "longest_prompt": study.profile.sampling.max_prompt_tokens},
                       outputs=[*(f"{part}.parquet" for part in PARTS), "report.json"],
                       work=work or (lambda folder: _prepare(study, folder)),
                       inputs=_source_hashes(study))
    return read_json(folder / "report.json")


def _tokenizer(study: Study) -> str:
    model = study.profile.model
    return model.name if model.revision is None else f"{model.name}@{model.revision}"


def load_part(study: Study, part: str, chosen: bool = True) -> list[Any]:
    """Rows of one of the run's `PARTS`, of its schema; chosen: see `part_file`.

    Raises StudyError while the run has no data, FileError for a damaged file.
    """
    path = part_file(study, part, chosen)
    if not path.exists():
        stage_hash(study, "data")
    return read_parquet(path)


def part_file(study: Study, part: str, chosen: bool = True) -> Path:
    """Where one of the run's `PARTS` is: self-generated pairs, once made, are the preferences.

    Of training pairs those that `data` chooses, once chosen; with chosen=False all of them.
    """
    data, name = study.profile.data, f"{part}.parquet"
    places = [("chosen_pairs", chosen and data.changes_pairs),
              ("pairs", data.pairs == "self_generated")]
    return next((study.path(stage, name) for stage, asked in places
                 if asked and study.path(stage, name).exists()), study.path("data", name))


def _source_hashes(study: Study) -> dict[str, str]:
    """Hashes of the source files, those of the other pairs included."""
    settings = study.profile.data
    other = _of_other_kind(settings)
    return sources.source_hashes(settings) | (
        {"other_pairs": sources.source_hashes(other)["preferences"]} if other else {})


def _prepare(study: Study, folder: Path) -> None:
    settings, seed = study.profile.data, study.profile.data.seed
    tokenizer = load_tokenizer(study.profile.model.name, study.profile.model.revision)
    near = settings.drop_near_duplicates
    read, readings = _reader(study), {part: Reading() for part in ("sft", "preferences", "heldout")}
    sft_rows, sft_share = rows_to_read(settings.sft_rows, settings.validation_share)
    sft, sft_report = curate(
        sources.load_sft(replace(settings, sft_rows=sft_rows), seed, read, readings["sft"]),
        tokenizer, settings.max_length, near)
    pair_rows, pair_share = rows_to_read(settings.preference_rows, _share_of_pairs(settings))
    pairs, pairs_report = curate(
        sources.load_preferences(replace(settings, preference_rows=pair_rows), seed, read,
                                 readings["preferences"]),
        tokenizer, settings.max_pair_length, near)
    heldout, heldout_report = curate(sources.load_heldout(settings, readings["heldout"]), tokenizer,
                                     study.profile.sampling.max_prompt_tokens, near)
    for reading in readings.values():
        reading.say_dropped()
    parts = {"heldout": held_out_subset(heldout, _prompts(study, len(heldout)), seed)}
    _check_constraints(parts["heldout"])
    parts["sft"], parts["sft_validation"] = split_by_prompt(sft, sft_share, seed)
    parts["preferences"], parts["preferences_validation"] = split_by_prompt(pairs, pair_share, seed)
    if _own_validation(settings):
        parts["preferences_validation"] = _validation_pairs(settings, tokenizer, len(pairs),
                                                            parts["heldout"])
    parts["other_pairs"], parts["other_validation"] = _other_pairs(
        study, tokenizer, parts["preferences"], parts["preferences_validation"])
    _refuse_empty(parts)
    trained = [prompt_text(row) for part in ("sft", "preferences") for row in parts[part]]
    reports = {"sft": sft_report, "preferences": pairs_report, "heldout": heldout_report}
    write_parts(folder, parts, {
        **{part: _part_report(readings[part], report) for part, report in reports.items()},
        "rows": {part: len(rows) for part, rows in parts.items()},
        "overlap": overlap(trained, [row["prompt"] for row in heldout]).to_dict()})


def _part_report(reading: Reading, report: Report) -> dict[str, Any]:
    """Counts of reading and curation, and the first row of each reason with its file and number."""
    for reason, ids in report.dropped.items():
        reading.examples[reason] = f"{reading.place_of(ids[0])}: {REASONS[reason]}"
    return reading.added_to(report.to_dict())


def _check_constraints(heldout: list[Row]) -> None:
    """Refuse constraints that nothing can check, before any answer; say which are missing here."""
    try:
        missing = unchecked_constraints(heldout)
    except ValueError as error:
        raise StudyError(str(error)) from error
    if missing:
        say(f"{', '.join(missing)}: these constraints cannot be checked on this machine, which "
            "lacks a checker's data, and will be missing; `python -m nltk.downloader punkt "
            "punkt_tab` fetches them")


def write_parts(folder: Path, parts: Mapping[str, list[Row]], report: Row) -> None:
    """Write every one of `PARTS`, and the report of what was kept."""
    for part, rows in parts.items():
        write_parquet(rows, folder / f"{part}.parquet", like=parts[_kind(part)])
    write_json(folder / "report.json", report)


def _prompts(study: Study, there: int) -> int:
    """The held-out prompts that the profile wants; raises StudyError for more than there are."""
    wanted = study.profile.evaluation.prompts
    if wanted > there:
        raise StudyError(f"evaluation.prompts is {wanted}, but {there} held-out prompts are left "
                         f"after curation; set at most evaluation.prompts={there}")
    return wanted


def _own_validation(settings: DataSettings) -> bool:
    """Whether validation pairs come from a split of their own."""
    return bool(settings.validation_split and settings.validation_share) and (
        bool(settings.preferences_path) and (settings.source == "hub" or settings.source == "local"
                                             and Path(settings.preferences_path).is_dir()))


def _share_of_pairs(settings: DataSettings) -> float:
    return 0.0 if _own_validation(settings) else settings.validation_share


def _validation_pairs(settings: DataSettings, tokenizer: Any, pairs: int,
                      heldout: list[Row]) -> list[Row]:
    """Pairs of the validation split without held-out prompts: as many as the share of `pairs`."""
    own = replace(settings, preferences_split=settings.validation_split, preference_rows=None)
    used = {normalised(row["prompt"]) for row in heldout}
    reading = Reading()
    read = [row for row in sources.load_preferences(own, own.seed, reading=reading)
            if normalised(prompt_text(row)) not in used]
    reading.say_dropped()
    rows, _ = curate(read, tokenizer, own.max_pair_length, own.drop_near_duplicates)
    if not rows:
        raise StudyError(f"every pair of {own.preferences_split} has a held-out prompt; lower "
                         "evaluation.prompts, or set data.validation_split to nothing")
    count = max(1, round(settings.validation_share * pairs))
    return held_out_subset(rows, min(count, len(rows)), own.seed)


def _reader(study: Study) -> Reader:
    """The reader of a stream: this process, or several with a share of its shards each."""
    if share_count() == 1:
        return stream_choice

    def read(place: Place, rows: int, seed: str) -> Keyed:
        """The choice of all processes."""
        shares = run_on_workers(study, "lib.study.stages.data:read_share",
                                {"place": asdict(place), "rows": rows, "seed": seed},
                                f"read {place.path}", "its beginning")
        return merge_choices(shares, rows)
    return read


def read_share(study: Study, options: Mapping[str, Any], processes: Processes) -> Keyed:
    """This process's choice from its shards of a stream."""
    return stream_choice(Place(**options["place"]), options["rows"], options["seed"],
                         processes.rank, processes.count)


def _of_other_kind(settings: DataSettings) -> DataSettings | None:
    """The settings of the other pairs, on which DPO does not train; None without any."""
    if settings.pairs == "self_generated":
        return replace(settings, preference_rows=None)
    if settings.source != "sample":
        return None
    other: Pairs = "written" if settings.pairs == "on_policy" else "on_policy"
    return replace(settings, pairs=other, preference_rows=None, score_column="")


def _other_pairs(study: Study, tokenizer: Any, *likes: list[Row]) -> list[list[Row]]:
    """The pairs of the other kind for the prompts of each of `likes`."""
    settings = _of_other_kind(study.profile.data)
    if settings is None:
        return [[] for _ in likes]
    wanted = [{prompt_text(row) for row in like} for like in likes]
    either: set[str] = set().union(*wanted)
    read = [row for row in sources.load_preferences(settings, settings.seed, reading=Reading())
            if prompt_text(row) in either]
    rows, _ = curate(read, tokenizer, settings.max_pair_length)
    return [[row for row in rows if prompt_text(row) in prompts] for prompts in wanted]


def _kind(part: str) -> str:
    """The part with the same columns that is never empty."""
    return "preferences" if part.startswith("other") else part.removesuffix("_validation")


def _refuse_empty(parts: dict[str, list[Row]]) -> None:
    for part in ("sft", "preferences", "heldout"):
        if not parts[part]:
            raise StudyError(f"{part} has no usable rows; report.json in the run's data "
                             "folder counts what was dropped and why")
