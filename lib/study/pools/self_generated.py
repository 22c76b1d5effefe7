"""Stage `pairs`: preference pairs of the run's own SFT model, ranked by the run's selector.

With `data.pairs=self_generated` the SFT model answers the preferences' prompts a few times, the
selector scores the answers, and the best against the worst of each prompt (or all pairs) become the
pairs of DPO: one round of on-policy DPO (Guo et al. 2024, "Direct Language Model Alignment from
Online AI Feedback", with a reward model as annotator). pools/ holds the answers with their scores,
preferences*.parquet the pairs, report.json what became of every prompt.
"""

from collections.abc import Sequence
from pathlib import Path

from lib.data.curation import curate
from lib.data.on_policy import pairs_from_scored
from lib.data.parquet import read_parquet, write_parquet
from lib.data.schema import CUT_OFF, ScoredRow, is_cut_off, prompt_text
from lib.modeling.loading import load_tokenizer
from lib.runtime.files import Record, Row, read_json, read_jsonl, write_json, write_jsonl
from lib.runtime.progress import say
from lib.study.pools.pool import Pool
from lib.study.pools.sampled import sample_pools
from lib.study.run import Study, StudyError, run_stage
from lib.study.stages.rewards import Scorer, fit_rewards, score_rows

PARTS = ("preferences", "preferences_validation")


def generate_pairs(study: Study) -> Row | None:
    """Sample, score and pair, unless it is finished; the counts, or None for other kinds of pairs.

    Raises StudyError where no pair is left.
    """
    profile = study.profile
    if profile.data.pairs != "self_generated":
        return None
    fit_rewards(study, says=False)
    folder = run_stage(
        study, "pairs", {"data": profile.data.read(), "selector": profile.rewards.selector,
                         "sampling": _pool(study).settings(study).deciding()},
        outputs=["report.json", f"pools/{_pool(study).name}.jsonl",
                 *(f"{part}.parquet" for part in PARTS)],
        work=lambda folder: _generate(study, folder))
    return read_json(folder / "report.json")


def _pool(study: Study) -> Pool:
    data = study.profile.data
    return Pool("sft", data.pair_temperature, data.pair_samples)


def _generate(study: Study, folder: Path) -> None:
    data, pool = study.profile.data, _pool(study)
    tokenizer = load_tokenizer(study.profile.model.name, study.profile.model.revision)
    parts = {part: prompts_of(read_parquet(study.path("data", f"{part}.parquet")))
             for part in PARTS}
    sample_pools(study, [pool], [row for rows in parts.values() for row in rows], folder / "pools")
    answered = {row["id"]: row for row in _scored(study, pool.file(folder / "pools"))}
    made: dict[str, list[Row]] = {}
    report: Row = {}
    for part, prompts in parts.items():
        rows = [answered[prompt["id"]] for prompt in prompts]
        pairs = pairs_from_scored([scored_row(row) for row in rows], data.min_gap,
                                  data.pairs_per_prompt)
        made[part], curated = curate(pairs, tokenizer, data.max_pair_length)
        report[part] = counts(rows, made[part]) | {"curation": curated.to_dict()}
        say(f"{part}: {report[part]['pairs']} pairs of {report[part]['paired_prompts']} prompts, "
            f"of {len(rows)} prompts with {data.pair_samples} answers each")
    if not made["preferences"]:
        raise StudyError(f"no two answers to one prompt are data.min_gap={data.min_gap} of the "
                         "selector's reward apart; lower it, or raise data.pair_samples")
    for part, kept in made.items():
        write_parquet(kept, folder / f"{part}.parquet", like=made["preferences"])
    write_json(folder / "report.json", report)


def prompts_of(rows: Sequence[Record]) -> list[Row]:
    """The distinct prompts of preference rows, ready for sampling."""
    distinct = {prompt_text(row): row for row in reversed(rows)}
    return [{key: row[key] for key in ("id", "prompt", "source")}
            for row in reversed(distinct.values())]


def _scored(study: Study, path: Path) -> list[Row]:
    """The sampled rows with the selector's scores, which the file keeps."""
    rows = score_rows(Scorer(study, ["selector"]), read_jsonl(path))
    write_jsonl(path, rows)
    return rows


def scored_row(row: Row) -> ScoredRow:
    """A sampled row as scored answers; answers without a score are left out."""
    return {"id": row["id"], "prompt": row["prompt"], "source": row["source"], "answers": [
        {"text": answer["text"], "score": answer["rewards"]["selector"],
         "flaws": [CUT_OFF] * is_cut_off(answer)}
        for answer in row["candidates"] if answer["rewards"]["selector"] is not None]}


def pair_rows(report: Row) -> list[Row]:
    """The counts of `generate_pairs` as table rows, training prompts first."""
    return [{"part": part, **report[part]} for part in PARTS]


def counts(rows: Sequence[Row], pairs: Sequence[Record]) -> Row:
    """What became of the prompts and their answers, as numbers."""
    answers = [answer for row in rows for answer in row["candidates"]]
    return {"prompts": len(rows), "answers": len(answers),
            "cut_off": sum(map(is_cut_off, answers)),
            "unscored": sum(answer["rewards"]["selector"] is None for answer in answers),
            "pairs": len(pairs), "paired_prompts": len({prompt_text(row) for row in pairs})}
