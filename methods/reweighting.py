"""Group reweighting: every group counts the same in the loss, however rare it is."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss


class Reweighting(Method):
    """Weigh a sample by the inverse of its group's share of the training samples.

    With n samples of which n_g are of group g of G, a sample has the weight `w_g = (n / (G n_g))^power`: at
    power 1 the weights by which the training distribution becomes one of equal groups (Shimodaira, 2000;
    "upweighting" in Sagawa et al., ICML 2020). The loss is `sum_g b_g w_g L_g / sum_g b_g w_g` over the
    groups of the batch, b_g their samples in it and L_g the recipe's loss over these.

    Ours: dividing by the batch's weights instead of by its size, so that a batch without the rare group is as
    loud as one with it; and the power, 1 in the sources, 0 for each sample the same. The authors' code
    (`--reweight_groups` of ssagawa/overparam_spur_corr and kohpangwei/group_DRO, `data/dro_dataset.py`)
    reaches the same mean by drawing with these weights, with replacement: that is `erm-balanced` here. Their
    groups are label and attribute together. Samples of unknown group weigh 1 and are a group of their own.

    Parameters
    ----------
    power : of the inverse share; 1 makes groups equal.
    """

    card = Card(
        title="Group reweighting",
        authors="Shiori Sagawa, Aditi Raghunathan, Pang Wei Koh, Percy Liang",
        paper="An Investigation of Why Overparameterization Exacerbates Spurious Correlations, ICML 2020",
        url="https://arxiv.org/abs/2005.04345",
        licence="MIT",
    )
    search: ClassVar = {"power": Range(0.1, 1.5)}

    def __init__(self, task: Task, power: float = 1.0) -> None:
        super().__init__(task)
        weights = group_weights(torch.tensor(task.group_counts, dtype=torch.float32), power)
        self.register_buffer("weights", weights, persistent=False)

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the mean of the groups' losses under their weights."""
        groups = batch.by_group(unknown=True)
        losses = torch.stack([self._loss(batch, output, rows) for rows in groups.values()])
        # The last weight, which a code of -1 finds, is that of the unknown.
        each = self.get_buffer("weights")
        weights = torch.stack([len(rows) * each[group] for group, rows in groups.items()])
        mean: Tensor = (weights * losses).sum() / weights.sum()
        return mean

    def _loss(self, batch: Batch, output: Output, rows: Tensor) -> Tensor:
        return segmentation_loss(output.logits[rows], batch.masks[rows], self.task.dice_weight)


def group_weights(counts: Tensor, power: float) -> Tensor:
    """Return `(n / (G n_g))^power` for each group and 1 for the unknown after them: float [G + 1].

    counts: float [G], training samples of each group.
    """
    inverse = counts.sum() / (max(len(counts), 1) * counts.clamp(min=1))
    return torch.cat([inverse.pow(power), torch.ones(1)])
