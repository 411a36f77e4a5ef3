"""Fair error-bound scaling as the authors' released scripts compute it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task, cross_entropy, soft_dice_loss


class ReleasedFEBS(Method):
    """Fine-tune the ERM model with predictions scaled by their group's weight.

    Per batch, `D_a` is the soft Dice error of group a and `w_a = tanh((min_k D_k / D_a)^gamma)`, detached;
    the soft Dice is then taken on the class probabilities times the weight of their sample's group
    (Harvard-Ophthalmology-AI-Lab/FairSeg, `FairDiceLoss` of `SAMed/utils.py` and `febs_loss` of
    `TransUNet/utils.py`; gamma 1 in both). We differ from the scripts in one thing: the minimum is over the
    groups present. There, an absent group's error stays 0, so that every weight is tanh(0) = 0, the Dice loss
    is 1 and its gradient nothing. Samples of unknown group (which index the last group there) keep the weight
    of the easiest group, tanh(1).

    Parameters
    ----------
    gamma : exponent of the ratio of error bounds; at 0 all predictions are scaled by tanh(1), 0.76, which is
        not ERM.
    """

    card = Card(
        title="FEBS (as released)",
        authors="Yu Tian, Min Shi, Yan Luo, Ava Kouhana, Tobias Elze, Mengyu Wang",
        paper="FairSeg: A Large-Scale Medical Image Segmentation Dataset for Fairness Learning Using "
        "Segment Anything Model with Fair Error-Bound Scaling, ICLR 2024",
        url="https://github.com/Harvard-Ophthalmology-AI-Lab/FairSeg",
        licence="MIT",
    )
    starts_from = "erm"
    # Not ERM, whose predictions are not scaled: ERM exactly is this method's twin.
    controls: ClassVar = {"gamma 0, predictions times tanh(1)": {"gamma": 0.0}}
    search: ClassVar = {"gamma": Range(0.25, 4.0, log=True)}

    def __init__(self, task: Task, gamma: float = 1.0) -> None:
        super().__init__(task)
        self.gamma = gamma

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return cross-entropy over the batch and soft Dice on the scaled predictions."""
        probabilities = output.logits.softmax(1)
        weights = self.sample_weights(probabilities.detach(), batch)
        dice = soft_dice_loss(probabilities * weights[:, None, None, None], batch.masks)
        share = self.task.dice_weight
        return (1 - share) * cross_entropy(output.logits, batch.masks).mean() + share * dice

    def sample_weights(self, probabilities: Tensor, batch: Batch) -> Tensor:
        """Return the weight of each sample's group: float [B], at most tanh(1)."""
        ratios = torch.ones(len(batch.groups), device=probabilities.device, dtype=probabilities.dtype)
        rows = list(batch.by_group().values())
        if rows:
            errors = torch.stack([soft_dice_loss(probabilities[row], batch.masks[row]) for row in rows])
            errors = errors.clamp(min=1e-6)
            for row, ratio in zip(rows, errors.min() / errors, strict=True):
                ratios[row] = ratio
        return ratios.pow(self.gamma).tanh()
