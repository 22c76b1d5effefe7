"""What every rank of the distributed tests does: the same small runs, as copies and as shards."""

import contextlib
import multiprocessing
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.packing import SharedPrompt
from lib.training.dpo import DPOObjective, Pair
from lib.training.loop import Loop, Run
from lib.training.objective import step_batches
from lib.training.parallel.processes import ALONE, Processes, join, leave
from lib.training.reference import reference_logps
from lib.training.settings import DPOSettings, SFTSettings
from lib.training.sft import SFTObjective

METHODS = ("sft", "dpo")
CUT_AT = 3  # optimizer steps after which a run is interrupted
SFT = SFTSettings(learning_rate=1e-3, batch_size=7, accumulation=1, token_budget=40, epochs=2,
                  checkpoint_every=2, evaluate_every=2, weight_decay=0.1)
DPO = DPOSettings(learning_rate=1e-3, batch_size=5, accumulation=1, token_budget=60, epochs=2,
                  checkpoint_every=2, evaluate_every=2)


class Interrupted(Exception):
    """Raised in the middle of a run, on every rank."""


def model() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    made = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=61, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64,
        tie_word_embeddings=True))
    use_packed_attention(made, "segments")
    return made


def ids(count: int) -> tuple[int, ...]:
    return tuple(torch.randint(3, 61, (count,)).tolist())


def sequences() -> list[SharedPrompt]:
    torch.manual_seed(1)
    trees = []
    for _ in range(24):
        prompt, answer = ids(int(torch.randint(2, 9, ()))), ids(int(torch.randint(1, 12, ())))
        trees.append(SharedPrompt((), (prompt + answer,), ((0,) * len(prompt) + (1,) * len(answer),)))
    return trees


def pairs() -> list[Pair]:
    """Twelve prompts, some with two pairs that share an answer."""
    torch.manual_seed(2)
    made = []
    for number in range(12):
        prompt, best, middle, worst = ids(5), ids(6), ids(4), ids(7)
        made.append(Pair(f"{number}/0", prompt, best, worst))
        if number % 2:
            made.append(Pair(f"{number}/1", prompt, best, middle))
    return made


def run_of(method: str, folder: Path, processes: Processes = ALONE,
           dtype: torch.dtype = torch.float32) -> Run:
    policy = model()
    if method == "sft":
        settings, objective = SFT, SFTObjective(sequences(), SFT.token_budget)
    else:
        settings, rows = DPO, pairs()
        batches = step_batches(DPOObjective(rows, None, settings), settings, 0)
        reference = reference_logps(policy.to(dtype), rows, batches, settings.token_budget, "model",
                                    folder / "reference.jsonl", torch.device("cpu"),
                                    processes=processes)
        objective = DPOObjective(rows, reference, settings)
    return Run(policy, objective, objective, settings, folder, 0, torch.device("cpu"), dtype,
               name=method, processes=processes)


def finish(run: Run, cut_at: int = 0) -> dict[str, torch.Tensor]:
    """Train to the end, or raise Interrupted instead of step `cut_at` + 1."""
    loop = Loop(run)
    step = loop._optimizer_step

    def stopping(examples: list[int]) -> dict[str, float]:
        if cut_at and loop.step == cut_at:
            raise Interrupted
        return step(examples)
    loop._optimizer_step = stopping
    loop.finish()
    return loop.state_dict()


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


def process(target: Callable[..., None], *arguments: object) -> ForkServerProcess:
    """A started process, from a server that has imported everything once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["distributed_cases"])
    started = context.Process(target=target, args=arguments)
    started.start()
    return started


def start(count: int, root: Path) -> list[ForkServerProcess]:
    """Start all ranks of the distributed tests."""
    port = free_port()
    return [process(rank_main, rank, count, port, root) for rank in range(count)]
