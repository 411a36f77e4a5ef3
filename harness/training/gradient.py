"""How long a method's gradient is beside the plain loss's: a loss times 1,000 is a rate times 1,000."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.plugin.losses import mixed_losses, segmentation_and_sample_losses
from harness.plugin.method import Batch
from harness.training.side import Answer

MOST_UNDER_SGD = 10.0
"""Times the plain gradient's length beyond which one is shortened to it, where steps grow with gradients."""

_NONE = 1e-12


@dataclass(frozen=True)
class Plain:
    """The plain loss at some logits. gradient: float32 [B, C, h, w]; losses: of each sample, float32 [B]."""

    gradient: Tensor
    losses: Tensor


def plain(logits: Tensor, batch: Batch, dice_weight: float) -> Plain:
    """Return the plain loss's gradient at logits, float32 [B, C, h, w], and the loss of each sample.

    That of a mixed batch is the mean of its samples', each against both masks.
    """
    leaf = logits.detach().requires_grad_()
    if batch.shares is None:
        loss, each = segmentation_and_sample_losses(leaf, batch.masks, dice_weight)
    else:
        each = mixed_losses(leaf, batch.masks, batch.other_masks, batch.shares, dice_weight)
        loss = each.mean()
    (gradient,) = torch.autograd.grad(loss, leaf)
    return Plain(gradient, each.detach())


def ratio(answer: Answer, gradient: Tensor) -> Tensor:
    """Return the length of a method's gradient over that of the plain loss at the same logits: scalar.

    What the method gives for the features counts in its length.
    """
    own = [one.norm() for one in (answer.logits, answer.features) if one is not None]
    # Of one length alone no square is taken: ERM's ratio is 1 exactly.
    length = own[0] if len(own) == 1 else torch.stack(own).norm() if own else gradient.new_zeros(())
    times: Tensor = length / gradient.norm().clamp(min=_NONE)
    return times


def shortened(answer: Answer, times: Tensor, most: float) -> Answer:
    """Return an answer whose gradients, `times` the plain one's length, are at most `most` times it."""
    factor = (most / times.clamp(min=_NONE)).clamp(max=1)
    logits, features = (None if one is None else one * factor for one in (answer.logits, answer.features))
    return Answer(answer.loss, logits, features)
