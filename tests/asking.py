"""Methods in processes of their own, without a container: what `harness.sandbox.inside serve` does there."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from conftest import make_task
from tiny import CPU

from harness.plugin import asks, declared, discovery
from harness.plugin.asks import Asks
from harness.plugin.discovery import Plugin
from harness.protocol import Recipe
from harness.sandbox import boxed
from harness.sandbox.container import Ended
from harness.sandbox.limits import Limits
from harness.sandbox.remote import Remote
from harness.training import side
from harness.training.side import Assignment, MakeSide

RECIPE = Recipe(epochs=2, batch_size=4, learning_rate=1e-2, weight_decay=0.1)


def told(name: str, **changes) -> Assignment:
    """What a method is told, of the task that `make_batch` draws batches of."""
    values = {
        "name": name,
        "hyper_parameters": {},
        "task": make_task(),
        "recipe": RECIPE,
        "learning_rate": RECIPE.learning_rate,
        "seed": 0,
        "device": CPU,
    }
    return Assignment(**(values | changes))


def here(plugin: Plugin, assignment: Assignment) -> side.Here:
    return side.build(discovery.load(plugin), assignment)


def asked_by(plugin: Plugin, **values) -> Asks:
    """What a method asks of the training beside losses."""
    about = declared.of(discovery.load(plugin), plugin)
    return asks.of(about, about.defaults | values, plugin.name)


@contextmanager
def elsewhere(plugin: Plugin, limits: Limits | None = None) -> Iterator[MakeSide]:
    """Yield what makes the method's side in a process of its own."""
    with boxed.opened(run_process) as (box, door):
        where = f"{plugin.file.name}, elsewhere"
        line = box.accept(door, where, 60)
        yield lambda assignment: Remote(
            line, assignment, str(plugin.file), where, limits or Limits(), box.why
        )
        line.close()


def run_process(path: Path, stop: threading.Event) -> Ended:
    """Serve in a process forked from the tests' server, which has torch."""
    process = multiprocessing.get_context("forkserver").Process(target=serve, args=[str(path)])
    process.start()
    while process.is_alive() and not stop.wait(0.05):
        pass
    by_itself = not stop.is_set()
    process.kill()
    process.join()
    return Ended(reason=f"it exited with status {process.exitcode}" if by_itself else "")


def serve(path: str) -> None:
    """Be the process."""
    from harness.sandbox.serve import serve

    torch.set_num_threads(1)
    sys.exit(serve(path))
