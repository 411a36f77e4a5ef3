"""ERM, and after its training a threshold of each class for each group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss
from methods._groups import shares_of

_NOT_ANNOTATED = 255
_CANDIDATES = 17
"""Thresholds that are tried, 0 in their middle."""


class GroupThresholds(Method):
    """Shift the logits of each class by what suits a group's training samples (after Hardt et al., 2016).

    The training is ERM's to the bit: the group is not read in it. After it, for each group g and each class c
    but the background, `b_g(c)` is the number in [-most, most] (17 of them, evenly) under which the mean Dice
    of class c over the group's training samples is highest, where a pixel is of class c if `s_c + b_g(c)`
    exceeds every other logit; of several the one nearest to 0. A sample that has the class neither in truth
    nor in prediction counts 1. Predictions are the argmax of `s + b_g`; a sample of unknown group gets the
    mean of the groups' shifts. Groups of fewer than `least` training samples keep 0.

    Hardt et al. choose thresholds of a score group by group, two of them at random where one is not enough,
    so that error rates are equal; their code was not found. Ours: Dice instead of error rates, several
    classes, each on its own; fitted on the samples that the network was trained on, where it errs less than
    on new ones, because no others are to be seen before the test.

    Parameters
    ----------
    most : the largest shift, in logits.
    least : training samples below which a group keeps its logits.
    """

    card = Card(
        title="Group thresholds",
        authors="Moritz Hardt, Eric Price, Nathan Srebro",
        paper="Equality of Opportunity in Supervised Learning, NeurIPS 2016",
        url="https://arxiv.org/abs/1610.02413",
        licence="MIT",
    )
    trains_own_model = True
    reads_attribute_at_test = True
    search: ClassVar = {"most": Range(0.25, 4.0, log=True)}

    def __init__(self, task: Task, most: float = 2.0, least: int = 10) -> None:
        super().__init__(task)
        self.most, self.least = most, least
        self.shift = _Shift(max(task.n_groups, 1), task.n_classes)

    def adapt(self, backbone: Any, groups: Callable[[], Tensor]) -> Any:
        """Add each group's shifts, which are 0 while it trains, to the logits."""
        return _Shifted(backbone, self.shift, groups)

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the recipe's loss, as ERM does."""
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)

    def calibrate(self, seen: Iterator[tuple[Batch, Output]]) -> None:
        """Choose the shifts of every group from its training samples."""
        shifts = torch.linspace(-self.most, self.most, _CANDIDATES)
        total = torch.zeros(*self.shift.bias.shape, _CANDIDATES, dtype=torch.float64)
        for batch, output in seen:
            dice = dice_under(output.logits, batch.masks, shifts).cpu()
            for group in range(len(self.shift.bias)):
                total[group] += dice[(batch.groups == group).cpu()].sum(0)
        # Of equal ones the nearest to 0: what is first is taken.
        order = shifts.abs().argsort(stable=True)
        best = shifts[order][total[..., order].argmax(-1)]
        best[:, 0] = 0
        few = torch.tensor([count < self.least for count in self.task.group_counts])
        best[few] = 0
        self.shift.bias.copy_(best)


def dice_under(logits: Tensor, masks: Tensor, shifts: Tensor) -> Tensor:
    """Return each class's Dice under each shift of its own logit alone: float64 [B, C, K].

    logits: float [B, C, h, w]; masks: int64 [B, h, w]; shifts: float [K].
    """
    annotated = masks != _NOT_ANNOTATED
    found = []
    for c in range(logits.shape[1]):
        others = [other for other in range(logits.shape[1]) if other != c]
        margin = logits[:, c] - logits[:, others].amax(1)
        truth = (masks == c) & annotated
        for shift in shifts.tolist():
            predicted = (margin > -shift) & annotated
            both, sizes = (truth & predicted).sum((1, 2)), truth.sum((1, 2)) + predicted.sum((1, 2))
            found.append(torch.where(sizes > 0, 2 * both.double() / sizes.clamp(min=1), 1.0))
    return torch.stack(found, 1).reshape(len(logits), logits.shape[1], len(shifts))


class _Shift(nn.Module):
    """What is added to each class's logit in each group: bias float [G, C], 0 at first."""

    bias: Tensor

    def __init__(self, groups: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("bias", torch.zeros(groups, classes))

    def forward(self, logits: Tensor, groups: Tensor) -> Tensor:
        """Return shifted logits, float [B, C, h, w]; groups: int64 [B]."""
        return logits + (shares_of(groups, len(self.bias)) @ self.bias)[:, :, None, None]


class _Shifted(nn.Module):
    """A backbone whose logits are shifted by group."""

    def __init__(self, backbone: Any, shift: _Shift, groups: Callable[[], Tensor]) -> None:
        super().__init__()
        self.backbone, self.shift, self.groups = backbone, shift, groups
        self.n_features = backbone.n_features

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's maps."""
        maps: tuple[Tensor, ...] = self.backbone.encode(images)
        return maps

    def decode(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the backbone's features and shifted logits."""
        logits, features = self.backbone.decode(maps)
        return self.shift(logits, self.groups()), features
