"""The score by which a checkpoint is chosen, where the protocol has validation patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.backbones.backbone import Backbone
from harness.metrics.overlap import dice
from harness.protocol import IGNORED
from harness.training.feed import Feed
from harness.training.predict import predict

if TYPE_CHECKING:
    from harness.cohorts.cohort import Cohort
    from harness.training.train import Setting


def validator(
    setting: Setting,
    cohort: Cohort,
    maps: Sequence[np.ndarray],
    structures: Sequence[tuple[int, ...]],
    device: torch.device,
) -> Callable[[Backbone], float] | None:
    """Return the mean Dice over validation samples and structures, as a function of the weights.

    structures: the class indices that make up each. None where there are no validation samples.
    """
    rows = cohort.rows("validation")
    if len(rows) == 0:
        return None
    feed = Feed(cohort.images, None, maps, rows, device, setting.codes_of(cohort, "validation"))

    def validate(backbone: Backbone) -> float:
        labels = predict(backbone, feed, setting.size, setting.bfloat16, lambda *_: None)
        labels[cohort.masks[rows] == IGNORED] = 0
        found = [
            dice(np.isin(labels[i], classes), np.isin(cohort.masks[row], classes))
            for i, row in enumerate(rows)
            for classes in structures
        ]
        return float(np.mean(found))

    return validate
