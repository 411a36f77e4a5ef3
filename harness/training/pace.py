"""How long a training would take on this machine, told from a few of its steps."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from harness.backbones.backbone import Backbone
from harness.training.checkpoint import Checkpoint
from harness.training.device import prepare_torch
from harness.training.feed import Feed
from harness.training.fit import fit
from harness.training.predict import predict
from harness.training.side import MakeSide
from harness.training.train import Inputs, Setting, build_backbone, job_of

_STEPS = 3
_PREDICTED = 16


def seconds(setting: Setting, make: MakeSide, inputs: Inputs, device: torch.device) -> float:
    """Return how long a training and its predictions would take here, from its first three steps.

    The first ones are the slowest, so that the whole is rather over- than underestimated.
    """
    prepare_torch(setting.recipe.threads)
    backbone = build_backbone(
        setting.backbone, setting.n_classes, setting.size, setting.seed, inputs.checkpoint
    ).to(device)
    with tempfile.TemporaryDirectory() as folder:
        kept = Checkpoint(Path(folder) / "pace.pt")
        job = job_of(setting, make, inputs, backbone, device, kept, _silent, None)
        size = min(job.schedule.batch_size, len(job.feed))
        few = min(_STEPS * size, len(job.feed) // size * size)
        steps = job.schedule.epochs * job.schedule.steps_per_epoch(len(job.feed))
        cohort, rows = inputs.cohort, job.feed.rows[:few]
        feed = Feed(cohort.images, cohort.masks, inputs.maps, rows, device)
        once = replace(job.schedule, epochs=1)
        took = fit(replace(job, feed=feed, groups=job.groups[:few], codes={}, schedule=once)).seconds
    return took / (few // size) * steps + _predicting(setting, inputs, backbone, device)


def _predicting(setting: Setting, inputs: Inputs, backbone: Backbone, device: torch.device) -> float:
    rows = inputs.cohort.rows("test")
    some = rows[: min(_PREDICTED, len(rows))]
    started = time.monotonic()
    feed = Feed(inputs.cohort.images, None, inputs.maps, some, device)
    predict(backbone, feed, setting.size, setting.bfloat16, _silent)
    return (time.monotonic() - started) / max(len(some), 1) * len(rows)


def _silent(stage: str, done: int, total: int) -> None: ...
