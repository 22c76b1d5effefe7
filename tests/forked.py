"""Processes that begin with everything imported: a server imports it once and forks them."""

import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess

# `lib` is found from any folder; a name that cannot be imported is passed over without a word
IMPORTED = ["lib.study.stages.responses", "lib.training.parallel.processes"]


def process(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """A started process that calls a function of a module; a fresh interpreter outside Linux."""
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload(IMPORTED)
    started = context.Process(target=target, args=arguments)
    started.start()
    return started
