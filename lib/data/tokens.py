"""Token ids of rows, which the data stage stores, so that a row is tokenised once.

They are not truncated; training truncates to its limit.
"""

from collections.abc import Callable, Sequence

from transformers import PreTrainedTokenizerBase

from lib.data.chat import encode_conversation, encode_prompt, encode_response
from lib.runtime.files import Record, Row

Encode = Callable[[Record, PreTrainedTokenizerBase], Row]


def conversation_ids(row: Record, tokenizer: PreTrainedTokenizerBase) -> Row:
    """`input_ids` and `response_mask` (1 on response tokens) of an SFT row. Raises ChatError."""
    encoded = encode_conversation(tokenizer, row["messages"], None)
    return {"input_ids": encoded.input_ids, "response_mask": encoded.response_mask}


def pair_ids(row: Record, tokenizer: PreTrainedTokenizerBase) -> Row:
    """`prompt_ids`, `chosen_ids` and `rejected_ids` of a preference row. Raises ChatError."""
    return {"prompt_ids": encode_prompt(tokenizer, row["prompt"]),
            **{f"{side}_ids": encode_response(tokenizer, row["prompt"], row[side],
                                              bool(row.get(f"cut_off_{side}")))
               for side in ("chosen", "rejected")}}


def with_ids(rows: Sequence[Record], tokenizer: PreTrainedTokenizerBase,
             encode: Encode) -> Sequence[Record]:
    """The rows with their token ids, encoded again unless this tokenizer's are stored.

    The first row shows whether they are.
    """
    if not rows:
        return rows
    first = encode(rows[0], tokenizer)
    if all(rows[0].get(name) == ids for name, ids in first.items()):
        return rows
    return [{**row, **encode(row, tokenizer)} for row in rows]
