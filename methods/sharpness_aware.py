"""Sharpness-aware minimisation: weights around which the loss is low as well."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss


class SharpnessAware(Method):
    """ERM whose gradient is taken at the worst weights within a radius (Foret et al., ICLR 2021).

    Algorithm 1: with g the gradient at the weights w, the step is that of the gradient at `w + rho * g /
    ||g||` (p = 2), taken from w. The harness carries it out: both passes see the same batch under the same
    augmentation and draw the same random numbers. rho 0.05 is the paper's. Only the weights that the protocol
    trains are moved; statistics of batch normalisation are those of the first pass, as in the authors' later
    advice. It takes two passes a step where ERM takes one, and its record says so.

    Parameters
    ----------
    rho : radius, in the Euclidean norm over all trained weights.
    """

    card = Card(
        title="Sharpness-aware minimisation",
        authors="Pierre Foret, Ariel Kleiner, Hossein Mobahi, Behnam Neyshabur",
        paper="Sharpness-Aware Minimization for Efficiently Improving Generalization, ICLR 2021",
        url="https://arxiv.org/abs/2010.01412",
        licence="MIT",
    )
    reads_attribute = False
    sharpness = "rho"
    search: ClassVar = {"rho": Range(0.01, 0.5, log=True)}

    def __init__(self, task: Task, rho: float = 0.05) -> None:
        super().__init__(task)
        self.rho = rho

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return cross-entropy and soft Dice over the whole batch."""
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
