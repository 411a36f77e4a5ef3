"""The tiny world that plugins are checked in: its protocol, its batches, its trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from harness import cohorts
from harness.backbones.backbone import Backbone
from harness.cohorts.cohort import Cohort
from harness.plugin.losses import sample_losses
from harness.plugin.method import Batch, Method, Output, Task
from harness.protocol import (
    AttributeSpec,
    BackboneSpec,
    CohortSpec,
    FinetuneSpec,
    Protocol,
    Recipe,
    SplitSpec,
)
from harness.running.prepare import Prepared, prepare
from harness.running.trial import Paths
from harness.training.train import build_backbone

SEED = 0
EPOCHS = 3
ATTRIBUTE = "race"

PROTOCOL = Protocol(
    name="check",
    title="Sixty-four drawn images of 64 pixels, a U-Net from scratch",
    cohort=CohortSpec.model_validate(
        {"source": "synthetic", "size": 64, "samples": 64, "shift": 1.0, "seed": 0}
    ),
    split=SplitSpec(test=0.25),
    structures={"cup": (2,), "rim": (1,), "disc": (1, 2)},
    ranked_by="disc",
    attributes={ATTRIBUTE: AttributeSpec()},
    backbone=BackboneSpec(name="unet", adapt="full"),
    recipe=Recipe(
        epochs=EPOCHS,
        batch_size=8,
        learning_rate=4e-3,
        augmentation="flip",
        finetune=FinetuneSpec(epochs=EPOCHS, learning_rate=5e-4),
    ),
    seeds=(SEED,),
)
"""Long enough to learn, and to be killed and resumed between two epochs."""


def cohort(scratch: Path) -> Cohort:
    """Return the protocol's cohort, drawn once a check."""
    return cohorts.load(PROTOCOL, None, scratch / "cache")


def prepare_trials(scratch: Path, runs: str, *methods: str) -> Prepared:
    """Return the plan of some methods (names or paths), with records under `scratch/runs`."""
    paths = Paths(scratch / runs, None, scratch / "cache")
    return prepare(PROTOCOL, methods, paths, "the protocol of harness check")


def task(method: type[Method], backbone: Backbone, found: Cohort) -> Task:
    """Return the task as a trial under the protocol would give it."""
    rows = found.rows("train")
    groups = found.groups[ATTRIBUTE] if method.reads_attribute else ()
    codes = found.codes(ATTRIBUTE)[rows]
    return Task(
        n_classes=PROTOCOL.n_classes,
        n_features=backbone.n_features,
        attribute=ATTRIBUTE if method.reads_attribute else None,
        groups=groups,
        group_counts=tuple(int((codes == code).sum()) for code in range(len(groups))),
        steps=EPOCHS * (len(rows) // PROTOCOL.recipe.batch_size),
        dice_weight=PROTOCOL.recipe.dice_weight,
        n_samples=len(rows),
    )


def untrained(scratch: Path) -> Backbone:
    """Return the backbone with the weights that every method begins with."""
    return build_backbone(PROTOCOL.backbone, PROTOCOL.n_classes, PROTOCOL.cohort.size, SEED, None)


def batch(
    backbone: Backbone, found: Cohort, groups: list[int], empty: bool = False, taught: bool = False
) -> tuple[Batch, Output]:
    """Return training samples with the groups given, and what the backbone makes of them.

    groups: one code a sample, -1 unknown; empty: whether the masks are all background; taught: whether a
    teacher's logits are there.
    """
    picks = np.arange(len(groups))
    rows = found.rows("train")[picks]
    images = torch.from_numpy(found.images[rows]).movedim(-1, 1).float() / 255
    masks = torch.from_numpy(found.masks[rows]).long() * (0 if empty else 1)
    backbone.train()
    logits, features = backbone(images)
    losses = sample_losses(logits, masks, PROTOCOL.recipe.dice_weight)
    # As unlike the method's own as a trained model's are.
    teacher = logits.detach().flip(0) if taught else None
    return (
        Batch(images, masks, torch.tensor(groups), torch.from_numpy(picks)),
        Output(logits, features, losses, teacher),
    )
