"""The recipe's segmentation losses, as FairSeg's reference scripts define them.

Pixels whose mask is IGNORED, not annotated, are left out of every sum and mean. Where there are none the bits
are those of losses that know nothing of them: all that is added is a product with 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.protocol import IGNORED

_SMOOTH = 1e-5


def cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mean pixel cross-entropy of each sample, 0 where none of its pixels is annotated.

    logits: float [B, C, h, w]; masks: int64 [B, h, w]; returns float [B], in nats.
    """
    return _cross_entropy(logits, masks, _one_hot(masks, logits))


def soft_dice_loss(probabilities: Tensor, masks: Tensor) -> Tensor:
    """Return one soft Dice loss over all the samples given, mean over classes with background.

    `1 - (2 sum(p t) + s) / (sum(p^2) + sum(t^2) + s)`, s = 1e-5, summed over samples and pixels
    of a class (the DiceLoss of TransUNet, SAMed and FairSeg). probabilities: float
    [B, C, h, w]; masks: int64 [B, h, w]; returns a scalar in [0, 1].
    """
    return _Sums.of(probabilities, masks, _one_hot(masks, probabilities)).loss((0, 2, 3)).mean()


def segmentation_loss(logits: Tensor, masks: Tensor, dice_weight: float) -> Tensor:
    """Return `(1 - dice_weight) * cross-entropy + dice_weight * soft Dice` over a set of samples.

    logits: float [B, C, h, w]; masks: int64 [B, h, w]; returns a scalar.
    """
    truth = _one_hot(masks, logits)
    dice = _Sums.of(logits.softmax(1), masks, truth).loss((0, 2, 3)).mean()
    return (1 - dice_weight) * _cross_entropy(logits, masks, truth).mean() + dice_weight * dice


def sample_losses(logits: Tensor, masks: Tensor, dice_weight: float) -> Tensor:
    """Return `segmentation_loss` of each sample alone: float [B]."""
    truth = _one_hot(masks, logits)
    dice = _Sums.of(logits.softmax(1), masks, truth).loss((2, 3)).mean(1)
    return (1 - dice_weight) * _cross_entropy(logits, masks, truth) + dice_weight * dice


def segmentation_and_sample_losses(
    logits: Tensor, masks: Tensor, dice_weight: float
) -> tuple[Tensor, Tensor]:
    """Return `segmentation_loss` and, without a graph, `sample_losses`, to the bit: a scalar, float [B].

    Both are sums of the same products, which are made once.
    """
    truth = _one_hot(masks, logits)
    entropies, sums = _cross_entropy(logits, masks, truth), _Sums.of(logits.softmax(1), masks, truth)
    loss = (1 - dice_weight) * entropies.mean() + dice_weight * sums.loss((0, 2, 3)).mean()
    with torch.no_grad():
        each = (1 - dice_weight) * entropies + dice_weight * sums.loss((2, 3)).mean(1)
    return loss, each


def mixed_losses(
    logits: Tensor, masks: Tensor, other_masks: Tensor | None, shares: Tensor | None, dice_weight: float
) -> Tensor:
    """Return `sample_losses`, of mixed samples against both masks by their shares: float [B].

    other_masks: int64 [B, h, w], of each one's partner; shares: float [B], its own; both None where none is
    mixed.
    """
    own = sample_losses(logits, masks, dice_weight)
    if other_masks is None or shares is None:
        return own
    return shares * own + (1 - shares) * sample_losses(logits, other_masks, dice_weight)


@dataclass(frozen=True)
class _Sums:
    """What soft Dice adds up, pixel by pixel: each [B, C, h, w]."""

    overlap: Tensor
    squares: Tensor
    truth: Tensor

    @classmethod
    def of(cls, probabilities: Tensor, masks: Tensor, truth: Tensor) -> _Sums:
        annotated = probabilities * _annotated(masks, probabilities)
        return cls(annotated * truth, annotated.square(), truth)

    def loss(self, axes: tuple[int, ...]) -> Tensor:
        size = self.squares.sum(axes) + self.truth.sum(axes)
        return 1 - (2 * self.overlap.sum(axes) + _SMOOTH) / (size + _SMOOTH)


def _cross_entropy(logits: Tensor, masks: Tensor, truth: Tensor) -> Tensor:
    # Not F.cross_entropy, whose forward over maps has no deterministic CUDA kernel (nll_loss2d).
    mean = -(logits.log_softmax(1) * truth).sum(1).flatten(1).mean(1)
    annotated = (masks != IGNORED).flatten(1).sum(1).clamp(min=1)
    return mean * (masks.shape[1:].numel() / annotated.to(mean.dtype))


def _one_hot(masks: Tensor, like: Tensor) -> Tensor:
    """Return masks [B, h, w] as the indicator of each class, [B, C, h, w], in the type of `like`.

    What is not annotated is of no class. (F.one_hot makes 64-bit integers with the classes last, whose copy
    into this took most of a loss's time.)
    """
    classes = torch.arange(like.shape[1], device=masks.device).view(-1, 1, 1)
    return (masks[:, None] == classes).to(like.dtype)


def _annotated(masks: Tensor, like: Tensor) -> Tensor:
    """Return 1 for each pixel that is annotated, else 0: [B, 1, h, w] in the type of `like`."""
    return (masks != IGNORED)[:, None].to(like.dtype)
