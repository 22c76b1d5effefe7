"""The study's rows from three sources in one schema: the sample, the hub, your own files.

`DataSettings` says which; an empty path means the sample's file, so that one part (say, the
preferences) can come from elsewhere. One process or several (`Reader`) read a stream of a hub's
data set that does not fit on the disk.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from lib import ROOT
from lib.data import schema
from lib.data.cells import Cells, SchemaError
from lib.data.duplicates import normalised
from lib.data.formats import files_of, read_rows
from lib.data.hub import Place, first_rows, open_hub, refuse_path, stream_choice
from lib.data.layouts.reading import Reading
from lib.data.layouts.recognise import LABEL
from lib.data.layouts.unpaired import Numbered, paired, without_undesirable
from lib.data.on_policy import pairs_from_scored
from lib.data.schema import HeldoutRow, PreferenceRow, ScoredRow, SftRow, convert
from lib.data.settings import DataSettings
from lib.runtime.files import Record, Row, sha256_of, sha256_of_value, shown
from lib.runtime.progress import say

if TYPE_CHECKING:
    from datasets import Dataset

Out = TypeVar("Out", bound=Record)
Part = Literal["sft", "preferences", "heldout"]
Keyed = list[tuple[str, Row]]
Reader = Callable[[Place, int, str], Keyed]  # as `lib.data.hub.stream_choice` for one process
SAMPLE = ROOT / "data" / "sample"
FIRST = 20  # rows of a hub's data set that are read before any work


def load_sft(settings: DataSettings, seed: int, read: Reader = stream_choice,
             reading: Reading | None = None) -> list[SftRow]:
    """Conversations for fine-tuning: a seeded choice of `sft_rows`.

    reading, here and below: counts layouts, and rows that cannot be used; without it the first of
    those raises SchemaError. Raises FileError, HubError or SchemaError.
    """
    return _load(settings, "sft", schema.sft_row, settings.sft_rows, f"{seed}/sft", read, reading)


def load_preferences(settings: DataSettings, seed: int, read: Reader = stream_choice,
                     reading: Reading | None = None) -> list[PreferenceRow]:
    """Pairs for DPO, from scored answers (on_policy) or as written: a seeded choice.

    self_generated takes the written pairs, for their prompts. Raises FileError, HubError or
    SchemaError.
    """
    rows, seed_text = settings.preference_rows, f"{seed}/preferences"
    if settings.pairs != "on_policy":
        return _load(settings, "preferences", schema.preference_row, rows, seed_text, read, reading)
    scored = _load(settings, "preferences", schema.scored_row, None, seed_text, reading=reading)
    pairs = pairs_from_scored(scored, settings.min_gap, settings.pairs_per_prompt)
    _count_close(scored, pairs, settings, reading or Reading())
    return [pairs[index] for index in _choose(len(pairs), rows, seed_text)]


def load_heldout(settings: DataSettings, reading: Reading | None = None) -> list[HeldoutRow]:
    """All prompts for evaluation; `splits.held_out_subset` takes fewer.

    Raises FileError, HubError or SchemaError.
    """
    rows = _load(settings, "heldout", schema.heldout_row, None, "heldout", reading=reading)
    return with_references(rows, settings.references_path) if settings.references_path else rows


def with_references(rows: list[HeldoutRow], path: str) -> list[HeldoutRow]:
    """The prompts with another model's answers as references, by prompt, or by id without one.

    The file holds answers under any of the names that are known (the leaderboard's and AlpacaEval's
    outputs among them). A prompt without an answer has no reference. Raises FileError or
    SchemaError, also for answers to other prompts.
    """
    by_prompt, by_id = _answers_in(path)
    found = [by_prompt.get(normalised(row["prompt"]), by_id.get(row["id"])) for row in rows]
    known = sum(answer is not None for answer in found)
    if not known:
        raise SchemaError(f"{path} answers none of the {len(rows):,} held-out prompts; "
                          "data.references_path needs rows with their prompts or ids")
    say(f"references: {known:,} of {len(rows):,} held-out prompts have one from {path}")
    return [{**row, "reference": answer} for row, answer in zip(rows, found, strict=True)]


def _answers_in(path: str) -> tuple[dict[str, str], dict[str, str]]:
    """Answers by normalised prompt, and by id those of rows that show no prompt.

    Ids count where prompts cannot be compared: two files may both number their rows.
    """
    reading = Reading()
    answers = convert(read_rows(path), schema.reference_row, path, reading=reading)
    reading.say_dropped()
    return ({normalised(row["prompt"]): row["reference"] for row in answers if row["prompt"]},
            {row["id"]: row["reference"] for row in answers if not row["prompt"]})


def load_scored(name: Literal["on_policy", "judged", "audit"]) -> list[ScoredRow]:
    """Scored answers of the sample: for pairs and the selector, for the judge, for the audit."""
    path = SAMPLE / f"{name}.jsonl"
    return convert(read_rows(path), schema.scored_row, shown(path))


def source_hashes(settings: DataSettings) -> dict[str, str]:
    """SHA-256 of each part's files, or of a hub data set's pinned name.

    Raises FileError for a missing path.
    """
    hashes = {part: sha256_of_value(_place(settings, part) if _on_hub(settings, part) else
                                    [sha256_of(file) for file in _files(settings, part)])
              for part in get_args(Part)}
    if settings.references_path:
        hashes["references"] = sha256_of_value(
            [sha256_of(file) for file in files_of(settings.references_path)])
    return hashes


def check_places(settings: DataSettings) -> None:
    """Raise FileError for a file or folder that the settings name and that is not there."""
    for part in get_args(Part):
        if _on_hub(settings, part):
            refuse_path(_place(settings, part))
        elif settings.source == "local":
            _files(settings, part)
    if settings.references_path:
        files_of(settings.references_path)


def check_sources(settings: DataSettings) -> None:
    """Read the first row of each part that can be used, before any work.

    Raises FileError, HubError or SchemaError.
    """
    pairs = schema.scored_row if settings.pairs == "on_policy" else schema.preference_row
    checks: dict[Part, Callable[[Cells], Any]] = {
        "sft": schema.sft_row, "heldout": schema.heldout_row, "preferences": pairs}
    for part, to_row in checks.items():
        if _on_hub(settings, part):
            _check_first(settings, part, to_row)
        elif settings.source == "local" and getattr(settings, f"{part}_path"):
            _load(settings, part, to_row, None, "", reading=Reading())
    if settings.references_path:
        _answers_in(settings.references_path)


def _check_first(settings: DataSettings, part: Part, to_row: Callable[[Cells], Any]) -> None:
    """Raises SchemaError if none of a hub data set's first rows can be used.

    First rows of KTO's say little, because its rows may be sorted by label; a stream has no pairs.
    """
    place, reading = _place(settings, part), _reading(settings, part, Reading())
    try:
        convert(first_rows(place, FIRST), to_row, place.path, reading=reading)
    except SchemaError as error:
        if error.reason == "unusable" or error.reason == "unpaired" and settings.streaming:
            raise


def _place(settings: DataSettings, part: Part) -> Place:
    return Place(*(getattr(settings, f"{part}_{key}")
                   for key in ("path", "config", "split", "revision")))


def _on_hub(settings: DataSettings, part: Part) -> bool:
    return settings.source == "hub" and bool(getattr(settings, f"{part}_path"))


def _path(settings: DataSettings, part: Part) -> Path:
    """The local file or folder of a part, by default the sample's."""
    path = getattr(settings, f"{part}_path")
    if settings.source == "sample" or not path:
        return SAMPLE / f"{_sample_file(settings, part)}.jsonl"
    return Path(path).expanduser()


def _files(settings: DataSettings, part: Part) -> list[Path]:
    return files_of(_path(settings, part), *_split(settings, part))


def _split(settings: DataSettings, part: Part) -> tuple[str, str]:
    return getattr(settings, f"{part}_split"), getattr(settings, f"{part}_config")


def _reading(settings: DataSettings, part: Part, reading: Reading | None = None) -> Reading:
    """A reading that knows what the settings say; the sample has its own columns."""
    reading = reading or Reading(strict=True)
    if getattr(settings, f"{part}_path") and settings.source != "sample":
        reading.layout, reading.score = settings.format, settings.score_column
    return reading


def _load(settings: DataSettings, part: Part, to_row: Callable[[Cells], Out], rows: int | None,
          seed: str, read: Reader = stream_choice, reading: Reading | None = None) -> list[Out]:
    reading, place = _reading(settings, part, reading), _place(settings, part)
    if _on_hub(settings, part) and settings.streaming and rows is not None:
        name, taken = place.path, list(enumerate(row for _, row in read(place, rows, seed)))
    else:
        name, raw = _open(settings, part)
        taken = _chosen(_usable(part, raw, name, reading), rows, seed)
    converted = convert([row for _, row in taken], to_row, name, [index for index, _ in taken],
                        reading)
    if reading.score and part == "preferences" and not any(map(_is_scored, converted)):
        raise SchemaError(f"no row of {name} has a score under data.score_column="
                          f"{reading.score!r}; name the column of a row, with {{side}} for chosen "
                          "and rejected")
    return converted


def _open(settings: DataSettings, part: Part) -> tuple[str, "list[Row] | Dataset"]:
    """Name and rows of a part; a hub's data set stays on the disk unless it may be KTO's."""
    if not _on_hub(settings, part):
        path = _path(settings, part)
        return shown(path), read_rows(path, *_split(settings, part))
    dataset = open_hub(_place(settings, part))
    labelled = settings.format == "kto" or set(LABEL) & set(dataset.column_names)
    return _place(settings, part).path, dataset.to_list() if labelled else dataset


def _usable(part: Part, raw: "list[Row] | Dataset", name: str,
            reading: Reading) -> "Numbered | Dataset":
    """Rows with their places; of KTO's those that this part can use. Raises SchemaError for none.

    They are taken before the choice of rows, which would otherwise be smaller than it was set.
    """
    if not isinstance(raw, list) or part == "heldout":
        return list(enumerate(raw)) if isinstance(raw, list) else raw
    take = without_undesirable if part == "sft" else paired
    rows = take(list(enumerate(raw)), name, reading)
    if not rows:
        raise SchemaError(f"{name} has KTO's labelled completions, and " + (
            "none is desirable" if part == "sft" else
            "no prompt has one of each label, so there are no pairs; the desirable ones can train "
            "SFT (data.sft_path)"))
    return rows


def _chosen(rows: "Numbered | Dataset", count: int | None, seed: str) -> Numbered:
    """A seeded choice of rows with their places."""
    places = _choose(len(rows), count, seed)
    if isinstance(rows, list):
        return [rows[place] for place in places]
    return list(zip(places, rows.select(places).to_list(), strict=True))


def _is_scored(row: Record) -> bool:
    return row.get("score_chosen") is not None or "answers" in row


def _count_close(scored: list[ScoredRow], pairs: list[PreferenceRow], settings: DataSettings,
                 reading: Reading) -> None:
    """Count prompts without a pair; raises SchemaError if no prompt has one."""
    paired_ids = {pair["id"].rpartition("/")[0] for pair in pairs}
    without = [row for row in scored if row["id"] not in paired_ids]
    scores = [answer["score"] for row in scored for answer in row["answers"]]
    if not pairs:
        span = f"{min(scores):g} to {max(scores):g}" if scores else "none"
        raise SchemaError(f"no two answers to a prompt differ by data.min_gap={settings.min_gap:g} "
                          f"in their scores ({span}); set a smaller data.min_gap")
    reading.without_pair = len(without)
    if without:
        say(f"no pair from {len(without):,} of {len(scored):,} prompts, because no two scores "
            f"differ by data.min_gap={settings.min_gap:g}")


def _sample_file(settings: DataSettings, part: Part) -> str:
    return "on_policy" if part == "preferences" and settings.pairs == "on_policy" else part


def _choose(count: int, rows: int | None, seed: str) -> list[int]:
    """Sorted indices of a seeded random choice without replacement."""
    if rows is None or rows == count:
        return list(range(count))
    if rows > count:
        say(f"{rows:,} rows are set and {count:,} are there; all are taken")
        return list(range(count))
    return sorted(random.Random(seed).sample(range(count), rows))
