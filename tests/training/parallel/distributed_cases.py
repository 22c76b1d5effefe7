"""What every rank of the distributed tests does: the same small runs, as copies and as shards."""

import contextlib
import os
import shutil
import socket
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from lib.training.parallel.processes import join, leave
from lib.training.processes import Processes
from tests.forked import process
from tests.training.small_runs import METHODS, Interrupted, finish, run_of

CUT_AT = 3  # optimizer steps after which a run is interrupted


def place(root: Path, method: str, count: int, kind: str, what: str) -> Path:
    return root / f"{method}-{count}-{kind}-{what}"


def take_over(source: Path, target: Path, processes: Processes) -> Path:
    """A copy of an interrupted run's folder, made by rank 0."""
    if processes.main:
        shutil.copytree(source, target)
    processes.gather(None)
    return target


def rank_main(rank: int, count: int, port: int, root: Path) -> None:
    """All cases of one rank: whole, interrupted, and gone on with, as copies and as shards."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
                   "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    joined = join(cpu=True)
    for kind in ("copies", "shards"):
        processes = replace(joined, sharded=kind == "shards")
        for method in METHODS:
            state = finish(run_of(method, place(root, method, count, kind, "whole"), processes))
            if processes.main:
                torch.save(state, place(root, method, count, kind, "whole") / "state.pt")
            with contextlib.suppress(Interrupted):
                finish(run_of(method, place(root, method, count, kind, "cut"), processes), CUT_AT)
            for before in (1, 2) if count == 4 else (1,):
                source = place(root, method, before, kind if before > 1 else "copies", "cut")
                target = place(root, method, count, kind, f"after-{before}")
                finish(run_of(method, take_over(source, target, processes), processes))
    leave()


def alone_of_two(config: str, port: int, seconds: float, output: Path) -> None:
    """The command line of rank 0 of two whose other rank never comes; stderr goes to a file."""
    from lib.training.__main__ import main
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    with output.open("w") as file, contextlib.redirect_stderr(file):
        status = main(["--config", config, "--join-timeout", str(seconds)])
    os._exit(status)  # a store without its second client does not end by itself


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(count: int, root: Path) -> list[BaseProcess]:
    """Start all ranks of the distributed tests."""
    port = free_port()
    return [process(rank_main, rank, count, port, root) for rank in range(count)]
