"""One step of a training: forward, the method's gradients at logits and features, and on from there."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from harness.seeds import generator
from harness.training import gradient, optimiser, room, streams
from harness.training.augment import Augmentation, draw
from harness.training.job import Job
from harness.training.mixing import Mix
from harness.training.passes import Pass
from harness.training.sharpness import climbed
from harness.training.side import Answer


@dataclass(frozen=True)
class Taken:
    """What is kept of a step, on the device.

    loss: of the method, a scalar; finite: whether it and its gradients are; times: the gradients' length
    over that of the plain loss's; per_sample: the plain loss of each sample, [B].
    """

    loss: Tensor
    finite: Tensor
    times: Tensor
    per_sample: Tensor


@dataclass(frozen=True)
class _Way:
    """One step's batch on its way through the network, the same however often it goes."""

    picks: np.ndarray
    drawn: Augmentation
    mix: Mix | None
    teacher: Tensor | None
    factor: float


def take(job: Job, optimizer: torch.optim.Optimizer, picks: np.ndarray, step: int, factor: float) -> Taken:
    """Take one step; a sharper one climbs the gradient of a probe first, and draws the same numbers twice."""
    drawn = draw(job.recipe.augmentation, len(picks), generator("augment", job.seed, step))
    mix = _mix(job, picks)
    with room.watched(job.cards):
        teacher = None if job.teacher is None else job.through(job.teacher).look(picks, drawn, mix)
    way = _Way(picks, drawn, mix, teacher, factor)
    optimiser.scale_rates(optimizer, factor)
    if job.asks.radius is None:
        taken = _pass(job, optimizer, way)
    else:
        state = streams.current(job.feed.device)
        first = _pass(job, optimizer, way, probe=True)
        with ExitStack() as top:
            with room.watched(job.cards):
                top.enter_context(climbed(job.backbone, job.asks.radius))
            streams.restore(state, job.feed.device)
            second = _pass(job, optimizer, way)
        # Told of the weights that there are; and either pass may be the one that is not finite.
        taken = replace(first, finite=first.finite & second.finite & second.loss.isfinite())
    with room.watched(job.cards):
        optimizer.step()
    return taken


def _pass(job: Job, optimizer: torch.optim.Optimizer, way: _Way, probe: bool = False) -> Taken:
    """Go forward, ask the method for the gradients at logits and features, and go on from there."""
    with room.watched(job.cards):
        made = job.through(job.backbone).forward(way.picks, way.drawn, job.groups[way.picks], way.mix)
    with room.watched(job.cards, in_loss=True):
        answer = job.side.answer(made.batch, made.logits, made.features, way.factor, way.teacher, probe)
    with room.watched(job.cards):
        return _carry_on(job, optimizer, made, answer)


def _carry_on(job: Job, optimizer: torch.optim.Optimizer, made: Pass, answer: Answer) -> Taken:
    """Take a method's gradients at logits and features on through the network."""
    plain = gradient.plain(made.logits, made.batch, job.recipe.dice_weight)
    times = gradient.ratio(answer, plain.gradient)
    if job.recipe.optimizer == "sgd":
        # AdamW divides a gradient by its own size; under SGD a method would set its own rate.
        answer = gradient.shortened(answer, times, gradient.MOST_UNDER_SGD)
    optimizer.zero_grad(set_to_none=True)
    made.back(answer.logits, answer.features)
    return Taken(answer.loss, _finite(answer), times, plain.losses)


def _finite(answer: Answer) -> Tensor:
    sums = [one.sum() for one in (answer.logits, answer.features) if one is not None]
    return torch.stack([one.isfinite() for one in (answer.loss, *sums)]).all()


def _mix(job: Job, picks: np.ndarray) -> Mix | None:
    """Ask a method that mixes what to mix."""
    if not job.asks.mixes:
        return None
    return job.side.mix(torch.from_numpy(job.groups[picks]), torch.from_numpy(picks))
