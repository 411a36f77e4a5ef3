"""Train a backbone with a method: the harness's loop, the same for every method."""

from __future__ import annotations

import copy
import io
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.backbones.backbone import Backbone
from harness.errors import TrialError
from harness.seeds import generator, seed_everything
from harness.training import averaging, calibrate, optimiser, room, sampling, underway
from harness.training.feed import Feed
from harness.training.job import CurveRow, Job
from harness.training.passes import check_slices
from harness.training.sampling import order
from harness.training.step import Taken, take
from harness.training.together import ALONE

# Writing a checkpoint costs about as much as a short epoch; losing this much work costs no more.
CHECKPOINT_SECONDS = 10.0


@dataclass
class _State:
    """How far a training is.

    most: of a batch, samples whose graph is held at a time, 0 for all; weights: float64 [n], by which samples
    are drawn, None until a method gives some; average: the mean of the weights after the last `averaged`
    steps.
    """

    epoch: int = 0
    most: int = 0
    seconds: float = 0.0
    curve: list[CurveRow] = field(default_factory=list)
    best_score: float = -1.0
    best: dict[str, Tensor] = field(default_factory=dict)
    weights: Tensor | None = None
    average: dict[str, Tensor] = field(default_factory=dict)
    averaged: int = 0


@dataclass(frozen=True)
class Fit:
    """What a training leaves beside its weights.

    seconds: it took, interruptions left out; most: samples of a batch whose graph was held at a time, 0 for
    all.
    """

    curve: list[CurveRow]
    seconds: float
    most: int


def fit(job: Job) -> Fit:
    """Train in place; return the learning curve and what it took.

    Resumes from the checkpoint if there is one that can be read, and ends with the same bits as without
    the interruption: every epoch draws its order, its augmentation and its global random state from
    the trial's seed and the epoch's number. Raises TrialError for a loss that is not a finite
    scalar with a gradient, HarnessError where memory does not hold a step.
    """
    optimizer = _optimizer(job)
    state = _restore(job, optimizer)
    start = _Start.of(job, optimizer, state)
    state.most = job.most = state.most if job.most is None else job.most
    while state.epoch < job.schedule.epochs:
        started = time.monotonic()
        done = _epoch_that_fits(job, optimizer, state, start)
        if done is None:
            continue
        rows, losses = done
        state.curve += rows
        job.side.end(state.epoch)
        _revise(job, state, losses)
        _validate(job, state)
        state.epoch += 1
        state.seconds += time.monotonic() - started
        _keep(job, optimizer, state)
    if state.best or state.average:
        load_trained(job.backbone, state.best or state.average)
    started = time.monotonic()
    # By the first card, whose side has the method, at its own pace.
    alone = replace(job.through(job.backbone), cards=ALONE)
    job.side.calibrate(calibrate.seen(alone, job.groups, job.recipe.dice_weight))
    return Fit(state.curve, state.seconds + time.monotonic() - started, state.most)


def trained_state(backbone: Backbone) -> dict[str, Tensor]:
    """Return what training changed: weights that require a gradient, and every buffer."""
    return {name: value.detach().clone() for name, value in _changing(backbone).items()}


def _changing(backbone: Backbone) -> dict[str, Tensor]:
    """Return what `trained_state` copies, as it is."""
    wanted = {name for name, p in backbone.named_parameters() if p.requires_grad}
    wanted |= {name for name, _ in backbone.named_buffers()}
    return {name: value for name, value in backbone.state_dict().items() if name in wanted}


def load_trained(backbone: Backbone, state: dict[str, Tensor]) -> None:
    """Put back what `trained_state` returned. Raises TrialError if it is of another network."""
    missing = trained_state(backbone).keys() ^ state.keys()
    if missing:
        raise TrialError(
            f"The starting weights are of another backbone: {sorted(missing)[0]} does not match."
        )
    backbone.load_state_dict(state, strict=False)


def forward(backbone: Backbone, feed: Feed, picks: np.ndarray, bfloat16: bool) -> Tensor:
    """Return the logits of some samples as they are, without augmentation: float32 [B, C, h, w]."""
    autocast = torch.autocast(feed.device.type, torch.bfloat16, enabled=bfloat16)
    with autocast, underway.samples_of(feed.codes(picks)):
        maps = feed.maps(picks, np.zeros(len(picks), np.int64)) or backbone.encode(feed.images(picks))
        logits: Tensor = backbone.decode(maps)[0]
    return logits.float()


@dataclass(frozen=True)
class _Start:
    """Where this process took the training up, to go back to when a step of its first epoch does not fit."""

    epoch: int
    content: bytes

    @classmethod
    def of(cls, job: Job, optimizer: torch.optim.Optimizer, state: _State) -> _Start | None:
        """Return it, packed so that it takes none of the GPU's memory; None where no slice is to be found."""
        if job.most is not None or not room.is_tried(job.feed.device):
            return None
        packed = io.BytesIO()
        torch.save(_content(job, optimizer, state), packed)
        return cls(state.epoch, packed.getvalue())


def _epoch_that_fits(
    job: Job, optimizer: torch.optim.Optimizer, state: _State, start: _Start | None
) -> tuple[list[CurveRow], np.ndarray] | None:
    """Return what `_epoch` does; None where memory held no step of it: all is as before, with less to hold.

    What was begun is done again from the start, so the bits are those of the slice that is found.
    """
    try:
        return _epoch(job, optimizer, state)
    except room.Full as error:
        full = room.Full(error.whose, error.in_loss)  # its traceback holds what is to be freed
    device = job.feed.device
    optimizer.zero_grad(set_to_none=True)
    job.decode = None  # a recording holds the memory of a whole batch
    room.free(device)
    if start is None or start.epoch != state.epoch:
        raise room.refuse(full, job)
    job.most = room.less(full, job)
    content = torch.load(io.BytesIO(start.content), map_location=device, weights_only=True)
    vars(state).update(vars(_take_up(job, optimizer, content)), most=job.most)
    return None


def _epoch(job: Job, optimizer: torch.optim.Optimizer, state: _State) -> tuple[list[CurveRow], np.ndarray]:
    """Train one epoch; return its rows of the curve and the plain loss of each sample, float32 [n]."""
    epoch = state.epoch
    seed_everything("epoch", job.name, job.seed, epoch)
    job.backbone.train()
    job.side.begin(epoch)
    check_slices(job.backbone, job.most or 0, job.side.own_layers)
    per_epoch = job.schedule.steps_per_epoch(len(job.feed))
    seen: list[np.ndarray] = []
    taken: list[Taken] = []
    for i, picks in enumerate(_batches(job, state, per_epoch)):
        step = epoch * per_epoch + i
        taken.append(take(job, optimizer, picks, step, _factor(job, step, per_epoch)))
        seen.append(picks)
        _average(job, state, step, per_epoch)
        job.progress("training", step + 1, job.schedule.epochs * per_epoch)
    _check_finite(job, taken, epoch, per_epoch)
    picks, losses = np.concatenate(seen), torch.cat([one.per_sample for one in taken]).cpu().numpy()
    times = torch.stack([one.times for one in taken]).cpu().numpy()
    rows = _curve_rows(job, epoch, picks, losses)
    spread = {"gradient_median": np.median(times), "gradient_largest": times.max()}
    rows += [(epoch, name, "", "", float(value)) for name, value in spread.items()]
    return rows, sampling.by_sample(picks, losses, len(job.feed))


def _average(job: Job, state: _State, step: int, per_epoch: int) -> None:
    """Take the weights after a step into the average, from the step on from which there is one."""
    share = job.asks.averages_from
    if share is not None and step >= math.floor(share * job.schedule.epochs * per_epoch):
        state.averaged += 1
        with room.watched(job.cards):
            averaging.include(state.average, state.averaged, _changing(job.backbone))


def _revise(job: Job, state: _State, losses: np.ndarray) -> None:
    """Ask a method that weighs samples how to draw them from now on."""
    if not job.asks.weighs:
        return
    found = job.side.weights(state.epoch, torch.from_numpy(losses).to(job.feed.device))
    if found is not None:
        state.weights = torch.from_numpy(found)


def _batches(job: Job, state: _State, per_epoch: int) -> Iterator[np.ndarray]:
    samples, size = len(job.feed), job.batch
    draws = samples if job.schedule.keeps_last else per_epoch * size
    rng = generator("order", job.seed, state.epoch)
    if state.weights is None:
        picks = order(job.sampler, job.groups, draws, rng)
    else:
        picks = sampling.weighted(state.weights.cpu().numpy(), draws, rng)
    yield from np.split(picks, range(size, draws, size))


def _check_finite(job: Job, taken: list[Taken], epoch: int, per_epoch: int) -> None:
    """Raise TrialError for the first step whose loss or gradient is not finite, once an epoch."""
    losses = torch.stack([one.loss for one in taken]).cpu()
    finite = torch.stack([one.finite for one in taken]).cpu()
    for i, loss in enumerate(losses):
        where = f"at step {i + epoch * per_epoch} (epoch {epoch}); "
        if not loss.isfinite():
            raise TrialError(
                f"{job.name}: {job.side.what} became {loss.item()} {where}"
                "look for a division by zero or a logarithm of zero there, or lower the rate."
            )
        if not finite[i]:
            raise TrialError(
                f"{job.name}: the gradient of {job.side.what} is not finite {where}"
                "look for a square root, a norm or a logarithm at zero."
            )


def _optimizer(job: Job) -> torch.optim.Optimizer:
    weights = [p for p in job.backbone.parameters() if p.requires_grad]
    return optimiser.build(job.recipe, [{"params": weights}], job.schedule.learning_rate)


def _factor(job: Job, step: int, per_epoch: int) -> float:
    """Return what a step's rates are times: linear warm-up, then `(1 - t / T)^power` as in TransUNet."""
    step = max(step - job.recipe.rate_lag, 0)
    warmup = job.schedule.warmup_steps
    factor = 1.0
    if step < warmup:
        factor = (step + 1) / warmup
    elif job.recipe.schedule == "polynomial":
        factor = (1 - (step - warmup) / (job.schedule.planned_epochs * per_epoch)) ** job.recipe.power
    return factor


def _validate(job: Job, state: _State) -> None:
    if job.validate is None:
        return
    with _averaged(job.backbone, state):
        score = job.validate(job.backbone)
        state.curve.append((state.epoch, "validation_dice", "", "", score))
        if job.recipe.selection == "best-validation" and score > state.best_score:
            state.best_score, state.best = score, trained_state(job.backbone)


@contextmanager
def _averaged(backbone: Backbone, state: _State) -> Iterator[None]:
    """Let the network have the weights inside with which it would end now: the average where there is one."""
    if not state.average:
        yield
        return
    own = trained_state(backbone)
    load_trained(backbone, state.average)
    yield
    load_trained(backbone, own)


def _curve_rows(job: Job, epoch: int, picks: np.ndarray, losses: np.ndarray) -> list[CurveRow]:
    rows: list[CurveRow] = [(epoch, "loss", "", "", float(losses.mean()))]
    for attribute, (groups, codes) in job.codes.items():
        for code, group in enumerate(groups):
            own = losses[codes[picks] == code]
            if len(own):
                rows.append((epoch, "loss", attribute, group, float(own.mean())))
    return rows


def _keep(job: Job, optimizer: torch.optim.Optimizer, state: _State) -> None:
    """Give a finished epoch to the checkpoint; the last one, too, which predicting may be stopped after."""
    job.checkpoint.tell(state.epoch, job.schedule.epochs, state.curve)
    job.checkpoint.keep(lambda: _content(job, optimizer, state), CHECKPOINT_SECONDS)


def _content(job: Job, optimizer: torch.optim.Optimizer, state: _State) -> dict[str, Any]:
    """Return what a checkpoint holds, as it is and not copied."""
    return {
        "state": vars(state),
        "backbone": _changing(job.backbone),
        "method": job.side.state(),
        "optimizer": optimizer.state_dict(),
    }


def _restore(job: Job, optimizer: torch.optim.Optimizer) -> _State:
    beginning = None
    for content in job.checkpoint.contents(job.feed.device):
        beginning = beginning or copy.deepcopy(_content(job, optimizer, _State()))
        try:
            state = _take_up(job, optimizer, content)
        except Exception as error:  # noqa: BLE001 - torch raises a dozen types over what does not fit
            job.checkpoint.refuse(error)
        else:
            job.checkpoint.resumed(state.epoch, job.schedule.epochs)
            return state
    return _State() if beginning is None else _take_up(job, optimizer, beginning)


def _take_up(job: Job, optimizer: torch.optim.Optimizer, content: dict[str, Any]) -> _State:
    """Put everything back as it was saved. Raises whatever comes of what was not."""
    load_trained(job.backbone, content["backbone"])
    job.side.resume(content["method"])
    optimiser.load(optimizer, content["optimizer"])
    state = _State(**content["state"])
    kinds = (type(state.epoch), type(state.curve), type(state.best), type(state.average))
    if kinds != (int, list, dict, dict):
        raise ValueError("its state is not a training's")
    return state
