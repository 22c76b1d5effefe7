"""Reference log-probabilities, computed once and kept on disk.

They are computed on the rows and in the precision of training, so that policy and reference agree
to the last bit at step 0 and the loss there is ln 2. The cache is a JSONL file whose first line is
a hash of model files, pairs and precision: a file of another hash is replaced, a partial one is
completed. Of several processes each computes its part of every step, appends to a file that only
it writes (`<name>-<rank>.jsonl`), and reads all files.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lib.modeling.packed.logps import response_logps
from lib.runtime.files import append_jsonl, read_whole_lines, sha256_of_value, write_jsonl
from lib.runtime.progress import Progress, say
from lib.runtime.threads import leave_taken_cores
from lib.training.objective import PackedRow
from lib.training.pairs import Pair, PairRow, pair_rows, pairs_hash, pairs_together
from lib.training.processes import ALONE, Processes

SomeRow = TypeVar("SomeRow", bound=PackedRow)


def reference_logps(model: PreTrainedModel, pairs: Sequence[Pair], batches: Sequence[Sequence[int]],
                    token_budget: int, model_hash: str, cache: Path, device: torch.device,
                    name: str = "reference", processes: Processes = ALONE) -> Tensor:
    """Summed log-probabilities of (chosen, rejected) under `model`, float32 [pairs, 2].

    batches: the optimizer steps' examples in training order; pairs in no batch come after them.
    model: in its compute precision. model_hash: hash of the model's files.
    """
    steps = [processes.part(pairs_together(pairs, batch, token_budget))
             for batch in covering(batches, len(pairs))]
    rows = [row for step in steps for row in pair_rows(pairs, step, token_budget, device)]

    def both(row: PairRow) -> list[list[float]]:
        """(chosen, rejected) of every pair of a row."""
        logps = response_logps(model, row.batch)
        return torch.stack((logps[row.chosen], logps[row.rejected]), 1).tolist()
    known = kept_logps(model, rows, both, [pair.id for pair in pairs],
                       [model_hash, pairs_hash(pairs)], cache, name, processes)
    return torch.tensor([known[pair.id] for pair in pairs], dtype=torch.float32)


def kept_logps(model: PreTrainedModel, rows: Sequence[SomeRow],
               logps_of: Callable[[SomeRow], list[list[float]]], ids: Sequence[str],
               made_from: Sequence[str], cache: Path, name: str,
               processes: Processes = ALONE) -> dict[str, list[float]]:
    """Log-probabilities of examples by id, read from `cache` where it has them, else computed.

    rows: this process's; logps_of: the values of each example of a row. made_from: what decides
    them beside the model's precision.
    """
    model.eval()  # dropout off, as in training
    precision = str(next(model.parameters()).dtype)
    key = sha256_of_value([made_from[0], precision, *made_from[1:]])
    own = cache if processes.main else cache.with_stem(f"{cache.stem}-{processes.rank}")
    _begin(own, key)
    processes.gather(None)  # no process reads before every file has begun
    known = _known(cache, key)
    works = [0 if all(ids[i] in known for i in row.examples) else row.batch.tokens for row in rows]
    with (Progress(f"{name} log-probabilities", len(rows), "packed row", sum(works)) as progress,
          torch.no_grad()):
        for row, work in zip(rows, works, strict=True):
            if work:
                leave_taken_cores()
                found = {ids[i]: logps
                         for i, logps in zip(row.examples, logps_of(row), strict=True)}
                append_jsonl(own, {"logps": found})
                known |= found
            progress.advance(work=work)
    processes.gather(None)
    return _known(cache, key) if processes.count > 1 else known


def covering(batches: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """The batches, then all other examples, each example only where it comes first."""
    seen: set[int] = set()
    covering = []
    for batch in [*batches, range(count)]:
        covering.append([example for example in batch if example not in seen])
        seen.update(batch)
    return covering


def _begin(path: Path, key: str) -> None:
    """Drop what a killed process wrote in part; start anew where the file has another key."""
    rows, _ = read_whole_lines(path)
    if not rows or rows[0].get("key") != key:
        if rows:
            say(f"{path} was made from another model, precision or data; computing it again")
        rows = [{"key": key}]
    write_jsonl(path, rows)


def _known(cache: Path, key: str) -> dict[str, list[float]]:
    """Log-probabilities by pair id from the files of all processes that have this key.

    Of two files with the same pair the first one counts, so that all processes read the same.
    """
    known: dict[str, list[float]] = {}
    for path in sorted([cache, *cache.parent.glob(f"{cache.stem}-*{cache.suffix}")]):
        header, *rows = read_whole_lines(path)[0] or [{}]
        for row in rows if header.get("key") == key else []:
            for name, logps in row["logps"].items():
                known.setdefault(name, logps)
    return known
