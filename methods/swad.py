"""Stochastic weight averaging, densely: the mean of the weights after every late step."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss


class SWAD(Method):
    """ERM whose weights are the mean over the steps of its later part (Cha et al., NeurIPS 2021).

    What is kept of the paper: the average is dense, over every step and not one an epoch, with equal weights.
    What is not: their interval. It begins where the validation loss has not fallen for N_s looks (3 in the
    authors' code, khanrc/swad) and ends where it has been above r times (1.3) its mean over those for N_e
    looks (6), and both need validation data, which most protocols here have none of; so the interval is the
    last part of the training, from `start` on to its end, and not aware of overfitting. Their rate is
    constant and ours is the recipe's. Statistics of batch normalisation are averaged with the weights, where
    they freeze them, or else take them anew over 500 batches. Where a protocol has validation patients, its
    checkpoint is chosen among averages.

    Parameters
    ----------
    start : share of the steps after which the average begins.
    """

    card = Card(
        title="SWAD (fixed interval)",
        authors="Junbum Cha, Sanghyuk Chun, Kyungjae Lee, Han-Cheol Cho, Seunghyun Park, Yunsung Lee, "
        "Sungrae Park",
        paper="SWAD: Domain Generalization by Seeking Flat Minima, NeurIPS 2021",
        url="https://arxiv.org/abs/2102.08604",
        licence="MIT",
    )
    reads_attribute = False
    averages_from = "start"
    search: ClassVar = {"start": Range(0.1, 0.9)}

    def __init__(self, task: Task, start: float = 0.5) -> None:
        super().__init__(task)
        self.start = start

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return cross-entropy and soft Dice over the whole batch."""
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
