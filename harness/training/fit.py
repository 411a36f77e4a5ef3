"""Train a backbone with a method: the harness's loop, the same for every method."""

from __future__ import annotations

import copy
import io
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness.backbones.backbone import Backbone
from harness.errors import TrialError
from harness.plugin.asks import PLAIN, Asks
from harness.plugin.losses import mixed_losses
from harness.plugin.method import Sampler
from harness.seeds import generator, seed_everything
from harness.training import averaging, calibrate, gradient, optimiser, room, sampling, streams, underway
from harness.training.augment import Augmentation, draw
from harness.training.checkpoint import Checkpoint
from harness.training.feed import Feed
from harness.training.mixing import Mix
from harness.training.passes import Pass, Through, check_slices
from harness.training.sampling import order
from harness.training.sharpness import climbed
from harness.training.side import Answer, LossSide

if TYPE_CHECKING:
    from harness.protocol import Recipe

CurveRow = tuple[int, str, str, str, float]

Progress = Callable[[str, int, int], None]

# Writing a checkpoint costs about as much as a short epoch; losing this much work costs no more.
CHECKPOINT_SECONDS = 10.0


@dataclass(frozen=True)
class Schedule:
    """The part of a recipe that differs between a first training and a fine-tuning."""

    epochs: int
    planned_epochs: int
    learning_rate: float
    warmup_steps: int
    batch_size: int
    keeps_last: bool = False

    @classmethod
    def of(cls, recipe: Recipe, finetunes: bool) -> Schedule:
        """Return the schedule of a method that does, or does not, start from another's weights."""
        part = recipe.finetune if finetunes else recipe
        return cls(
            epochs=part.epochs,
            planned_epochs=part.planned_epochs or part.epochs,
            learning_rate=part.learning_rate,
            warmup_steps=part.warmup_steps,
            batch_size=part.batch_size or recipe.batch_size,
            keeps_last=recipe.last_batch == "keep",
        )

    def steps_per_epoch(self, samples: int) -> int:
        """Return the number of batches, at least one: the last, smaller one counts where it is kept."""
        full, rest = divmod(samples, self.batch_size)
        return max(1, full + (self.keeps_last and rest > 0))


@dataclass
class Job:
    """Everything that one training needs.

    side: the method, wherever it runs; sampler: draws the batches; groups: int64 [n], the codes of the
    method's attribute, -1 throughout where it reads none; most: samples whose graph is held at a time, 0
    for the whole batch, None for as many as the device turns out to hold;
    codes: groups and codes of every attribute, for the curve; checkpoint: what to resume from;
    validate: gives the validation score of the weights as they are, where there is a validation split;
    asks: what it does beside asking for losses; teacher: whose logits a method that is taught is given.
    """

    side: LossSide
    sampler: Sampler
    backbone: Backbone
    feed: Feed
    recipe: Recipe
    schedule: Schedule
    groups: np.ndarray
    codes: dict[str, tuple[tuple[str, ...], np.ndarray]]
    seed: int
    name: str
    checkpoint: Checkpoint
    progress: Progress
    validate: Callable[[Backbone], float] | None = None
    most: int | None = 0
    asks: Asks = PLAIN
    teacher: Backbone | None = None

    @property
    def batch(self) -> int:
        """Samples of a whole batch."""
        return min(self.schedule.batch_size, len(self.feed))

    def through(self, backbone: Backbone) -> Through:
        """Return how this training's batches go through a network."""
        return Through(
            backbone,
            self.feed,
            bfloat16=self.recipe.precision == "bfloat16",
            most=self.most or 0,
            corners=self.recipe.label_resize == "corner",
        )


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
    job.side.calibrate(calibrate.seen(job.through(job.backbone), job.groups, job.recipe.dice_weight))
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
    taken: list[_Taken] = []
    for i, picks in enumerate(_batches(job, state, per_epoch)):
        step = epoch * per_epoch + i
        taken.append(_step(job, optimizer, picks, step, _factor(job, step, per_epoch)))
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


@dataclass(frozen=True)
class _Taken:
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


def _step(job: Job, optimizer: torch.optim.Optimizer, picks: np.ndarray, step: int, factor: float) -> _Taken:
    """Take one step; a sharper one climbs the gradient of a probe first, and draws the same numbers twice."""
    drawn = draw(job.recipe.augmentation, len(picks), generator("augment", job.seed, step))
    mix = _mix(job, picks)
    with room.watched():
        teacher = None if job.teacher is None else job.through(job.teacher).look(picks, drawn, mix)
    way = _Way(picks, drawn, mix, teacher, factor)
    optimiser.scale_rates(optimizer, factor)
    if job.asks.radius is None:
        taken = _pass(job, optimizer, way)
    else:
        state = streams.current(job.feed.device)
        first = _pass(job, optimizer, way, probe=True)
        with ExitStack() as top:
            with room.watched():
                top.enter_context(climbed(job.backbone, job.asks.radius))
            streams.restore(state, job.feed.device)
            second = _pass(job, optimizer, way)
        # Told of the weights that there are; and either pass may be the one that is not finite.
        taken = replace(first, finite=first.finite & second.finite & second.loss.isfinite())
    with room.watched():
        optimizer.step()
    return taken


def _pass(job: Job, optimizer: torch.optim.Optimizer, way: _Way, probe: bool = False) -> _Taken:
    """Go forward, ask the method for the gradients at logits and features, and go on from there."""
    with room.watched():
        made = job.through(job.backbone).forward(way.picks, way.drawn, job.groups[way.picks], way.mix)
    with room.watched(in_loss=True):
        answer = job.side.answer(made.batch, made.logits, made.features, way.factor, way.teacher, probe)
    with room.watched():
        return _carry_on(job, optimizer, made, answer)


def _carry_on(job: Job, optimizer: torch.optim.Optimizer, made: Pass, answer: Answer) -> _Taken:
    """Take a method's gradients at logits and features on through the network."""
    share = job.recipe.dice_weight
    times = gradient.ratio(answer, made.logits, made.batch, share)
    if job.recipe.optimizer == "sgd":
        # AdamW divides a gradient by its own size; under SGD a method would set its own rate.
        answer = gradient.shortened(answer, times, gradient.MOST_UNDER_SGD)
    optimizer.zero_grad(set_to_none=True)
    made.back(answer.logits, answer.features)
    batch = made.batch
    plain = mixed_losses(made.logits, batch.masks, batch.other_masks, batch.shares, share)
    return _Taken(answer.loss, _finite(answer), times, plain)


def _finite(answer: Answer) -> Tensor:
    sums = [one.sum() for one in (answer.logits, answer.features) if one is not None]
    return torch.stack([one.isfinite() for one in (answer.loss, *sums)]).all()


def _mix(job: Job, picks: np.ndarray) -> Mix | None:
    """Ask a method that mixes what to mix."""
    if not job.asks.mixes:
        return None
    groups, samples = (torch.from_numpy(one).to(job.feed.device) for one in (job.groups[picks], picks))
    return job.side.mix(groups, samples)


def _average(job: Job, state: _State, step: int, per_epoch: int) -> None:
    """Take the weights after a step into the average, from the step on from which there is one."""
    share = job.asks.averages_from
    if share is not None and step >= math.floor(share * job.schedule.epochs * per_epoch):
        state.averaged += 1
        with room.watched():
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


def _check_finite(job: Job, taken: list[_Taken], epoch: int, per_epoch: int) -> None:
    """Raise TrialError for the first step whose loss or gradient is not finite, once an epoch."""
    losses, finite = torch.stack([one.loss for one in taken]).cpu(), [bool(one.finite) for one in taken]
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
    return {
        "state": vars(state),
        "backbone": trained_state(job.backbone),
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
