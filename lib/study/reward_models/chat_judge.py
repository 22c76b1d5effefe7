"""The chat model that judges (`rewards.judge: llm`): what it is asked, its verdicts, its numbers.

It reads each system's one answer in the comparisons that were decided on beforehand, in both
orders. Stage `verdicts` writes verdicts.jsonl and costs.json; replies stay in a cache beside it, so
that the stage is made again without a call. What needs a score of every candidate (Best-of-N's
curves, the probe, all pairs) keeps the embedded judge.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from lib.analysis.comparisons.scoreboard import Scoreboard, scoreboard
from lib.analysis.judges.both_orders import ORDERS, position_bias, verdict_win_rates
from lib.inference.judges.chat_judge import ChatJudge, Costs, Judgement, costs
from lib.inference.judges.questions import Question, message_of
from lib.inference.judges.replies import CHARACTERS_A_TOKEN
from lib.inference.judges.settings import LLM, ChatJudgeSettings
from lib.inference.judges.styles import STYLES
from lib.inference.rewards.cache import ScoreCache
from lib.inference.systems import System
from lib.runtime.files import Row, read_json, read_jsonl, sha256_of_value, write_json, write_jsonl
from lib.runtime.places import typed_path
from lib.runtime.progress import say
from lib.study.policies import load_systems
from lib.study.profiles import Profile
from lib.study.run import Study, run_stage
from lib.study.stages.data import load_part

Pairs = Sequence[tuple[str, str]]
FREE = ("requests_per_minute", "concurrency", "input_price", "output_price", "cache", "base_url",
        "key_variable")  # settings that change no verdict
PROMPT_TOKENS = 150  # of a prompt and its reference, for the plan
TIE = {"preference": 0.5, "weight": 1, "by_logprobs": False}


def chat_judge(study: Study) -> ChatJudge:
    """The judge of this run's profile, with its cache of replies."""
    settings = study.profile.llm_judge
    path = typed_path(settings.cache) if settings.cache else study.path("chat_judge.sqlite")
    return ChatJudge(settings, ScoreCache(path))


def chat_judge_results(study: Study, pairs: Pairs) -> Row:
    """Its verdicts on the pairs: {"win_rates", "position_bias", "costs"}; {} for another judge.

    Makes stage `verdicts` if it is not finished.
    """
    if study.profile.rewards.judge != LLM:
        return {}
    settings = study.profile.llm_judge
    deciding = {key: value for key, value in asdict(settings).items() if key not in FREE}
    folder = run_stage(study, "verdicts", {}, ["verdicts.jsonl", "costs.json"],
                       lambda folder: _judge(study, pairs, folder),
                       inputs={"llm_judge": sha256_of_value(deciding),
                               "comparisons": sha256_of_value([list(pair) for pair in pairs])})
    rows, style = read_jsonl(folder / "verdicts.jsonl"), STYLES[settings.style]
    return {"win_rates": verdict_win_rates(rows, style, LLM),
            "position_bias": position_bias(rows, style, LLM),
            "costs": read_json(folder / "costs.json")}


def planned_costs(profile: Profile, pairs: Pairs, answer_tokens: int) -> Costs:
    """The most that judging the pairs takes, before any answer is there."""
    settings, evaluation = profile.llm_judge, profile.evaluation
    main, style = profile.sampling.temperature, STYLES[settings.style]
    heats = [{System.parse(name).temperature for name in pair} for pair in pairs]
    prompts = [evaluation.prompts if heat <= {None, main} else evaluation.temperature_prompts
               for heat in heats]
    calls = 2 * sum(min(count, settings.prompts or count) for count in prompts)
    read = len(message_of(Question("-", "-", "-"), style)) // CHARACTERS_A_TOKEN
    return costs(settings, calls, calls * (read + PROMPT_TOKENS + 2 * answer_tokens),
                 calls * min(style.usual, settings.max_tokens or style.tokens))


def _judge(study: Study, pairs: Pairs, folder: Path) -> None:
    judge = chat_judge(study)
    comparisons = list(_comparisons(study, pairs))
    asked = [question for comparison in comparisons for question in comparison[1]]
    judgements = judge.judge(asked)
    by_key = {judge.key(question): judgement
              for question, judgement in zip(asked, judgements, strict=True)}
    rows = [row | _orders(row, [by_key[judge.key(question)] for question in questions])
            for row, questions in comparisons]
    write_jsonl(folder / "verdicts.jsonl", rows)
    write_json(folder / "costs.json", _costs(study.profile.llm_judge, by_key, rows))


def _comparisons(study: Study, pairs: Pairs) -> Iterator[tuple[Row, list[Question]]]:
    """A row and its two questions for each pair and prompt; none for equal or missing answers."""
    heldout = load_part(study, "heldout")[:study.profile.llm_judge.prompts]
    by_id, systems = {row["id"]: row for row in heldout}, load_systems(study)
    board = scoreboard(systems, [])
    for a, b in pairs:
        for place, name in enumerate(board.prompts):
            if name in by_id and board.both_asked(a, b)[place]:
                yield _comparison(board, a, b, place, by_id[name])


def _comparison(board: Scoreboard, a: str, b: str, place: int,
                prompt: Row) -> tuple[Row, list[Question]]:
    first, second = (board.texts[board.place(name), place] for name in (a, b))
    row = {"a": a, "b": b, "id": prompt["id"], "same_text": first is not None and first == second}
    if first is None or second is None:  # no pick
        return row | {"characters_a": 0, "characters_b": 0, "reason": "an answer is missing"}, []
    row |= {"characters_a": len(first), "characters_b": len(second), "reason": ""}
    asked = prompt["prompt"], prompt.get("reference") or None
    return row, [] if row["same_text"] else [
        Question(asked[0], *texts, asked[1]) for texts in ((first, second), (second, first))]


def _orders(row: Row, judgements: Sequence[Judgement]) -> Row:
    """The preference for a's answer by order, {"shown_first", "shown_second", "reason"}."""
    if not judgements:
        return dict.fromkeys(ORDERS, TIE if row["same_text"] else None)
    first, second = ({} if judged.verdict is None else judged.verdict._asdict()
                     for judged in judgements)
    if second:
        second["preference"] = 1 - second["preference"]
    reasons = [judged.reason for judged in judgements if judged.reason]
    return {"shown_first": first or None, "shown_second": second or None,
            "reason": "; ".join(reasons)}


def _costs(settings: ChatJudgeSettings, judgements: Mapping[str, Judgement],
           rows: Sequence[Row]) -> Row:
    """What the judge was, what its replies cost and how its verdicts were read; printed too."""
    found = list(judgements.values())
    total = costs(settings, sum(one.calls for one in found),
                  sum(one.tokens_read for one in found), sum(one.tokens_written for one in found))
    missing = sum(one.verdict is None for one in found)
    by_logprobs = sum(one.verdict is not None and one.verdict.by_logprobs for one in found)
    say(f"{LLM}: {total.text()}" + (
        f"; {missing} of {len(found)} verdicts are missing, comparisons skip their prompts"
        if missing else ""))
    return asdict(total) | {
        "model": settings.model, "style": settings.style, "questions": len(found),
        "missing": missing, "by_logprobs": by_logprobs,
        "equal_texts": sum(row["same_text"] for row in rows),
        "reasons": sorted({row["reason"] for row in rows if row["reason"]})[:10]}
