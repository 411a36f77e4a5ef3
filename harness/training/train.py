"""One training from its first weights to its predictions; nothing here knows of plans or records."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness import backbones
from harness.backbones.backbone import Backbone
from harness.plugin.asks import PLAIN, Asks
from harness.plugin.method import Sampler, Task
from harness.seeds import generator, seed_everything
from harness.store import formats
from harness.training import origins
from harness.training.checkpoint import Checkpoint
from harness.training.compiling import compile_parts, seconds
from harness.training.device import peak_memory, prepare_torch
from harness.training.feed import Feed
from harness.training.fit import fit, load_trained, trained_state
from harness.training.job import CurveRow, Job, Progress, Schedule
from harness.training.predict import predict
from harness.training.recorded import decoder_of
from harness.training.sampling import shuffled
from harness.training.side import Assignment, MakeSide
from harness.training.together import ALONE, Cards

if TYPE_CHECKING:
    from harness.cohorts.cohort import Cohort
    from harness.protocol import BackboneSpec, Recipe

Validate = Callable[[Backbone], float]


@dataclass(frozen=True)
class Setting:
    """All that a training is told beside its data: what the protocol fixes, and what the trial is.

    name: the method's; size: side of images and masks in pixels; attribute: None where the method reads
    none; at_test: whether predictions read it too; sampler: of the training batches; shuffled: group labels
    dealt anew to the training patients; most: samples of a batch whose graph is held at a time, 0 for all,
    None for as many as the device turns out to hold: a machine's affair, and not the trial's; asks: what the
    training does for the method beside asking it for losses.
    """

    backbone: BackboneSpec
    recipe: Recipe
    n_classes: int
    size: int
    name: str
    hyper_parameters: Mapping[str, Any]
    attribute: str | None
    seed: int
    finetunes: bool
    at_test: bool = False
    sampler: Sampler = "uniform"
    shuffled: bool = False
    most: int | None = 0
    asks: Asks = PLAIN

    @property
    def bfloat16(self) -> bool:
        """Whether the backbone runs under bfloat16 autocast."""
        return self.recipe.precision == "bfloat16"

    def codes_of(self, cohort: Cohort, split: str) -> np.ndarray | None:
        """Return the groups of a split that is predicted, int64 [n]; None where they may not be read."""
        if self.attribute is None or not self.at_test:
            return None
        codes: np.ndarray = cohort.codes(self.attribute)[cohort.rows(split)]
        return codes


@dataclass(frozen=True)
class Inputs:
    """All that a method's training and prediction read.

    maps: embeddings of a frozen encoder, else none; checkpoint: the backbone's pretrained weights; origin:
    trained weights that the method starts from, is taught by, or both.
    """

    cohort: Cohort
    maps: Sequence[np.ndarray]
    checkpoint: Path | None
    origin: Path | None


@dataclass(frozen=True)
class Trained:
    """What comes of it: class indices uint8 [n, S, S] of the test samples, the curve, weights and cost.

    state: trained weights, empty where a sandbox gave none out; seconds: of fitting and of predicting;
    memory: bytes at most; parameters: how many were trained; compile_seconds: the compiler's, of fitting;
    passes: of a batch through a network; most: samples of a batch whose graph was held at a time, 0 for all;
    cards: that shared the training.
    """

    labels: np.ndarray
    curve: list[CurveRow]
    state: dict[str, torch.Tensor] = field(default_factory=dict)
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    memory: int = 0
    parameters: int = 0
    compile_seconds: float = 0.0
    passes: int = 0
    most: int = 0
    cards: int = 1


def build_backbone(spec: BackboneSpec, n_classes: int, size: int, seed: int, file: Path | None) -> Backbone:
    """Return a backbone with the initial weights of a seed, the same for all methods.

    `file` holds its pretrained weights, where it has some.
    """
    seed_everything("backbone", seed)
    return backbones.build(spec, n_classes, size, file)


def load_origin(backbone: Backbone, file: Path) -> None:
    """Load the weights that a training starts from. Raises Damaged where they are not of its network."""
    with formats.reading(file, f"delete the record of trial {file.stem} and run it again"):
        load_trained(backbone, origins.load(file))


def train_and_predict(
    setting: Setting,
    make: MakeSide,
    inputs: Inputs,
    device: torch.device,
    checkpoint: Path,
    progress: Progress,
    validate: Validate | None = None,
    cards: Cards = ALONE,
) -> Trained:
    """Train with a method and predict the test samples; resumes from the file `checkpoint` if it is there.

    `make` makes the method's side, here or elsewhere, which is given training batches alone; `validate`
    gives the validation score of the weights as they are, where there is a validation split; `cards`: those
    that share the training, of which this is the first.
    """
    compiled = seconds()  # a process may have compiled for another training before
    backbone, why = _network(setting, inputs, device)
    if why:
        said = f"The network is not compiled, and its steps take about twice as long: {why}"
        print(said, flush=True)  # noqa: T201 - this process's output is the trial's log
    with Checkpoint(checkpoint) as kept:
        job = job_of(setting, make, inputs, backbone, device, kept, progress, validate, cards)
        fitted = fit(job)
        cards.leave()
        steps = job.schedule.epochs * job.schedule.steps_per_epoch(len(job.feed))
        started = time.monotonic()
        cohort, backbone = inputs.cohort, job.backbone
        codes = setting.codes_of(cohort, "test")
        test = Feed(cohort.images, None, inputs.maps, cohort.rows("test"), device, codes)
        labels = predict(backbone, test, setting.size, setting.bfloat16, progress)
    return Trained(
        labels=labels,
        curve=fitted.curve,
        state={key: value.contiguous().cpu() for key, value in trained_state(backbone).items()},
        fit_seconds=fitted.seconds,
        predict_seconds=time.monotonic() - started,
        memory=peak_memory(device),
        parameters=sum(p.numel() for p in backbone.parameters() if p.requires_grad),
        compile_seconds=seconds() - compiled,
        passes=setting.asks.passes * steps,
        most=fitted.most,
        cards=cards.count,
    )


def follow(
    setting: Setting,
    make: MakeSide,
    inputs: Inputs,
    device: torch.device,
    checkpoint: Checkpoint,
    cards: Cards,
) -> None:
    """Be one of the cards that share a training, but not the first, which keeps what comes of it."""
    backbone, _ = _network(setting, inputs, device)
    fit(job_of(setting, make, inputs, backbone, device, checkpoint, lambda *_: None, None, cards))
    cards.leave()


def _network(setting: Setting, inputs: Inputs, device: torch.device) -> tuple[Backbone, str]:
    """Return the network as a training begins with it, and why it is not compiled, "" where it is."""
    prepare_torch(setting.recipe.threads)
    backbone = build_backbone(
        setting.backbone, setting.n_classes, setting.size, setting.seed, inputs.checkpoint
    ).to(device)
    if inputs.origin is not None and setting.finetunes:
        load_origin(backbone, inputs.origin)
    return backbone, compile_parts(backbone, device)


def job_of(
    setting: Setting,
    make: MakeSide,
    inputs: Inputs,
    backbone: Backbone,
    device: torch.device,
    checkpoint: Checkpoint,
    progress: Progress,
    validate: Validate | None,
    cards: Cards = ALONE,
) -> Job:
    """Return what a setting comes to under its inputs: the training's feed, groups, schedule and method."""
    cohort, recipe = inputs.cohort, setting.recipe
    rows = cohort.rows("train")
    schedule = Schedule.of(recipe, setting.finetunes)
    codes = {name: (groups, cohort.codes(name)[rows]) for name, groups in cohort.groups.items()}
    groups, own = codes[setting.attribute] if setting.attribute else ((), np.full(len(rows), -1))
    if setting.shuffled:
        patients = cohort.subjects["patient"].to_numpy()[rows].astype(str)
        own = shuffled(own, patients, generator("shuffle", setting.attribute or "", setting.seed))
    task = Task(
        n_classes=setting.n_classes,
        n_features=backbone.n_features,
        attribute=setting.attribute,
        groups=groups,
        group_counts=tuple(int((own == code).sum()) for code in range(len(groups))),
        steps=schedule.epochs * schedule.steps_per_epoch(len(rows)),
        dice_weight=recipe.dice_weight,
        n_samples=len(rows),
    )
    told = Assignment(
        name=setting.name,
        hyper_parameters=setting.hyper_parameters,
        task=task,
        recipe=recipe,
        learning_rate=schedule.learning_rate,
        seed=setting.seed,
        device=device,
    )
    method = cards.sharing(make)(told)
    network = method.adapt(backbone)
    return Job(
        side=method,
        sampler=setting.sampler,
        backbone=network,
        feed=Feed(cohort.images, cohort.masks, inputs.maps, rows, device),
        recipe=recipe,
        schedule=schedule,
        groups=own,
        codes=codes,
        seed=setting.seed,
        name=setting.name,
        checkpoint=checkpoint,
        progress=progress,
        validate=validate,
        most=setting.most,
        asks=setting.asks,
        teacher=_teacher(setting, inputs, device),
        cards=cards,
        decode=decoder_of(network, device, method.own_layers),
    )


def _teacher(setting: Setting, inputs: Inputs, device: torch.device) -> Backbone | None:
    """Return the trained network whose logits a method that is taught is given, as it predicts."""
    if not setting.asks.taught or inputs.origin is None:
        return None
    teacher = build_backbone(
        setting.backbone, setting.n_classes, setting.size, setting.seed, inputs.checkpoint
    ).to(device)
    load_origin(teacher, inputs.origin)
    return teacher.eval()
