"""Runs through an engine and on this machine, whose records are compared byte by byte."""

from __future__ import annotations

import time
from pathlib import Path

from tiny import CPU, Silent

from harness.running.executors.local import LocalExecutor
from harness.running.paths import Paths
from harness.running.prepare import Prepared
from harness.running.queue import Outcome
from harness.running.schedule import execute
from harness.store import Store
from harness.training.checkpoint import epochs_in

SMALL = {
    "seeds": (0,),
    "attributes": {"race": {}},
    "cohort": {"source": "synthetic", "size": 32, "samples": 40, "shift": 1.0, "seed": 0},
}
"""The tiny protocol with half of its samples, a quarter of their pixels, one seed and one attribute."""

FILES = ("predictions.npz", "scores.parquet", "curve.csv")

# ERM that is held at a step which a file names: epochs end when a test wants them to.
SLOW = """
import pathlib, time
from harness import Card, Method, segmentation_loss
from harness.training import checkpoint, fit
checkpoint.KEEP_SECONDS, checkpoint.KEEP_SHARE = 0.0, 1e9  # every epoch, however short
fit.CHECKPOINT_SECONDS = {seconds}

class Slow(Method):
    card = Card(title="Slow")
    reads_attribute = False

    def loss(self, batch, output):
        self.steps = getattr(self, "steps", 0) + 1
        while self.steps > int(pathlib.Path({gate!r}).read_text()):
            time.sleep(0.1)
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
"""


def here(folder: Path, cache: Path) -> Paths:
    return Paths(folder, None, cache)


def slow(folder: Path, written: bool = False) -> tuple[Path, str]:
    """Return the file that says up to which step a method trains, and the method's file.

    written: its epochs go to the disk one by one, and not only when it is told to end.
    """
    gate, method = folder / "gate", folder / "slow.py"
    # Two steps an epoch, of 23 images in eights: held at the second step of the third.
    gate.write_text("5")
    method.write_text(SLOW.format(gate=str(gate), seconds=-1.0 if written else 10.0))
    return gate, str(method)


def run_through(prepared: Prepared, executor) -> Outcome:
    """Run all trials through an executor, on this machine where it is None."""
    executor = executor or LocalExecutor([{}, {}], preload=["harness.running.trial"])
    with executor:
        return execute(prepared, executor, Silent(), 2, CPU)


def files_of(prepared: Prepared) -> dict[tuple[str, str], bytes]:
    """What the records hold that must not depend on where a trial ran."""
    store = prepared.store
    return {
        (trial, name): (store.path(trial) / name).read_bytes()
        for trial in prepared.plan.trials
        for name in FILES
    }


def epoch_of(store: Store, trial: str, epoch: int, limit: float = 300.0) -> None:
    """Wait until a trial has an epoch on the disk: what it says of itself is there a moment before that."""
    until = time.monotonic() + limit
    while epochs_in(store.checkpoint(trial)) < epoch:
        assert time.monotonic() < until, f"{trial} has not kept epoch {epoch}"
        time.sleep(0.1)
