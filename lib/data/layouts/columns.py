"""A row of any layout in the study's own columns.

These are `messages`; `prompt`, `chosen`, `rejected`, `score_chosen`, `score_rejected`; `prompt`,
`answers`; `prompt`, `reference`. A layout fills all of them that it can, so that one file serves
as conversations, as pairs or as held-out prompts; `lib.data.schema` checks what it fills.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lib.data.layouts.recognise import (
    ANSWERS,
    COMPLETION,
    CONVERSATION,
    DESIRABLE,
    PROMPT,
    TRANSCRIPT,
    Format,
    label_of,
    sides_of,
    unlabelled_layout,
)
from lib.data.layouts.turns import asked, first_of, is_turns, messages, transcript, value_of
from lib.runtime.files import Row

SYSTEM = ("system", "system_prompt", "system_message")
MORE = ("input", "context")  # what an instruction is about
NO_INPUT = "<noinput>"  # Self-Instruct's
REFERENCE = ("reference", "reference_answer", "ground_truth", "target")
TEXT = ("text", "response", "completion", "content", "output", "answer", "generated_text")
SCORE = ("score", "overall_score", "rating", "reward", "fine-grained_score", "grade")
SCORES = ("scores", "rewards", "ratings", "rating")  # a list beside a list of texts
RANK = ("rank", "ranking")  # in place of a score: the lowest is the best
RANKS = ("ranks", "rankings", "ranking", "rank")
RANKED = "read_from_ranks"  # our column: the row's scores are its ranks
SIDE_SCORES = ("score_{side}", "{side}_score", "{side}_rating", "{side}-rating", "rating_{side}",
               "{side}_reward", "reward_{side}", "{side}_avg_rating", "scores.{side}",
               "ratings.{side}", "rewards.{side}", "score.{side}")


def own_columns(row: Row, layout: Format, score: str = "") -> Row:
    """The row with our columns, as far as its layout gives them; other columns stay.

    score: a dotted name of the score, in an answer or, with `{side}`, in a pair. Raises KeyError,
    TypeError or ValueError for a row of another layout.
    """
    if layout == "kto":
        return _labelled(row, own_columns(row, unlabelled_layout(row)))
    made = dict(row)
    if sides := sides_of(row):
        made |= _pair(row, sides, score)
    elif layout in ("messages", "sharegpt", "hh"):
        made |= _conversation(row, layout)
    elif first_of(row, PROMPT) or layout in ("alpaca", "prompt_completion"):
        made |= _prompt_and_answer(row)
    if layout == "answers":
        made["answers"] = _answers(row, score)
        if isinstance(made["answers"], list) and any(map(_is_ranked, made["answers"])):
            made[RANKED] = True
    if name := first_of(row, REFERENCE):
        made["reference"] = row[name]
    return made


def nested(row: Any, name: str) -> Any:
    """A column by its name, or a value inside by a dotted one; None where there is none."""
    if isinstance(row, Mapping) and name in row:
        return row[name]
    first, dot, rest = name.partition(".")
    return nested(row[first], rest) if dot and isinstance(row, Mapping) and first in row else None


def _labelled(row: Row, made: Row) -> Row:
    """One of KTO's rows: what is undesirable is no reference."""
    label = label_of(row)
    return made | {DESIRABLE: label} | ({} if label else {"reference": None})


def _conversation(row: Row, layout: Format) -> Row:
    """Messages, and their prompt and reference.

    A file of plain messages is one to learn from, so only those without an answer are prompts.
    """
    turns = (transcript(value_of(row, TRANSCRIPT), loose=True) if layout == "hh" else
             _with_system(row, asked(value_of(row, CONVERSATION))))
    made: Row = {"messages": turns}
    roles = [turn.get("role") for turn in turns] if is_turns(turns) else []
    if row.get("prompt") is not None:
        return made | {"prompt": asked(row["prompt"])}
    if not roles:
        return made
    if "assistant" not in roles:
        return made | {"prompt": turns}
    end = len(roles) - 1 - roles[::-1].index("assistant")
    return made if layout == "messages" else made | {
        "prompt": turns[:end], "reference": turns[end].get("content")}


def _prompt_and_answer(row: Row) -> Row:
    """Prompt, messages and reference from a prompt and its answer, if there is one."""
    prompt = _prompt(row)
    made: Row = {"prompt": prompt}
    if (name := first_of(row, COMPLETION)) is None:
        return made
    said = row[name] if isinstance(row[name], str) else messages(row[name])
    if not is_turns(said):
        said = [{"role": "assistant", "content": said}]
    return made | {"messages": [*_as_turns(prompt), *said], "reference": said[-1]["content"]}


def _prompt(row: Row) -> Any:
    """The prompt: a text, or messages if there is a system text, a history, or several turns."""
    name = first_of(row, PROMPT) or "prompt"
    prompt, more = row[name], [row[each] for each in MORE if each != name and _is_text(row, each)]
    if more and isinstance(prompt, str) and more[0].strip().lower() != NO_INPUT and (
            more[0] not in prompt):
        prompt = "\n\n".join(text for text in (prompt, more[0]) if text.strip())
    prompt = asked(prompt)
    before = _history(row.get("history") or [])
    return _with_system(row, [*before, *_as_turns(prompt)] if before else prompt)


def _history(earlier: Any) -> list[Row]:
    """Earlier turns: messages, or [question, answer] pairs. Raises TypeError or ValueError."""
    if is_turns(earlier):
        return messages(earlier)
    if any(not isinstance(pair, list | tuple) for pair in earlier):
        raise TypeError("history is no list of [question, answer]")
    return [turn for question, answer in earlier for turn in (
        {"role": "user", "content": question}, {"role": "assistant", "content": answer})]


def _with_system(row: Row, prompt: Any) -> Any:
    """The prompt after the row's own system text, unless it begins with one."""
    name, turns = next((name for name in SYSTEM if _is_text(row, name)), None), _as_turns(prompt)
    if not name or not is_turns(turns) or turns[0].get("role") == "system":
        return prompt
    return [{"role": "system", "content": row[name]}, *turns]


def _is_text(row: Row, name: str) -> bool:
    return isinstance(row.get(name), str) and bool(row[name].strip())


def _as_turns(prompt: Any) -> Any:
    return prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]


def _pair(row: Row, sides: tuple[str, str], score: str) -> Row:
    """Both answers as messages or texts, their prompt, their scores, and what SFT can learn."""
    loose = first_of(row, PROMPT) is None
    made: Row = {ours: _side(row, messages(row[theirs], loose))
                 for ours, theirs in zip(("chosen", "rejected"), sides, strict=True)}
    talk = first_of(row, CONVERSATION)
    turns = messages(row[talk]) if talk else None
    whole = is_turns(turns) and turns[-1].get("role") == "assistant"
    if is_turns(turns) and not whole:
        made["prompt"] = _with_system(row, turns)
    elif first_of(row, PROMPT):
        made["prompt"] = _prompt(row)
    made["messages"] = turns if whole else _with_chosen(made)
    return made | _side_scores(row, score)


def _side(row: Row, answer: Any) -> Any:
    """One side of a pair; a whole conversation begins with the row's system text."""
    return _with_system(row, answer) if _is_whole(answer) else answer


def _is_whole(answer: Any) -> bool:
    return is_turns(answer) and answer[0].get("role") != "assistant"


def _with_chosen(made: Row) -> Any:
    """The conversation that ends with the better answer."""
    prompt, chosen = made.get("prompt"), made["chosen"]
    if isinstance(chosen, str):
        chosen = [{"role": "assistant", "content": chosen}]
    if prompt is None or not is_turns(chosen) or _is_whole(chosen):
        return chosen
    return [*_as_turns(prompt), *chosen]


def _side_scores(row: Row, score: str) -> Row:
    names, made = (score,) if score else SIDE_SCORES, {}
    for side in ("chosen", "rejected"):
        found = (nested(row, name.replace("{side}", side)) for name in names)
        value = _number(next((each for each in found if each is not None), None), bool(score))
        made[f"score_{side}"] = _of_rank(value) if _names_rank(score) else value
    return made | ({RANKED: True} if _names_rank(score) else {})


def _answers(row: Row, score: str) -> Any:
    """Answers with `text` and `score`, from objects or from parallel lists.

    A rank counts where there is no score. Raises ValueError for lists of unequal lengths.
    """
    entries = value_of(row, ANSWERS)
    if not isinstance(entries, list):
        return entries
    name = next((name for name in (*SCORES, *RANKS) if isinstance(row.get(name), list)), "")
    listed = row[name] if name else [None] * len(entries)
    if len(listed) != len(entries):
        raise ValueError(f"{len(listed)} {name} for {len(entries)} answers")
    key = RANK[0] if name in RANKS and name not in SCORES else SCORE[0]
    return [_answer(entry, {key: each}, score)
            for entry, each in zip(entries, listed, strict=True)]


def _answer(entry: Any, listed: Row, score: str) -> Any:
    """An answer in our columns; listed: what a list beside the answers has for it."""
    if isinstance(entry, str) and first_of(listed, tuple(listed)):
        entry = {"text": entry}
    if not isinstance(entry, Mapping):
        return entry
    if not first_of(entry, SCORE):
        entry = {**entry, **{name: value for name, value in listed.items() if value is not None}}
    name = score or first_of(entry, SCORE) or first_of(entry, RANK) or ""
    value, text = _number(nested(entry, name), bool(score)), first_of(entry, TEXT)
    ranked = name in RANK or _names_rank(score)
    made = {**entry, "score": _of_rank(value) if ranked else value, RANKED: ranked} | (
        {"text": entry[text]} if text else {})
    return {"system": entry["model"], **made} if "model" in entry else made


def _is_ranked(answer: Any) -> bool:
    return isinstance(answer, Mapping) and bool(answer.get(RANKED))


def _names_rank(score: str) -> bool:
    """Whether a setting names a column of ranks: `rank`, `annotations.rank`, `{side}_rank`."""
    name = score.rpartition(".")[2].replace("{side}", "").strip("_-")
    return name in (*RANK, *RANKS) or score.endswith(tuple(f"{each}.{{side}}" for each in RANKS))


def _of_rank(value: Any) -> Any:
    """The score of a rank, of which the lowest is the best."""
    return -value if isinstance(value, int | float) and not isinstance(value, bool) else value


def _number(value: Any, named: bool = False) -> Any:
    """A score as a plain number; text counts where the setting names the column (UltraFeedback)."""
    if named and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None  # "N/A"
    return float(value) if isinstance(value, Decimal) else value
