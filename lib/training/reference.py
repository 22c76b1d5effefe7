"""Reference log-probabilities, computed once and kept on disk.

They are computed on the very rows that training will use, in the same precision, so that policy and
reference agree to the last bit at step 0 and the loss there is ln 2. The cache is a JSONL file
whose first line is a key over model files, pairs and precision: another key's file is not used, a
partial one is completed. Of several processes each computes its part of every step into a file of
its own (`<name>-<rank>.jsonl`) and reads all of them.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.modeling.packed.logps import response_logps
from lib.runtime.files import FileError, append_jsonl, parse_jsonl, sha256_of_value, write_jsonl
from lib.runtime.progress import Progress, say
from lib.training.pairs import Pair, PairRow, pair_rows, pairs_hash, pairs_together
from lib.training.processes import ALONE, Processes


def reference_logps(model: nn.Module, pairs: Sequence[Pair], batches: Sequence[Sequence[int]],
                    token_budget: int, model_hash: str, cache: Path, device: torch.device,
                    name: str = "reference", processes: Processes = ALONE) -> Tensor:
    """Summed log-probabilities of (chosen, rejected) under `model`, float32 [pairs, 2].

    batches: the optimizer steps' examples in training order; pairs in no batch are added at the
    end. model: in its compute precision. model_hash: hash of the model's files.
    """
    model.eval()  # dropout off, as in training
    precision = str(next(model.parameters()).dtype)
    key = sha256_of_value([model_hash, precision, pairs_hash(pairs)])
    own = _own_cache(cache, processes)
    _begin_cache(own, key)
    processes.gather(None)  # nobody reads before everybody's file is there
    known = _known(cache, key)
    rows = [row for batch in _covering(batches, len(pairs))
            for row in _rows(pairs, batch, token_budget, device, processes)]
    with Progress(f"{name} log-probabilities", len(rows), "row") as progress, torch.no_grad():
        for row in rows:
            if not all(pairs[i].id in known for i in row.examples):
                logps = response_logps(model, row.batch)
                both = torch.stack((logps[row.chosen], logps[row.rejected]), 1).tolist()
                found = {pairs[i].id: value for i, value in zip(row.examples, both, strict=True)}
                append_jsonl(own, {"logps": found})
                known |= found
            progress.advance()
    processes.gather(None)
    known = _known(cache, key) if processes.count > 1 else known
    return torch.tensor([known[pair.id] for pair in pairs], dtype=torch.float32)


def _rows(pairs: Sequence[Pair], batch: Sequence[int], token_budget: int, device: torch.device,
          processes: Processes) -> list[PairRow]:
    """This process's rows of a step: those that it will train on."""
    if processes.count == 1:
        return pair_rows(pairs, batch, token_budget, device)
    own = processes.part(pairs_together(pairs, batch, token_budget))
    return pair_rows(pairs, own, token_budget, device)


def _covering(batches: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """The batches without examples already met, so that every pair comes once."""
    seen: set[int] = set()
    covering = []
    for batch in [*batches, range(count)]:
        new = [example for example in batch if example not in seen]
        seen.update(new)
        if new:
            covering.append(new)
    return covering


def _own_cache(cache: Path, processes: Processes) -> Path:
    """The file that this process writes; rank 0 writes the cache itself."""
    return cache if processes.main else cache.with_stem(f"{cache.stem}-{processes.rank}")


def _known(cache: Path, key: str) -> dict[str, list[float]]:
    """Log-probabilities by pair id from the cache and the files of other processes of this key.

    Where two files have a pair, the first file counts, so that every process gets the same.
    """
    known: dict[str, list[float]] = {}
    for path in sorted([cache, *cache.parent.glob(f"{cache.stem}-*{cache.suffix}")]):
        rows = _whole_rows(path)
        if rows and rows[0].get("key") == key:
            for name, value in (item for row in rows[1:] for item in row["logps"].items()):
                known.setdefault(name, value)
    return known


def _begin_cache(path: Path, key: str) -> None:
    """Start the file anew unless it is of this key; mend a line that a killed process left."""
    rows = _whole_rows(path)
    if not rows or rows[0].get("key") != key:
        if rows:
            say(f"{path} was made from another model, precision or data; computing it again")
        rows = [{"key": key}]
    write_jsonl(path, rows)


def _whole_rows(path: Path) -> list[dict]:
    """The rows of a cache without a last line that was cut short."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    try:
        return parse_jsonl(lines, path)
    except FileError:
        return parse_jsonl(lines[:-1], path)
