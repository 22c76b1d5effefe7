"""Reference log-probabilities, computed once and kept on disk.

They are computed on the very rows that training will use, in the same precision, so that policy and
reference agree to the last bit at step 0 and the loss there is ln 2. The cache is a JSONL file
whose first line is a key over model files, pairs and precision: another key's file is not used, a
partial one is gone on with.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.modeling.logps import response_logps
from lib.runtime.files import FileError, append_jsonl, parse_jsonl, sha256_of_value, write_jsonl
from lib.runtime.progress import Progress, say
from lib.training.dpo import Pair, pair_rows


def reference_logps(model: nn.Module, pairs: Sequence[Pair], batches: Sequence[Sequence[int]],
                    token_budget: int, model_hash: str, cache: Path, device: torch.device,
                    name: str = "reference") -> Tensor:
    """Summed log-probabilities of (chosen, rejected) under `model`, float32 [pairs, 2].

    batches: the optimizer steps' examples in training order; pairs in no batch are added at the
    end. model: in its compute precision. model_hash: hash of the model's files.
    """
    model.eval()  # dropout off, as in training
    precision = str(next(model.parameters()).dtype)
    key = sha256_of_value([model_hash, precision,
                           [[p.id, p.prompt, p.chosen, p.rejected] for p in pairs]])
    known = _read_cache(cache, key)
    rows = [row for batch in _covering(batches, len(pairs))
            for row in pair_rows(pairs, batch, token_budget, device)]
    with Progress(f"{name} log-probabilities", len(rows), "row") as progress, torch.no_grad():
        for row in rows:
            if not all(pairs[i].id in known for i in row.examples):
                logps = response_logps(model, row.batch)
                both = torch.stack((logps[row.extra.chosen], logps[row.extra.rejected]), 1).tolist()
                found = {pairs[i].id: value for i, value in zip(row.examples, both, strict=True)}
                append_jsonl(cache, {"logps": found})
                known |= found
            progress.advance()
    return torch.tensor([known[pair.id] for pair in pairs], dtype=torch.float32)


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


def _read_cache(cache: Path, key: str) -> dict[str, list[float]]:
    """Log-probabilities by pair id; starts a new file without one of this key."""
    lines = cache.read_text(encoding="utf-8").splitlines() if cache.exists() else []
    try:
        rows = parse_jsonl(lines, cache)
    except FileError:  # the last line of a killed process
        rows = parse_jsonl(lines[:-1], cache)
        write_jsonl(cache, rows)
    if rows and rows[0].get("key") == key:
        return {name: value for row in rows[1:] for name, value in row["logps"].items()}
    if rows:
        say(f"{cache} was made from another model, precision or data; computing it again")
    write_jsonl(cache, [{"key": key}])
    return {}
