"""Fair error-bound scaling as the paper describes it: harder groups weigh more."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task, cross_entropy, soft_dice_loss


class FEBS(Method):
    """Fine-tune the ERM model with the Dice term of each group scaled by its error bound.

    Per batch, `D_a` is the soft Dice error of group a. The paper's words are that groups with
    the larger upper error bound get the larger share of the loss. Here the Dice term is
    `sum_a n_a w_a D_a / sum_a n_a w_a` with `w_a = tanh(1) / tanh((min_k D_k / D_a)^gamma)`,
    detached: the reciprocal of the released weight, 1 for the easiest group and above 1 for
    the others. The released scripts scale the harder group's *predictions* down instead, which
    gives it less gradient; that version is `febs-released`. The minimum is over the groups
    present in the batch: the scripts let an absent group make it 0, which wipes out every weight.
    Samples of unknown group have weight 1.

    Parameters
    ----------
    gamma : exponent of the ratio of error bounds; 0 weighs the Dice of all groups by their samples alone,
        which is not ERM: there the Dice is one over the whole batch.
    """

    card = Card(
        title="FEBS (as described)",
        authors="Yu Tian, Min Shi, Yan Luo, Ava Kouhana, Tobias Elze, Mengyu Wang",
        paper="FairSeg: A Large-Scale Medical Image Segmentation Dataset for Fairness Learning Using "
        "Segment Anything Model with Fair Error-Bound Scaling, ICLR 2024",
        url="https://arxiv.org/abs/2311.02189",
        licence="MIT",
    )
    starts_from = "erm"
    # Not ERM, whose Dice is one over the whole batch: ERM exactly is this method's twin.
    controls: ClassVar = {"gamma 0, a Dice by group": {"gamma": 0.0}}
    search: ClassVar = {"gamma": Range(0.25, 4.0, log=True)}

    def __init__(self, task: Task, gamma: float = 1.0) -> None:
        super().__init__(task)
        self.gamma = gamma

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return cross-entropy over the batch and the group-weighted Dice term."""
        groups = batch.by_group(unknown=True)
        probabilities = output.logits.softmax(1)
        errors = torch.stack(
            [soft_dice_loss(probabilities[rows], batch.masks[rows]) for rows in groups.values()]
        )
        scales = group_weights(errors.detach(), [group >= 0 for group in groups], self.gamma)
        weights = torch.stack(
            [len(rows) * scale for rows, scale in zip(groups.values(), scales, strict=True)]
        )
        dice: Tensor = (weights * errors).sum() / weights.sum()
        share = self.task.dice_weight
        return (1 - share) * cross_entropy(output.logits, batch.masks).mean() + share * dice


def group_weights(errors: Tensor, known: list[bool], gamma: float) -> Tensor:
    """Return `tanh(1) / tanh((min_k D_k / D_a)^gamma)`, at least 1; 1 where not known.

    errors: float [G], the soft Dice error of each group present; known: of each, whether it is a group.
    """
    weights, places = torch.ones_like(errors), [i for i, flag in enumerate(known) if flag]
    if places:
        bounds = torch.stack([errors[i] for i in places]).clamp(min=1e-6)
        one = torch.ones((), device=errors.device, dtype=errors.dtype)
        # The easiest group's ratio is 1, so its weight is 1 exactly; the others' are above it.
        found = one.tanh() / (bounds.min() / bounds).pow(gamma).tanh()
        for place, weight in zip(places, found, strict=True):
            weights[place] = weight
    return weights
