"""Pools that another run sampled and scored exactly as this one would: taken, not made again.

A sweep over `dpo.beta` leaves base and SFT as they are, so that their answers and scores hold for
every run of it. `from_run` names the run to take from.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lib.runtime.files import Row, read_json, read_jsonl, sha256_of, shown, write_jsonl
from lib.runtime.manifest import read_manifest
from lib.runtime.progress import say
from lib.study.pools.pool import Pool
from lib.study.run import Study

FREE = ("temperature", "samples", "rows", "memory_gb")  # of `sampling`: a pool has its own, or the
# answers do not depend on it


def take_pools(study: Study, stage: str,
               wanted: Mapping[Pool, Sequence[Row]]) -> dict[Pool, list[Row]]:
    """Write into RUN/<stage>/pools/ each pool that `from_run` has alike; returns their rows.

    wanted: each pool's prompts. Alike are policy, prompts, sampling, seed, device and precision,
    the reward models, and the file is the one that was written.
    """
    source = None if study.force else study.from_run
    there = read_manifest(source / stage) if source else None
    if source is None or there is None:
        return {}
    here = read_json(study.path(stage, "begun.json")) | made_on(study)
    taken = {pool: rows for pool, prompts in wanted.items()
             if _made_from(here, pool) == _made_from(there, pool)
             and (rows := _rows(source / stage, there, pool, prompts))}
    for pool, rows in taken.items():
        write_jsonl(pool.file(study.path(stage, "pools")), rows)
    say(f"{stage}: {_some(taken)} taken with scores from {shown(source)}; sampled here: "
        f"{_some([pool for pool in wanted if pool not in taken])}")
    return taken


def made_on(study: Study) -> Row:
    """Device and precision as a manifest has them."""
    device = study.device
    return {"device": str(device.device), "dtype": str(device.dtype).removeprefix("torch.")}


def _made_from(made: Row, pool: Pool) -> Row:
    """What a pool's answers and scores depend on, besides its own temperature and prompts."""
    parameters, inputs = made["parameters"], made["inputs"]
    return {"device": made["device"], "dtype": made["dtype"],
            "sampling": {key: value for key, value in parameters["sampling"].items()
                         if key not in FREE},
            "inputs": [inputs.get(key) for key in ("data", "rewards", pool.policy)],
            **{key: parameters.get(key) for key in ("seed", "model", "rewards")}}


def _rows(source: Path, there: Row, pool: Pool, prompts: Sequence[Row]) -> list[Row]:
    """The pool's rows in the other run; empty unless they answer these prompts in this number."""
    path = pool.file(source / "pools")
    known = there["outputs"].get(f"pools/{path.name}")
    if not path.exists() or known != sha256_of(path):
        return []
    rows = read_jsonl(path)
    alike = [(row["id"], row["prompt"]) for row in rows] == [
        (prompt["id"], prompt["prompt"]) for prompt in prompts]
    return rows if alike and all(
        len(row["candidates"]) == pool.samples for row in rows) else []


def _some(pools: Sequence[Pool] | Mapping[Pool, object]) -> str:
    return ", ".join(pool.name for pool in pools) or "none"
