"""Checks by training on the tiny cohort: it learns, to the same bits, also when killed; and what it costs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from harness.check import bench
from harness.check.child import Child, Result, call, start
from harness.check.subject import Line, Subject, verdict
from harness.plugin.discovery import Plugin
from harness.running import trial
from harness.running.plan import Trial
from harness.running.prepare import Prepared
from harness.running.scoring import score
from harness.store import Record, Store, names
from harness.training import fit
from harness.training.device import prepare_torch
from harness.training.feed import Feed
from harness.training.predict import predict

LIMIT = 90.0
"""Seconds that one training of a few steps may take; ERM's takes under ten."""

MOST_TIME = 10.0
"""Times ERM's training time from which on a method is said to be too slow to be compared."""

MOST_MEMORY = 3.0
"""Times ERM's peak memory, Python and torch included, from which on it is said to need too much."""

NAMES = ("trains", "learns", "same seed, same bits", "killed and resumed", "time", "peak memory")

_RESUMED = ("resumed", "checkpoints")
_COMPARED = (names.PREDICTIONS, names.SCORES, names.CURVE)


@dataclass(frozen=True)
class _Run:
    """One training of the plugin, by the folder of its records."""

    store: Store
    id: str

    @property
    def record(self) -> Record:
        return self.store.record(self.id)

    def files(self) -> dict[str, bytes]:
        """Return what two runs of the same trial must have in common to the bit."""
        files = {name: (self.store.path(self.id) / name).read_bytes() for name in _COMPARED}
        return files | {"trained weights": self.store.weights(self.id).read_bytes()}


def check(subject: Subject) -> Iterator[Line]:
    """Yield the lines of training: ERM's and then the plugin's alone, for their costs; then two more."""
    if subject.stopped:
        yield from (Line(name, "skipped", subject.stopped) for name in NAMES)
        return
    reference = call(subject, "training:reference", limit=2 * LIMIT)
    first = call(subject, "training:train", "first", limit=LIMIT)
    problem = reference.problem or first.problem or first.values["error"]
    yield verdict("trains", problem and f"{problem}.")
    if problem:
        subject.stopped = "it did not train"
        yield from (Line(name, "skipped", subject.stopped) for name in NAMES[1:])
        return
    yield learns(subject, reference, first)
    yield from repeats(subject, first)
    yield from costs(subject, reference, first)


def reference(plugin: Plugin, scratch: Path) -> Iterator[dict[str, object]]:
    """Be the child that scores the untrained backbone and trains ERM and what the plugin starts from."""
    yield {"untrained": _untrained_dice(scratch)}
    prepared = bench.prepare_trials(scratch, "reference", "erm", str(plugin.file))
    for one in prepared.plan.trials.values():
        if one.plugin.name != plugin.name or plugin.name == "erm":
            trial.run(one, prepared.paths, torch.device("cpu"))
        if one.plugin.name == "erm":
            yield {"id": one.id}


def train(plugin: Plugin, scratch: Path, runs: str, *options: str) -> Iterator[dict[str, object]]:
    """Be the child that trains the plugin; with "checkpoints" it writes one after every epoch."""
    if "checkpoints" in options:
        fit.CHECKPOINT_SECONDS = 0.0
    prepared = bench.prepare_trials(scratch, runs, str(plugin.file))
    if prepared.broken:
        yield {"error": prepared.broken[0].error}
        return
    one = _own(prepared, plugin)
    if one.starts_from is not None:
        shutil.copytree(scratch / "reference" / "weights", scratch / runs / "weights", dirs_exist_ok=True)
    status = trial.run(one, prepared.paths, torch.device("cpu"))
    yield {"id": one.id, "error": "" if status == "done" else prepared.store.record(one.id).error}


def _own(prepared: Prepared, plugin: Plugin) -> Trial:
    return next(one for one in prepared.plan.trials.values() if one.plugin.name == plugin.name)


def _untrained_dice(scratch: Path) -> float:
    prepare_torch(1)
    found, backbone = bench.cohort(scratch), bench.untrained(scratch)
    rows, size = found.rows("test"), bench.PROTOCOL.cohort.size
    feed = Feed(found.images, None, [], rows, torch.device("cpu"))
    labels = predict(backbone, feed, size, False, lambda *_: None)
    return float(score(bench.PROTOCOL, found, labels)["dice"].mean())


def _run(subject: Subject, runs: str, result: Result) -> _Run:
    return _Run(Store(subject.scratch / runs), str(result.values["id"]))


def learns(subject: Subject, reference: Result, first: Result) -> Line:
    """Compare the test Dice with that of the weights it began with."""
    run = _run(subject, "first", first)
    after, before = float(run.store.scores(run.id)["dice"].mean()), float(reference.values["untrained"])
    text = f"mean Dice {after:.2f} after {bench.EPOCHS} epochs, {before:.2f} before"
    problem = "" if after > before else f"{text}. Does the loss fall where the masks are matched better?"
    return verdict("learns", problem, text)


def repeats(subject: Subject, first: Result) -> Iterator[Line]:
    """Train twice more at the same time: once as it is, and once killed after its first checkpoint."""
    again = start(subject, "training:train", "again", limit=2 * LIMIT, hash_seed=1)
    try:
        was_killed = _kill_at_checkpoint(start(subject, "training:train", *_RESUMED, limit=LIMIT))
        resumed = call(subject, "training:train", *_RESUMED, limit=LIMIT)
        result = again.finish()
    finally:
        again.kill()
    subject.incidents += result.incidents
    fix = "Draw from torch's, numpy's or random's generators, never from time, hash() or a set's order."
    problem = _different(subject, first, "again", result, fix)
    yield verdict("same seed, same bits", problem)
    if problem or not was_killed:
        why = "its runs differ anyway" if problem else "it ended before its first checkpoint"
        yield Line("killed and resumed", "skipped", why)
        return
    fix = "Keep what it learns in buffers and parameters: plain attributes are not in the checkpoint."
    yield verdict("killed and resumed", _different(subject, first, "resumed", resumed, fix))


def _kill_at_checkpoint(child: Child) -> bool:
    runs = child.folder.parent / _RESUMED[0]
    try:
        while child.process.poll() is None and time.monotonic() < child.deadline:
            if list(runs.glob(f"work/*/{names.CHECKPOINT}")):
                return True
            time.sleep(0.02)
        return False
    finally:
        child.kill()


def _different(subject: Subject, first: Result, runs: str, result: Result, fix: str) -> str:
    problem = result.problem or result.values["error"]
    if problem:
        return f"the first run ended well, this one did not: {problem}."
    one, other = _run(subject, "first", first).files(), _run(subject, runs, result).files()
    changed = [name for name in one if one[name] != other[name]]
    return f"{', '.join(changed)} differ. {fix}" if changed else ""


def costs(subject: Subject, reference: Result, first: Result) -> Iterator[Line]:
    """Compare time and memory with ERM's, trained just before on the same machine."""
    erm, own = _run(subject, "reference", reference).record.cost, _run(subject, "first", first).record.cost
    ratio = own.fit_seconds / erm.fit_seconds
    text = f"{own.fit_seconds:.1f} s of training, {ratio:.1f} times ERM's"
    fix = f"{text}, of at most {MOST_TIME:g}. Look for a loop over pixels or samples."
    yield verdict("time", fix if ratio > MOST_TIME else "", text)
    ratio = own.peak_memory_bytes / erm.peak_memory_bytes
    text = f"{own.peak_memory_bytes / 1e9:.2f} GB, {ratio:.1f} times ERM's"
    fix = f"{text}, of at most {MOST_MEMORY:g}. Look for tensors that are kept from step to step."
    yield verdict("peak memory", fix if ratio > MOST_MEMORY else "", text)
