"""Empirical risk minimisation: the recipe's segmentation loss and nothing else."""

from __future__ import annotations

from torch import Tensor

from harness import Batch, Card, Method, Output, segmentation_loss


class ERM(Method):
    """Minimise the average loss, blind to the attribute: the baseline of every comparison."""

    card = Card(
        title="Empirical risk minimisation",
        authors="Vladimir Vapnik",
        paper="Principles of Risk Minimization for Learning Theory, NeurIPS 1991",
        licence="MIT",
    )
    reads_attribute = False

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return cross-entropy and soft Dice over the whole batch."""
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
