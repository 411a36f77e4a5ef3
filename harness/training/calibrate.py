"""The training samples as a trained network sees them, for a method that sets something after training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from harness.plugin.losses import sample_losses
from harness.plugin.method import Batch, Output
from harness.training.augment import Augmentation
from harness.training.passes import Through

# Part of what a result depends on, as in `predict`.
_BATCH = 16


def seen(through: Through, groups: np.ndarray, dice_weight: float) -> Iterator[tuple[Batch, Output]]:
    """Yield a feed's samples in their order, not augmented, with what the network makes of them.

    groups: int64 [n], as the method may read them. Without a graph, and with the network as it predicts.
    """
    through.backbone.eval()
    samples = len(through.feed)
    for start in range(0, samples, _BATCH):
        picks = np.arange(start, min(start + _BATCH, samples))
        plain = Augmentation(np.zeros(len(picks), np.int64), np.zeros(len(picks)))
        # Not around the yield: whoever asks may want gradients in between.
        with torch.no_grad():
            made = through.forward(picks, plain, groups[picks])
            losses = sample_losses(made.logits, made.batch.masks, dice_weight)
        yield made.batch, Output(made.logits, made.features, losses)
