"""Curation: which rows training can use, and how many others were dropped for which reason.

Curation repairs nothing: a row stays as it is, or it is dropped for one reason. Truncated rows stay
and are counted, and so are those that lost their end-of-turn token: a model that sees many of them
does not learn to stop.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from transformers import PreTrainedTokenizerBase

from lib.data.chat import ChatError, Encoded, Message, encode_prompt, truncate
from lib.data.duplicates import near_duplicates, normalised
from lib.data.schema import HeldoutRow, PreferenceRow, SftRow, prompt_of, prompt_text
from lib.data.tokens import conversation_ids, pair_ids
from lib.runtime.files import Row
from lib.runtime.progress import counted, say

TypedRow = SftRow | PreferenceRow | HeldoutRow
REASONS = {
    "empty": "a question or answer without text, or none at all",
    "refused_by_template": "the chat template refuses its turns (two of a user in a row)",
    "starts_with_assistant": "no user turn before the first answer",
    "identical_pair": "chosen and rejected are the same text",
    "tie": "both answers have the same score",
    "rejected_scores_higher": "the scores contradict the order of the pair",
    "prompt_too_long": "the prompt alone is longer than the limit",
    "no_response_left": "the prompt fills the limit, without room for the answer",
    "identical_after_truncation": "the answers differ only beyond the limit",
    "duplicate": "an earlier row has the same text, but for case, spaces and full stops",
    "near_duplicate": "the prompt is a near duplicate of an earlier one",
}
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


@dataclass(frozen=True)
class Report:
    """The result of curation; lengths are in tokens, of kept rows, before truncation."""

    rows: int
    kept: int
    prompts: int  # different prompts among the kept rows
    dropped: dict[str, tuple[str, ...]]  # reason -> ids, in the order of the rows
    truncated: int  # kept rows longer than the limit
    lost_end: int  # kept rows with an answer without its end-of-turn token
    near_duplicates: int  # kept prompts that are near duplicates of an earlier one
    sources: dict[str, int]  # kept rows of each source
    lengths: dict[str, tuple[int, ...]] = field(repr=False)

    def to_dict(self) -> dict[str, object]:
        """JSON-serialisable: counts by reason, and quantiles in place of all lengths."""
        quantiles = {name: {f"{q:.0%}": round(float(np.quantile(values, q)), 1) for q in QUANTILES}
                     for name, values in self.lengths.items()}
        return {"rows": self.rows, "kept": self.kept, "prompts": self.prompts,
                "dropped": {reason: len(ids) for reason, ids in self.dropped.items()},
                "truncated": self.truncated, "lost_end": self.lost_end,
                "near_duplicates": self.near_duplicates, "sources": self.sources,
                "tokens": quantiles}


@dataclass(frozen=True)
class _RowCheck:
    """The reason to drop a row (None: keep it), and facts of its encoding."""

    reason: str | None
    truncated: bool = False
    lost_end: bool = False
    lengths: dict[str, int] = field(default_factory=dict)
    ids: Row = field(default_factory=dict)  # the kept row's columns of token ids


def curate(rows: Sequence[TypedRow], tokenizer: PreTrainedTokenizerBase, max_length: int,
           drop_near_duplicates: bool = False) -> tuple[list[Row], Report]:
    """SFT, preference or held-out rows that can be used, with their token ids, and the report.

    max_length: in tokens, of a conversation, of a prompt with one answer, or of a held-out prompt.
    Raises ChatError for a chat template that cannot be used.
    """
    checks = _checks(rows, tokenizer, max_length)
    reasons = _with_repetitions([check.reason for check in checks], map(_text, rows))
    prompts = [normalised(prompt_text(row)) for row in rows]
    repeats = _near_repeats([p for p, reason in zip(prompts, reasons, strict=True) if not reason])
    if drop_near_duplicates:
        reasons = [reason or ("near_duplicate" if prompt in repeats else None)
                   for reason, prompt in zip(reasons, prompts, strict=True)]
        repeats = set()
    kept = [index for index, reason in enumerate(reasons) if reason is None]
    dropped = {name: tuple(row["id"] for row, reason in zip(rows, reasons, strict=True)
                           if reason == name) for name in REASONS if name in reasons}
    names = checks[kept[0]].lengths if kept else ()
    report = Report(
        rows=len(rows), kept=len(kept), prompts=len({prompts[index] for index in kept}),
        dropped=dropped, truncated=sum(checks[index].truncated for index in kept),
        lost_end=sum(checks[index].lost_end for index in kept), near_duplicates=len(repeats),
        sources=dict(Counter(rows[index]["source"] for index in kept)),
        lengths={name: tuple(checks[index].lengths[name] for index in kept) for name in names})
    return [{**rows[index], **checks[index].ids} for index in kept], report


def _checks(rows: Sequence[TypedRow], tokenizer: PreTrainedTokenizerBase,
            max_length: int) -> list["_RowCheck"]:
    """The check of every row; raises the first ChatError if the template takes none of them."""
    checks, refusals = [], []
    for row in rows:
        try:
            checks.append(_check(row, tokenizer, max_length))
        except ChatError as error:
            refusals.append(error)
            checks.append(_RowCheck("refused_by_template"))
    if refusals and all(check.reason for check in checks):
        raise refusals[0]
    if refusals:
        row = rows[[check.reason for check in checks].index("refused_by_template")]
        say(f"left out: {counted(len(refusals), 'row')}; the first, of {row['source']} with the id "
            f"{row['id']} ({prompt_text(row)[:40]!r}): {refusals[0]}")
    return checks


def _text(row: TypedRow) -> str:
    """All that makes a row a duplicate of another."""
    if "messages" in row:
        return "\n".join(f"{turn['role']}: {turn['content']}" for turn in row["messages"])
    answers = (row["chosen"], row["rejected"]) if "chosen" in row else ()
    return "\n".join((prompt_text(row), *answers))


def _check(row: TypedRow, tokenizer: PreTrainedTokenizerBase, max_length: int) -> _RowCheck:
    if "messages" in row:
        return _check_sft(row, tokenizer, max_length)
    if "chosen" in row:
        return _check_pair(row, tokenizer, max_length)
    return _check_prompt(row, tokenizer, max_length)


def _check_sft(row: SftRow, tokenizer: PreTrainedTokenizerBase, max_length: int) -> _RowCheck:
    if reason := _unusable_messages(row["messages"], needs_answer=True):
        return _RowCheck(reason)
    ids = conversation_ids(row, tokenizer)
    whole = Encoded(**ids)
    cut = truncate(whole, max_length)
    responses = sum(whole.response_mask)
    lengths = {"prompt": len(whole.input_ids) - responses, "response": responses,
               "conversation": len(whole.input_ids)}
    return _RowCheck(_no_room(whole.response_mask.index(1), max_length), cut.truncated,
                     cut.lost_end, lengths, ids)


def _check_prompt(row: HeldoutRow, tokenizer: PreTrainedTokenizerBase,
                  max_length: int) -> _RowCheck:
    if not row["prompt"].strip():
        return _RowCheck("empty")
    tokens = len(encode_prompt(tokenizer, prompt_of(row)))
    reason = "prompt_too_long" if tokens > max_length else None
    return _RowCheck(reason, lengths={"prompt": tokens})


def _check_pair(row: PreferenceRow, tokenizer: PreTrainedTokenizerBase,
                max_length: int) -> _RowCheck:
    if reason := _unusable_pair(row):
        return _RowCheck(reason)
    ids = pair_ids(row, tokenizer)
    prompt, chosen, rejected = ids.values()
    reason = _no_room(len(prompt), max_length)
    room = max(max_length - len(prompt), 0)
    if reason is None and chosen[:room] == rejected[:room]:
        reason = "identical_after_truncation"
    cut = max(len(chosen), len(rejected)) > room
    lengths = {"prompt": len(prompt), "chosen": len(chosen), "rejected": len(rejected)}
    lost_end = cut or row.get("cut_off_chosen", False) or row.get("cut_off_rejected", False)
    return _RowCheck(reason, truncated=cut, lost_end=lost_end, lengths=lengths, ids=ids)


def _unusable_messages(messages: Sequence[Message], needs_answer: bool) -> str | None:
    turns = [message for message in messages if message["role"] != "system"]
    roles = [message["role"] for message in turns]
    blank = any(not message["content"].strip() for message in turns)
    if not turns or blank or (needs_answer and "assistant" not in roles):
        return "empty"
    return "starts_with_assistant" if roles[0] == "assistant" else None


def _unusable_pair(row: PreferenceRow) -> str | None:
    if reason := _unusable_messages(row["prompt"], needs_answer=False):
        return reason
    chosen, rejected = row["chosen"].strip(), row["rejected"].strip()
    if not chosen or not rejected:
        return "empty"
    if chosen == rejected:
        return "identical_pair"
    high, low = row["score_chosen"], row["score_rejected"]
    if high is None or low is None or high > low:
        return None
    return "tie" if high == low else "rejected_scores_higher"


def _no_room(prompt_tokens: int, max_length: int) -> str | None:
    if prompt_tokens < max_length:
        return None
    return "no_response_left" if prompt_tokens == max_length else "prompt_too_long"


def _with_repetitions(reasons: Sequence[str | None], texts: Iterable[str]) -> list[str | None]:
    """The reasons, with "duplicate" for a row without one whose text an earlier row has."""
    seen, marked = set(), []
    for reason, text in zip(reasons, map(normalised, texts), strict=True):
        marked.append(reason or ("duplicate" if text in seen else None))
        if reason is None:
            seen.add(text)
    return marked


def _near_repeats(prompts: Sequence[str]) -> set[str]:
    """Prompts that are near duplicates of an earlier one."""
    different = list(dict.fromkeys(prompts))
    return {different[second] for _, second, _ in near_duplicates(different)}
