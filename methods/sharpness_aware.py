"""Sharpness-aware minimisation: weights around which the loss is low as well."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss


class SharpnessAware(Method):
    """ERM whose gradient is taken at the worst weights within a radius (Foret et al., ICLR 2021).

    Algorithm 1: with g the gradient at the weights w, the step is that of the gradient at `w + rho * g /
    ||g||` (p = 2), taken from w. The harness carries it out: both passes see the same batch under the same
    augmentation and draw the same random numbers, and statistics of batch normalisation are those of the
    first pass, all as in the authors' code (google-research/sam, `flax_training.py`). rho 0.05 is that of
    their command for CIFAR; for fine-tuning on ImageNet it is 0.1. Only the weights that the protocol trains
    are moved. It takes two passes a step where ERM takes one, and its record says so.

    Where we differ: their weight decay is a term of the loss, in both gradients; ours is the recipe's
    optimiser's, so that the climb does not see it. On several accelerators each of theirs climbs the gradient
    of its own part of the batch; here it is that of the whole batch.

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
