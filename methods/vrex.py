"""Variance risk extrapolation: the groups' losses are to be equal."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss


class VREx(Method):
    """Minimise the mean of the groups' losses and their variance times `penalty` (Krueger et al., 2021).

    Their equation (8) is `beta Var(R_1, ..., R_m) + sum_e R_e` over training environments. Here an
    environment is a group, R_g the recipe's loss over its samples of the batch, and only groups in the batch
    count. The sources differ: the paper has the sum of the risks, DomainBed (`algorithms.py`) their mean; we
    take the mean, as there, so that beta does not depend on the number of groups, and its variance, which
    divides by their number. Both hold beta at 1 for the first steps, `anneal` here as a share of all (500 of
    5,001 steps in DomainBed, whose beta of 10 is ours too); DomainBed makes a new Adam where it rises, and
    our optimiser goes on as it is.

    The authors' code (capybaralet/REx_code_release) has several forms: on coloured digits the sum of two
    risks and the square of their difference, four times their variance, with beta 10,000 after 100 of 501
    steps, and all of it divided by beta then, to keep gradients small; for finance the mean and the variance
    with one less in the divisor. We do not divide: AdamW does not feel it, and under SGD a gradient has its
    limit anyway. Samples of unknown group are left out; a batch of nothing else falls back to the plain loss.

    Parameters
    ----------
    penalty : beta, of the variance against the mean.
    anneal : share of the steps for which it is 1.
    """

    card = Card(
        title="V-REx",
        authors="David Krueger, Ethan Caballero, Joern-Henrik Jacobsen, Amy Zhang, Jonathan Binas, Dinghuai "
        "Zhang, Remi Le Priol, Aaron Courville",
        paper="Out-of-Distribution Generalization via Risk Extrapolation (REx), ICML 2021",
        url="https://arxiv.org/abs/2003.00688",
        licence="MIT",
    )
    search: ClassVar = {"penalty": Range(1.0, 1e3, log=True), "anneal": Range(0.0, 0.5)}

    taken: Tensor

    def __init__(self, task: Task, penalty: float = 10.0, anneal: float = 0.25) -> None:
        super().__init__(task)
        self.penalty = penalty
        self.anneal = anneal
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the mean of the group losses and their weighted variance."""
        penalty = torch.where(self.taken >= self.anneal * self.task.steps, self.penalty, 1.0)
        self.taken += 1
        present = batch.by_group()
        if not present:
            return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
        losses = torch.stack([self._loss(batch, output, rows) for rows in present.values()])
        return losses.mean() + penalty * losses.var(correction=0)

    def _loss(self, batch: Batch, output: Output, rows: Tensor) -> Tensor:
        return segmentation_loss(output.logits[rows], batch.masks[rows], self.task.dice_weight)
