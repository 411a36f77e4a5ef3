"""Group distributionally robust optimisation: minimise the loss of the worst group."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss


class GroupDRO(Method):
    """Weigh groups by exponentiated gradient ascent on their losses (Sagawa et al., Algorithm 1).

    At each batch `q_g` is multiplied by `exp(step_size * (L_g + adjustment / sqrt(n_g)))` for the
    groups in it, and the loss is `sum_g q_g L_g`, to which a group absent from the batch contributes 0.
    `L_g` is the recipe's segmentation loss over the group's samples of the batch, `n_g` its number of
    training samples (the group adjustment of their section 3.3).

    Algorithm 1 draws a group uniformly and then a sample of it; here the protocol's sampler draws, as for
    every method, so that what sets this one apart from ERM is its loss. A group absent from the batch keeps
    its weight exactly: `q` is normalised over the groups present, their total kept. In the algorithm it
    shrinks or grows with the normalisation of the others, and in the authors' code (kohpangwei/group_DRO,
    `loss.py`) its adjustment alone still moves it. All of their commands draw groups equally often
    (`--reweight_groups`). Samples of unknown group are left out; a batch of nothing else falls back to the
    plain loss.

    Parameters
    ----------
    step_size : rate of the weights' ascent, eta_q in the paper.
    adjustment : the constant C; 0, as in the authors' code and all of its commands, is no adjustment.
        Above 0 it trains for rarity whatever the losses: with equal losses over the 11,620 steps of the
        protocol `fairseg`, C = 1 ends with a weight of 0.99 on Hispanic.
    """

    card = Card(
        title="Group DRO",
        authors="Shiori Sagawa, Pang Wei Koh, Tatsunori B. Hashimoto, Percy Liang",
        paper="Distributionally Robust Neural Networks for Group Shifts, ICLR 2020",
        url="https://arxiv.org/abs/1911.08731",
        licence="MIT",
    )
    controls: ClassVar = {"adjustment 1": {"adjustment": 1.0}}
    search: ClassVar = {"step_size": Range(1e-3, 0.3, log=True), "adjustment": Range(0.0, 4.0)}

    q: Tensor

    def __init__(self, task: Task, step_size: float = 0.01, adjustment: float = 0.0) -> None:
        super().__init__(task)
        self.step_size = step_size
        self.register_buffer("q", torch.full((task.n_groups,), 1 / max(task.n_groups, 1)))
        counts = torch.tensor(task.group_counts, dtype=torch.float32)
        self.register_buffer("margin", adjustment / counts.clamp(min=1).sqrt(), persistent=False)

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the weighted sum of the group losses, after moving the weights."""
        present = batch.by_group()
        if not present:
            return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
        losses = torch.stack([self._loss(batch, output, rows) for rows in present.values()])
        return (self._ascend(list(present), losses.detach()) * losses).sum()

    def _loss(self, batch: Batch, output: Output, rows: Tensor) -> Tensor:
        return segmentation_loss(output.logits[rows], batch.masks[rows], self.task.dice_weight)

    @torch.no_grad()
    def _ascend(self, present: list[int], losses: Tensor) -> Tensor:
        """Move the weights of the groups present; return what they are then."""
        before, margin = (
            torch.stack([one[g] for g in present]) for one in (self.q, self.get_buffer("margin"))
        )
        raised = before * torch.exp(self.step_size * (losses + margin))
        after = raised * (before.sum() / raised.sum())
        for group, weight in zip(present, after, strict=True):
            self.q[group] = weight
        return after
