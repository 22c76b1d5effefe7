"""Which layout a row has, by its columns, and the row in the study's own columns.

Our columns are `messages`; `prompt`, `chosen`, `rejected`, `score_chosen`, `score_rejected`;
`prompt`, `answers`; `prompt`, `reference`. A layout fills all of them that it can, so that one file
serves as conversations, as pairs or as held-out prompts; `lib.data.schema` checks what it fills.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal

from lib.data.layouts.turns import first_of, is_turns, messages, transcript
from lib.runtime.files import Row

Format = Literal["auto", "messages", "sharegpt", "alpaca", "hh", "kto", "prompt_completion",
                 "pairs", "answers", "prompts"]
CONVERSATION = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat")
PROMPT = ("prompt", "instruction", "question", "query", "input", "problem")
COMPLETION = ("completion", "response", "output", "answer", "solution")
ANSWERS = ("answers", "completions", "responses", "candidates", "generations")
TEXT = ("text", "response", "completion", "content", "output", "answer", "generated_text")
SCORE = ("score", "overall_score", "rating", "reward", "fine-grained_score", "grade")
SIDE_SCORES = ("score_{side}", "{side}_score", "{side}_rating", "{side}-rating", "rating_{side}",
               "{side}_reward", "reward_{side}", "{side}_avg_rating", "scores.{side}",
               "ratings.{side}", "rewards.{side}", "score.{side}")
REFERENCE = ("reference", "reference_answer", "ground_truth", "target")
NAMES = {"messages": "messages", "sharegpt": "ShareGPT", "alpaca": "Alpaca", "hh": "hh-rlhf",
         "kto": "KTO (unpaired)", "prompt_completion": "prompt and completion", "pairs": "pairs",
         "answers": "scored answers", "prompts": "prompts"}


def layout_of(row: Row) -> Format:
    """The layout that a row's columns and values show; `auto` for none that is known."""
    for name, shows in RULES.items():
        if shows(row):
            return name
    return "auto"


def own_columns(row: Row, layout: Format, score: str = "") -> Row:
    """The row with our columns, as far as its layout gives them; other columns stay.

    score: a dotted name of the score, in an answer or, with `{side}`, in a pair.
    """
    made = dict(row)
    made |= FILLED.get(layout, dict)(row)
    if "chosen" in made and "rejected" in made:
        made |= _pair(made, score)
        made.setdefault("messages", _with_chosen(made))
    column = first_of(made, ANSWERS)
    if isinstance(made.get(column), list) and layout in ("answers", "auto", "alpaca"):
        made["answers"] = _answers(made, column, score)
    if "prompt" not in made and (name := first_of(made, PROMPT)):
        made["prompt"] = made[name]
    if "chosen" not in made and is_turns(made.get("messages")):
        made |= _last_answer(made["messages"], made, layout)
    if "reference" not in made and (name := first_of(made, REFERENCE)):
        made["reference"] = made[name]
    if isinstance(made.get("prompt"), list) and is_turns(made["prompt"]):
        made["prompt"] = messages(made["prompt"])
    return made


def nested(row: Any, name: str) -> Any:
    """A column by its name, or a value inside by a dotted one; None where there is none."""
    if isinstance(row, Mapping) and name in row:
        return row[name]
    first, dot, rest = name.partition(".")
    return nested(row[first], rest) if dot and isinstance(row, Mapping) and first in row else None


def _sharegpt(row: Row) -> Row:
    turns = messages(row[first_of(row, CONVERSATION)]) if first_of(row, CONVERSATION) else []
    if isinstance(row.get("system"), str) and row["system"].strip() and isinstance(turns, list):
        turns = [{"role": "system", "content": row["system"]}, *turns]
    if "chosen" in row and "rejected" in row:
        return {"prompt": turns} if turns else {}
    return {"messages": turns}


def _alpaca(row: Row) -> Row:
    task, more = row["instruction"], next(
        (row[name] for name in ("input", "context") if isinstance(row.get(name), str)), "")
    prompt = f"{task}\n\n{more}" if isinstance(task, str) and more.strip() else task
    before = []
    if isinstance(row.get("system"), str) and row["system"].strip():
        before.append({"role": "system", "content": row["system"]})
    for asked, said in row.get("history") or ():
        before += _exchange(asked, said)
    return _completed(before, prompt, _completion(row))


def _completed(before: list[Row], prompt: Any, answer: Any) -> Row:
    """Prompt, messages and reference from a prompt and its answer, if there is one."""
    asked = messages(prompt) if is_turns(prompt) or transcript(prompt) else [
        {"role": "user", "content": prompt}]
    whole = [*before, *asked]
    made: Row = {"prompt": whole if before or is_turns(prompt) or transcript(prompt) else prompt}
    if answer is None:
        return made
    said = messages(answer) if is_turns(answer) else [{"role": "assistant", "content": answer}]
    reference = said[-1]["content"] if said else None
    return made | {"messages": [*whole, *said], "reference": reference}


def _exchange(asked: Any, said: Any) -> list[Row]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]


def _completion(row: Row) -> Any:
    name = first_of(row, COMPLETION)
    return row[name] if name else None


def _prompt_completion(row: Row) -> Row:
    return _completed([], row[first_of(row, PROMPT)], _completion(row))


def _transcript(row: Row) -> Row:
    if "chosen" in row:
        return {"messages": transcript(row["chosen"])}
    return {"messages": transcript(row[first_of(row, ("text", "transcript", "prompt"))])}


def _pair(row: Row, score: str) -> Row:
    """Both answers as messages or texts, their shared beginning, and their scores."""
    made: Row = {side: messages(row[side]) for side in ("chosen", "rejected")}
    if row.get("prompt") is not None:
        made["prompt"] = messages(row["prompt"])
    if row.get("system") and isinstance(row["system"], str):
        made |= _with_system(row, made)
    for side in ("chosen", "rejected"):
        names = [score.format(side=side)] if score else [
            name.format(side=side) for name in SIDE_SCORES]
        found = (nested(row, name) for name in names)
        made[f"score_{side}"] = number(next((each for each in found if each is not None), None),
                                       bool(score))
    return made


def _with_chosen(made: Row) -> Any:
    """The conversation that ends with the better answer."""
    prompt, chosen = made.get("prompt"), made["chosen"]
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if isinstance(chosen, str):
        return [*(prompt or []), {"role": "assistant", "content": chosen}]
    if not isinstance(chosen, list) or not isinstance(prompt, list):
        return chosen
    return chosen if not prompt or chosen[:1] == prompt[:1] else [*prompt, *chosen]


def _with_system(row: Row, made: Row) -> Row:
    prompt = made.get("prompt")
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list) or (prompt and prompt[0]["role"] == "system"):
        return {}
    return {"prompt": [{"role": "system", "content": row["system"]}, *prompt]}


def _answers(row: Row, column: str, score: str) -> list[Any]:
    """Answers with `text` and `score`, from objects or from parallel lists."""
    listed = next((row[name] for name in ("scores", "rewards", "ratings")
                   if isinstance(row.get(name), list)), [None] * len(row[column]))
    return [_answer(entry, listed[index] if index < len(listed) else None, score)
            for index, entry in enumerate(row[column])]


def _answer(entry: Any, listed: Any, score: str) -> Any:
    if isinstance(entry, str) and listed is not None:
        return {"text": entry, "score": number(listed)}
    if not isinstance(entry, Mapping):
        return entry
    made, text = dict(entry), first_of(entry, TEXT)
    found = nested(entry, score) if score else entry.get(first_of(entry, SCORE) or "", listed)
    if text:
        made["text"] = entry[text]
    if "model" in entry and "system" not in entry:
        made["system"] = entry["model"]
    return made | {"score": number(found, bool(score))}


def number(value: Any, named: bool = False) -> Any:
    """A score as a plain number; text counts where the setting names the column (UltraFeedback)."""
    if isinstance(value, Decimal):
        return float(value)
    if named and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None  # "N/A"
    return value


def _last_answer(turns: list[Row], row: Row, layout: Format) -> Row:
    """Prompt and reference of a conversation: all before its last answer, and that answer.

    A file of plain messages is one to learn from, so only those without an answer are prompts.
    """
    roles = [turn.get("role") for turn in turns]
    if "prompt" in row or ("assistant" in roles and layout == "messages"):
        return {}
    if "assistant" not in roles:
        return {"prompt": turns}
    end = len(roles) - 1 - roles[::-1].index("assistant")
    return {"prompt": turns[:end], "reference": row.get("reference", turns[end].get("content"))}


def _is_kto(row: Row) -> bool:
    return "completion" in row and "prompt" in row and label_of(row) is not None


def label_of(row: Row) -> bool | None:
    """KTO's label: whether the completion is desirable; None without one."""
    value = row.get("label", row.get("kto_tag"))
    words = {"true": True, "false": False, "desirable": True, "undesirable": False,
             "1": True, "0": False}
    return words.get(str(value).strip().lower())


def _is_sharegpt(row: Row) -> bool:
    name = first_of(row, CONVERSATION[1:])
    sides = (row.get("chosen"), row.get("rejected"))
    turns = row.get("messages")
    return bool(name) and isinstance(row[name], list | str) or (
        is_turns(turns) and "from" in turns[0]) or any(
        isinstance(side, Mapping) and "from" in side or is_turns(side) and "from" in side[0]
        for side in sides)


RULES: dict[Format, Callable[[Row], bool]] = {
    "hh": lambda row: any(transcript(row.get(name)) for name in ("chosen", "text", "transcript"))
    or (len(row) <= 3 and "completion" not in row and bool(transcript(row.get("prompt")))),
    "sharegpt": _is_sharegpt,
    "messages": lambda row: "messages" in row and "chosen" not in row,
    "kto": _is_kto,
    "answers": lambda row: any(isinstance(row.get(name), list) and row[name] and isinstance(
        row[name][0], Mapping | str) for name in ANSWERS) and first_of(row, PROMPT) is not None,
    "pairs": lambda row: "chosen" in row and "rejected" in row,
    "alpaca": lambda row: "instruction" in row,
    "prompt_completion": lambda row: first_of(row, PROMPT) is not None
    and first_of(row, COMPLETION) not in (None, first_of(row, PROMPT)),
    "prompts": lambda row: "prompt" in row,
}
FILLED: dict[str, Callable[[Row], Row]] = {
    "hh": _transcript, "sharegpt": _sharegpt, "alpaca": _alpaca, "kto": _prompt_completion,
    "prompt_completion": _prompt_completion,
    "messages": lambda row: {"messages": messages(row["messages"])} if "messages" in row else {}}
