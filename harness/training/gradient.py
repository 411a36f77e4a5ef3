"""How long a method's gradient is beside the plain loss's: a loss times 1,000 is a rate times 1,000."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.plugin.losses import mixed_losses, segmentation_loss
from harness.plugin.method import Batch
from harness.training.side import Answer

MOST_UNDER_SGD = 10.0
"""Times the plain gradient's length beyond which one is shortened to it, where steps grow with gradients."""

_NONE = 1e-12


def ratio(answer: Answer, logits: Tensor, batch: Batch, dice_weight: float) -> Tensor:
    """Return the length of a method's gradient over that of the plain loss's at the same logits: scalar.

    What the method gives for the features counts in its length. logits: float32 [B, C, h, w], without a
    graph. The plain loss of a mixed batch is the mean of its samples', each against both masks.
    """
    leaf = logits.detach().requires_grad_()
    if batch.shares is None:
        loss = segmentation_loss(leaf, batch.masks, dice_weight)
    else:
        loss = mixed_losses(leaf, batch.masks, batch.other_masks, batch.shares, dice_weight).mean()
    (plain,) = torch.autograd.grad(loss, leaf)
    own = [one.norm() for one in (answer.logits, answer.features) if one is not None]
    # Of one length alone no square is taken: ERM's ratio is 1 exactly.
    length = own[0] if len(own) == 1 else torch.stack(own).norm() if own else plain.new_zeros(())
    times: Tensor = length / plain.norm().clamp(min=_NONE)
    return times


def shortened(answer: Answer, times: Tensor, most: float) -> Answer:
    """Return an answer whose gradients, `times` the plain one's length, are at most `most` times it."""
    factor = (most / times.clamp(min=_NONE)).clamp(max=1)
    logits, features = (None if one is None else one * factor for one in (answer.logits, answer.features))
    return Answer(answer.loss, logits, features)
