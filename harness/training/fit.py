"""Train a backbone with a method: the harness's loop, the same for every method."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness.backbones.backbone import Backbone
from harness.errors import TrialError
from harness.plugin.losses import sample_losses
from harness.plugin.method import Batch, Method, Output
from harness.seeds import generator, seed_everything
from harness.training.augment import Augmentation, draw
from harness.training.checkpoint import Checkpoint
from harness.training.feed import Feed
from harness.training.sampling import order

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
        )

    def steps_per_epoch(self, samples: int) -> int:
        """Return the number of full batches, at least one."""
        return max(1, samples // self.batch_size)


@dataclass
class Job:
    """Everything that one training needs.

    groups: int64 [n], the codes of the method's attribute, -1 throughout where it reads none;
    codes: groups and codes of every attribute, for the curve; checkpoint: what to resume from;
    validate: gives the validation score of the weights as they are, where there is a validation split.
    """

    method: Method
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


@dataclass
class _State:
    epoch: int = 0
    seconds: float = 0.0
    curve: list[CurveRow] = field(default_factory=list)
    best_score: float = -1.0
    best: dict[str, Tensor] = field(default_factory=dict)


def fit(job: Job) -> tuple[list[CurveRow], float]:
    """Train in place; return the learning curve and the seconds it took, interruptions left out.

    Resumes from the checkpoint if there is one that can be read, and ends with the same bits as without
    the interruption: every epoch draws its order, its augmentation and its global random state from
    the trial's seed and the epoch's number. Raises TrialError for a loss that is not a finite
    scalar with a gradient.
    """
    optimizer = _optimizer(job)
    state = _restore(job, optimizer)
    while state.epoch < job.schedule.epochs:
        started = time.monotonic()
        state.curve += _epoch(job, optimizer, state.epoch)
        job.method.on_epoch_end(state.epoch)
        _validate(job, state)
        state.epoch += 1
        state.seconds += time.monotonic() - started
        _keep(job, optimizer, state)
    if state.best:
        load_trained(job.backbone, state.best)
    return state.curve, state.seconds


def trained_state(backbone: Backbone) -> dict[str, Tensor]:
    """Return what training changed: weights that require a gradient, and every buffer."""
    wanted = {name for name, p in backbone.named_parameters() if p.requires_grad}
    wanted |= {name for name, _ in backbone.named_buffers()}
    return {k: v.detach().clone() for k, v in backbone.state_dict().items() if k in wanted}


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
    with torch.autocast(feed.device.type, torch.bfloat16, enabled=bfloat16):
        maps = feed.maps(picks, np.zeros(len(picks), np.int64)) or backbone.encode(feed.images(picks))
        logits: Tensor = backbone.decode(maps)[0]
    return logits.float()


def _epoch(job: Job, optimizer: torch.optim.Optimizer, epoch: int) -> list[CurveRow]:
    seed_everything("epoch", job.name, job.seed, epoch)
    job.backbone.train()
    job.method.train()
    per_epoch = job.schedule.steps_per_epoch(len(job.feed))
    seen: list[np.ndarray] = []
    losses: list[Tensor] = []
    per_sample: list[Tensor] = []
    for i, picks in enumerate(_batches(job, epoch, per_epoch)):
        step = epoch * per_epoch + i
        _set_rates(optimizer, job, step, per_epoch)
        batch, output = _run_backbone(job, picks, generator("augment", job.seed, step))
        loss = _checked(job, job.method.loss(batch, output))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        seen.append(picks)
        losses.append(loss.detach())
        per_sample.append(output.losses.detach())
        job.progress("training", step + 1, job.schedule.epochs * per_epoch)
    _check_finite(job, torch.stack(losses).cpu(), epoch, per_epoch)
    return _curve_rows(job, epoch, np.concatenate(seen), torch.cat(per_sample).cpu().numpy())


def _batches(job: Job, epoch: int, per_epoch: int) -> Iterator[np.ndarray]:
    size = min(job.schedule.batch_size, len(job.feed))
    picks = order(job.method.sampler, job.groups, per_epoch * size, generator("order", job.seed, epoch))
    yield from picks.reshape(per_epoch, size)


def _run_backbone(job: Job, picks: np.ndarray, rng: np.random.Generator) -> tuple[Batch, Output]:
    drawn: Augmentation = draw(job.recipe.augmentation, len(picks), rng)
    images = drawn.images(job.feed.images(picks))
    masks = job.feed.masks(picks)
    with torch.autocast(job.feed.device.type, torch.bfloat16, enabled=job.recipe.precision == "bfloat16"):
        maps = job.feed.maps(picks, drawn.variants) or job.backbone.encode(images)
        logits, features = job.backbone.decode(maps)
    logits, features = logits.float(), features.float()
    targets = drawn.masks(masks, (logits.shape[-2], logits.shape[-1]))
    batch = Batch(
        images=images,
        masks=targets,
        groups=torch.from_numpy(job.groups[picks]).to(images.device),
        samples=torch.from_numpy(picks).to(images.device),
    )
    return batch, Output(logits, features, sample_losses(logits, targets, job.recipe.dice_weight))


def _checked(job: Job, loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.shape != ():
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise TrialError(
            f"{job.name}: {type(job.method).__name__}.loss returned {got}; a method returns one scalar "
            "tensor. Did you forget .mean()?"
        )
    if not loss.requires_grad:
        raise TrialError(
            f"{job.name}: {type(job.method).__name__}.loss returned a tensor without a gradient; "
            "compute it from output.logits, without .detach() or .item()."
        )
    return loss


def _check_finite(job: Job, losses: Tensor, epoch: int, per_epoch: int) -> None:
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        step = int(bad[0]) + epoch * per_epoch
        raise TrialError(
            f"{job.name}: {type(job.method).__name__}.loss became {losses[bad[0]].item()} at step {step} "
            f"(epoch {epoch}); look for a division by zero or a logarithm of zero there, or lower the rate."
        )


def _optimizer(job: Job) -> torch.optim.Optimizer:
    own = [group for group in job.method.parameter_groups() if len(group["params"])]
    weights = [p for p in job.backbone.parameters() if p.requires_grad]
    groups = [{"params": weights}, *own]
    rate, decay = job.schedule.learning_rate, job.recipe.weight_decay
    optimizer: torch.optim.Optimizer
    if job.recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=job.recipe.momentum, weight_decay=decay)
    else:
        optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=decay)
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def _set_rates(optimizer: torch.optim.Optimizer, job: Job, step: int, per_epoch: int) -> None:
    """Scale every group's rate: linear warm-up, then `(1 - t / T)^power` as in TransUNet and SAMed."""
    warmup = job.schedule.warmup_steps
    factor = 1.0
    if step < warmup:
        factor = (step + 1) / warmup
    elif job.recipe.schedule == "polynomial":
        factor = (1 - (step - warmup) / (job.schedule.planned_epochs * per_epoch)) ** job.recipe.power
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def _validate(job: Job, state: _State) -> None:
    if job.validate is None:
        return
    score = job.validate(job.backbone)
    state.curve.append((state.epoch, "validation_dice", "", "", score))
    if job.recipe.selection == "best-validation" and score > state.best_score:
        state.best_score, state.best = score, trained_state(job.backbone)


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
    job.checkpoint.keep(lambda: _content(job, optimizer, state), CHECKPOINT_SECONDS)


def _content(job: Job, optimizer: torch.optim.Optimizer, state: _State) -> dict[str, Any]:
    return {
        "state": vars(state),
        "backbone": trained_state(job.backbone),
        "method": job.method.state_dict(),
        "optimizer": optimizer.state_dict(),
    }


def _restore(job: Job, optimizer: torch.optim.Optimizer) -> _State:
    content = job.checkpoint.load(job.feed.device)
    if content is None:
        return _State()
    beginning = copy.deepcopy(_content(job, optimizer, _State()))
    try:
        return _take_up(job, optimizer, content)
    except Exception as error:  # noqa: BLE001 - torch raises a dozen types over what does not fit
        job.checkpoint.refuse(error)
        return _take_up(job, optimizer, beginning)


def _take_up(job: Job, optimizer: torch.optim.Optimizer, content: dict[str, Any]) -> _State:
    """Put everything back as it was saved. Raises whatever comes of what was not."""
    load_trained(job.backbone, content["backbone"])
    job.method.load_state_dict(content["method"])
    optimizer.load_state_dict(content["optimizer"])
    for parameter, moments in optimizer.state.items():
        if any(one.ndim and one.shape != parameter.shape for one in moments.values() if torch.is_tensor(one)):
            raise ValueError("its optimiser is of other weights")
    state = _State(**content["state"])
    if (type(state.epoch), type(state.curve), type(state.best)) != (int, list, dict):
        raise ValueError("its state is not a training's")
    return state
