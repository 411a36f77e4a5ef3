"""Checks of a longer training: it goes on, each hyper-parameter matters, it is not ERM by mistake."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.backbones.backbone import Backbone
from harness.check import bench
from harness.check.child import call
from harness.check.subject import Line, Subject, verdict
from harness.cohorts.cohort import Cohort
from harness.plugin import asks, declared, discovery
from harness.plugin.asks import Asks
from harness.plugin.discovery import Plugin
from harness.plugin.losses import segmentation_loss
from harness.plugin.method import Batch, Card, Method, Output, Range
from harness.seeds import seed_everything
from harness.store import names
from harness.training.checkpoint import Checkpoint
from harness.training.device import prepare_torch
from harness.training.feed import Feed
from harness.training.fit import fit, trained_state
from harness.training.job import Job, Schedule
from harness.training.side import Assignment, Here

LIMIT = 240.0
"""Seconds for all trainings of these checks; of ERM they take five."""

MOVING_SECONDS = 90.0
"""Seconds after which no further value of a hyper-parameter is tried."""

LONG, SHORT, STEPS = 12, 2, 6
"""Epochs, and steps in each: enough for what begins at step 40, and for what begins after an epoch."""

NAMES = ("trains on", "hyper-parameters matter", "differs from ERM")


class Network(Backbone):
    """Four convolutions: what a method does to these weights it does to any, at a hundredth of the time."""

    n_features = width = 16
    heads = ("head",)

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()
        )
        self.decoder = nn.Sequential(nn.Conv2d(16, self.n_features, 3, 1, 1), nn.GroupNorm(4, 16), nn.ReLU())
        self.head = nn.Conv2d(self.n_features, n_classes, 1)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return one map at a quarter of the images' side."""
        return (self.encoder(images),)

    def decode(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return logits of the map's side and the last maps, averaged."""
        last = self.decoder(maps[0])
        return self.head(last), last.mean((2, 3))


class ERM(Method):
    """What a method is compared with: the same training with the plain loss."""

    card = Card(title="ERM")

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the recipe's loss over the whole batch."""
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)


@dataclass(frozen=True)
class _Course:
    """What a training went through: the loss of each step, and the weights at its end."""

    losses: tuple[float, ...]
    weights: Mapping[str, Tensor]

    def parts_from(self, other: _Course) -> int | None:
        """Return the first step at which two courses differ, their last where only weights do, or None."""
        for step, (one, two) in enumerate(zip(self.losses, other.losses, strict=True)):
            if one != two:
                return step
        same = self.weights.keys() == other.weights.keys()
        same = same and all(torch.equal(self.weights[name], other.weights[name]) for name in self.weights)
        return None if same else len(self.losses) - 1


@dataclass(frozen=True)
class _Bench:
    plugin: Plugin
    method: type[Method]
    scratch: Path

    @cached_property
    def cohort(self) -> Cohort:
        return bench.cohort(self.scratch)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        return declared.hyper_parameters(self.method, self.plugin)

    def train(self, method: type[Method], values: Mapping[str, Any], epochs: int) -> _Course:
        """Train from the same weights; the schedule is that of the long training."""
        losses: list[float] = []
        seed_everything("backbone", bench.SEED)
        backbone = Network(bench.PROTOCOL.n_classes)
        task = replace(bench.task(method, backbone, self.cohort), steps=LONG * STEPS)
        seed_everything("method", self.plugin.name, bench.SEED)
        built = _recorded(method, losses)(task, **values)
        asked = asks.of(declared.of(method, self.plugin), values, self.plugin.name)
        # In a folder of its own: a checkpoint, written where the machine is slow, is not for the next.
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            job = self._job(built, backbone, epochs, Path(folder) / names.CHECKPOINT, asked)
            fit(job)
        # Of a sharper step's two losses the first is that of the weights as they are.
        return _Course(tuple(losses[:: 1 if asked.radius is None else 2]), trained_state(job.backbone))

    def _teacher(self) -> Backbone:
        """Return another network than the one that is trained: what it has learnt is not looked at."""
        seed_everything("backbone", bench.SEED + 1)
        return Network(bench.PROTOCOL.n_classes).eval()

    def _job(self, method: Method, backbone: Backbone, epochs: int, checkpoint: Path, asked: Asks) -> Job:
        recipe = bench.PROTOCOL.recipe.model_copy(update={"epochs": epochs, "planned_epochs": LONG})
        rows, found = self.cohort.rows("train"), self.cohort
        codes = found.codes(bench.ATTRIBUTE)[rows]
        schedule, device = Schedule.of(recipe, finetunes=False), torch.device("cpu")
        told = Assignment(
            self.plugin.name, {}, method.task, recipe, schedule.learning_rate, bench.SEED, device
        )
        side = Here(method, told)
        return Job(
            side=side,
            sampler=method.sampler,
            backbone=side.adapt(backbone),
            feed=Feed(found.images, found.masks, [], rows, device),
            recipe=recipe,
            schedule=schedule,
            groups=codes if method.reads_attribute else np.full(len(rows), -1),
            codes={bench.ATTRIBUTE: (found.groups[bench.ATTRIBUTE], codes)},
            seed=bench.SEED,
            asks=asked,
            teacher=self._teacher() if asked.taught else None,
            name=self.plugin.name,
            checkpoint=Checkpoint(checkpoint),
            progress=lambda *_: None,
        )


def check(subject: Subject) -> Iterator[Line]:
    """Yield the lines, all from one child process."""
    if subject.stopped:
        yield from (Line(name, "skipped", subject.stopped) for name in NAMES)
        return
    result = call(subject, "effects:examine", limit=LIMIT)
    yield from result.lines
    missing = [name for name in NAMES if name not in {line.name for line in result.lines}]
    if missing and result.problem:
        yield Line(missing.pop(0), "failed", f"{result.problem.rstrip('.')}.")
    yield from (Line(name, "skipped", "mend the failure above first") for name in missing)


def examine(plugin: Plugin, scratch: Path) -> Iterator[Line]:
    """Be the child of `check`; ends after the first line if the longer training does not."""
    prepare_torch(1)
    place = _Bench(plugin, discovery.load(plugin), scratch)
    try:
        own = place.train(place.method, place.defaults, LONG)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        yield Line("trains on", "failed", discovery.describe_error(error, plugin.file))
        return
    yield Line("trains on", "ok", f"{LONG * STEPS} steps")
    yield verdict("hyper-parameters matter", *_idle(place, own))
    yield Line("differs from ERM", "ok", _beside_erm(place, own))


def moves(value: Any, span: Range | None = None) -> list[Any]:
    """Return other values for a hyper-parameter, those first that a method most likely answers to."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        found: list[Any] = [] if span is None else [span.low, span.high]
        found += [2 * value, value / 2, 0, 1, value + 1, 2, 10 * value, -value]
        kind = type(value)
        found = [kind(one) for one in found]
    elif isinstance(value, str):
        found = ["", f"{value}x"]
    elif isinstance(value, list):
        found = [value[::-1], value[:1], []]
    else:
        found = [1, 0.5, True, "x"]
    return [one for i, one in enumerate(found) if one != value and one not in found[:i]]


def _idle(place: _Bench, own: _Course) -> tuple[str, str]:
    """Return what is wrong with the hyper-parameters and, where nothing is, what was seen."""
    if not place.defaults:
        return "", "it has none"
    began, short = time.monotonic(), place.train(place.method, place.defaults, SHORT)
    untried = []
    for name in place.defaults:
        if time.monotonic() - began > MOVING_SECONDS:
            untried.append(name)
        elif not _matters(place, name, short, own):
            tried = ", ".join(repr(one) for one in _moves_of(place, name))
            return (
                f"'{name}' changes nothing: the same losses and weights with {place.defaults[name]!r} and "
                f"with {tried}. Use it, or leave it out of __init__.",
                "",
            )
    return "", f"not tried for want of time: {', '.join(untried)}" if untried else ", ".join(place.defaults)


def _moves_of(place: _Bench, name: str) -> list[Any]:
    return moves(place.defaults[name], place.method.search.get(name))


def _matters(place: _Bench, name: str, short: _Course, own: _Course) -> bool:
    """Tell whether a hyper-parameter changes a loss or a weight, soon or in the longer training."""
    others = _moves_of(place, name)
    return any(_differs(place, name, value, short, SHORT) for value in others) or any(
        _differs(place, name, value, own, LONG) for value in others[:2]
    )


def _differs(place: _Bench, name: str, value: Any, before: _Course, epochs: int) -> bool:
    try:
        after = place.train(place.method, place.defaults | {name: value}, epochs)
    except Exception:  # noqa: BLE001 - a value that it refuses is one that it reads
        return True
    return after.parts_from(before) is not None


def _beside_erm(place: _Bench, own: _Course) -> str:
    method = place.method
    plain = type("ERM", (ERM,), {"reads_attribute": method.reads_attribute, "sampler": method.sampler})
    step = own.parts_from(place.train(plain, {}, LONG))
    if step is not None:
        return f"from step {step} on"
    under = "" if place.method.sampler == "uniform" else f" under the {place.method.sampler} sampler"
    return (
        f"no, it is equal to ERM{under}: the same losses and weights over {LONG * STEPS} steps. If that is "
        "not what it is meant to be, look for a branch that is never reached."
    )


def _recorded(method: type[Method], losses: list[float]) -> type[Method]:
    """Return the method, noting the loss of each step."""

    def loss(self: Method, batch: Batch, output: Output) -> Tensor:
        value = method.loss(self, batch, output)
        losses.append(float(value.detach()))
        return value

    return type(method.__name__, (method,), {"loss": loss, "__module__": method.__module__})
