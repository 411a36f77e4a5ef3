"""Checks of the loss on the batches that a training may meet, and of what it leaves behind."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.backbones.backbone import Backbone
from harness.check import bench, layers, state
from harness.check.child import call
from harness.check.subject import Line, Subject, verdict
from harness.cohorts.cohort import Cohort
from harness.errors import TrialError
from harness.plugin import declared, discovery
from harness.plugin.discovery import Plugin
from harness.plugin.method import Batch, Method, Output
from harness.training import mixing, sampling
from harness.training.device import prepare_torch

LIMIT = 60.0
"""Seconds for nine losses and their gradients."""

_MIXES = 4

_CASES: dict[str, tuple[list[int], bool]] = {
    "loss": ([0, 1, 2, 0, 1, 2, -1, 2], False),
    "a missing group": ([0, 2, 2, 0, 2, 2, 0, 2], False),
    "one group only": ([1] * 8, False),
    "all groups unknown": ([-1] * 8, False),
    "one sample": ([1], False),
    "empty masks": ([0, 1, 2, 0, 1, 2, -1, 2], True),
}
NAMES = (
    *_CASES,
    "sampling weights",
    "mix",
    "own layers",
    "batch left as it was",
    "random state",
    "global state",
)


@dataclass(frozen=True)
class _Bench:
    method: Method
    backbone: Backbone
    cohort: Cohort

    def batch(self, name: str) -> tuple[Batch, Output]:
        groups, empty = _CASES[name]
        known = groups if self.method.reads_attribute else [-1] * len(groups)
        taught = self.method.starts_from is not None and self.method.takes != "weights"
        return bench.batch(self.backbone, self.cohort, known, empty, taught)


def check(subject: Subject) -> Iterator[Line]:
    """Yield the lines of the loss, all from one child process."""
    if subject.stopped:
        yield from (Line(name, "skipped", subject.stopped) for name in NAMES)
        return
    result = call(subject, "losses:examine", limit=LIMIT)
    yield from result.lines
    missing = [name for name in NAMES if name not in {line.name for line in result.lines}]
    subject.stopped = "there is no loss to train with" if missing else ""
    if missing and result.problem:
        yield Line(missing.pop(0), "failed", f"{result.problem}.")
    yield from (Line(name, "skipped", "mend the failure above first") for name in missing)


def examine(plugin: Plugin, scratch: Path) -> Iterator[Line]:
    """Be the child of `check`; ends after the first line if the loss fails on an ordinary batch."""
    prepare_torch(1)
    before = state.snapshot()
    found, backbone = bench.cohort(scratch), bench.untrained(scratch)
    kind = discovery.load(plugin)
    place = _Bench(kind(bench.task(kind, backbone, found)), backbone, found)
    for name in _CASES:
        if name in ("a missing group", "one group only") and not kind.reads_attribute:
            yield Line(name, "skipped", "the method does not read the attribute")
            continue
        line = verdict(name, _guarded(plugin, place, name))
        yield line
        if name == "loss" and line.status == "failed":
            return
    yield _hook(plugin, place, "sampling weights", "sampling_weights", _weighed)
    yield _hook(plugin, place, "mix", "mix", _mixed)
    yield _hook(plugin, place, "own layers", "adapt", _adapted)
    yield verdict("batch left as it was", _altered(place))
    yield verdict("random state", state.reseeded(lambda: place.method.loss(*place.batch("loss"))))
    place.method.parameter_groups()
    place.method.on_epoch_end(0)
    yield verdict("global state", state.difference(before, state.snapshot()))


def _hook(plugin: Plugin, place: _Bench, name: str, hook: str, act: Callable[[_Bench], str]) -> Line:
    """Return the line of a hook that a method may have."""
    if not declared.has_hook(type(place.method), hook):
        return Line(name, "ok", f"it has no `{hook}`")
    try:
        return verdict(name, "", act(place))
    except TrialError as error:
        return Line(name, "failed", str(error))
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        return Line(name, "failed", f"{discovery.describe_error(error, plugin.file)}.")


def _weighed(place: _Bench) -> str:
    """Ask for weights after a few epochs in which not all samples were drawn; say how often it gave some."""
    samples, given = place.method.task.n_samples, 0
    for epoch in range(bench.EPOCHS):
        losses = torch.linspace(0.1, 0.9, samples)
        losses[:: epoch + 2] = torch.nan
        found = place.method.sampling_weights(epoch, losses)
        given += sampling.checked(found, samples, "it") is not None
    return f"after {given} of {bench.EPOCHS} epochs"


def _mixed(place: _Bench) -> str:
    """Ask for the mix of every case's groups a few times, and for the loss of what was mixed."""
    mixes = 0
    for name in _CASES:
        batch, output = place.batch(name)
        for _ in range(_MIXES):
            found = mixing.checked(place.method.mix(batch.groups, batch.samples), len(batch.groups), "it")
            if found is None:
                continue
            mixes += 1
            others = batch.masks[torch.from_numpy(found.partners)]
            mixed = replace(batch, other_masks=others, shares=torch.from_numpy(found.shares))
            if not bool(place.method.loss(mixed, output).isfinite()):
                raise TrialError(f"the loss of a mixed batch ({name}) is not finite.")
    return f"{mixes} of {_MIXES * len(_CASES)} batches"


def _adapted(place: _Bench) -> str:
    """Send four images through a network with the method's layers; say how many weights these have."""
    rows = place.cohort.rows("train")[:4]
    images = torch.from_numpy(place.cohort.images[rows]).movedim(-1, 1).float() / 255
    return layers.examine(place.method, copy.deepcopy(place.backbone), images)


def _guarded(plugin: Plugin, place: _Bench, name: str) -> str:
    """Return what is wrong with the loss of one case; an exception is one such thing."""
    try:
        return _problem(place, name)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        return f"{discovery.describe_error(error, plugin.file)}. Handle this batch in the loss."


def _problem(place: _Bench, name: str) -> str:
    place.backbone.zero_grad()
    loss: Any = place.method.loss(*place.batch(name))
    if not isinstance(loss, Tensor) or loss.shape != ():
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        return f"the loss has {got}. Return one scalar tensor; did you forget .mean()?"
    if not loss.dtype.is_floating_point:
        return f"the loss is {loss.dtype}. Return a floating-point tensor."
    if not loss.isfinite():
        return f"the loss is {loss.item()}. Look for a mean over nothing or a division by zero."
    if not loss.requires_grad:
        return "the loss has no gradient. Compute it from `output`, without .detach() or .item()."
    loss.backward()
    return _gradient_problem(place.backbone, ordinary=name == "loss")


def _gradient_problem(backbone: Backbone, ordinary: bool) -> str:
    grads = [p.grad for p in backbone.parameters() if p.grad is not None]
    if not all(bool(grad.isfinite().all()) for grad in grads):
        return "a gradient is not finite. Look for a square root, norm or log at zero."
    if ordinary and not any(bool(grad.any()) for grad in grads):
        return "no gradient reaches the backbone. Compute the loss from output.logits or output.features."
    return ""


def _altered(place: _Bench) -> str:
    batch, output = place.batch("loss")
    kept = {name: tensor.detach().clone() for name, tensor in _tensors(batch, output).items()}
    place.method.loss(batch, output)
    for name, tensor in _tensors(batch, output).items():
        if not torch.equal(tensor.detach(), kept[name]):
            return f"the loss wrote into {name}. Clone it first; the harness goes on using it."
    return ""


def _tensors(batch: Batch, output: Output) -> dict[str, Tensor]:
    named = {f"batch.{name}": value for name, value in vars(batch).items()}
    named |= {f"output.{name}": value for name, value in vars(output).items()}
    return {name: value for name, value in named.items() if value is not None}
