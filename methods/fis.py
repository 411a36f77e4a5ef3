"""Fair identity scaling: hard samples weigh more, and so do groups whose losses are unlike the others'."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task

LEVELS = 64
"""Samples of each group that stand for it, as in the released scripts."""


class FIS(Method):
    """Scale each sample's loss by its own size and by its group's distance from all (Luo et al., 2024).

    As the released scripts compute it (`Fair_Loss_Scaler`): with losses l_i of the batch, individual weights
    `s = softmax(l / T)` and group weights `u = softmax(d_{g(i)} / T)`, both over the batch's samples, the
    loss is `sum_i ((1 - c) s_i + c u_i) l_i`, c `coefficient`, T `temperature` (0.5 and 1 in the scripts of
    Harvard-Ophthalmology-AI-Lab/FairVision; T is 10 in the one for volumes). The gradient goes through the
    individual weights too, as there. d_g is a Sinkhorn divergence (cost half the squared distance) of the
    losses of group g from those of all groups in equal parts.

    Where we differ: the scripts draw 64 more samples of each group (6 volumes) at every step and send them
    through the network for d. Here 64 quantiles of the losses that each group's samples had when they were
    last trained on stand for them, without a pass; a group of which nothing was seen has distance 0. Between
    distributions of numbers the divergence without blur is half the squared Wasserstein distance, which
    quantiles give; theirs has blur 0.1. The scripts classify, divide once more by the batch's size and
    multiply by `right_asymptote` (1 in the scripts, 2 in the class), neither of which AdamW feels; l_i is the
    recipe's segmentation loss of each sample. A sample of unknown group has distance 0; they leave it out.

    Parameters
    ----------
    coefficient : c, of the groups' weights against the individual ones.
    temperature : T; the larger, the more alike are all weights.
    """

    card = Card(
        title="Fair identity scaling",
        authors="Yan Luo, Muhammad Osama Khan, Yu Tian, Min Shi, Zehao Dou, Tobias Elze, Yi Fang, "
        "Mengyu Wang",
        paper="FairVision: Equitable Deep Learning for Eye Disease Screening via Fair Identity Scaling, 2024",
        url="https://arxiv.org/abs/2310.02492",
        licence="MIT",
    )
    search: ClassVar = {"coefficient": Range(0.0, 1.0), "temperature": Range(0.01, 2.0, log=True)}

    last: Tensor
    group: Tensor

    def __init__(self, task: Task, coefficient: float = 0.5, temperature: float = 1.0) -> None:
        super().__init__(task)
        self.coefficient = coefficient
        self.temperature = temperature
        self.register_buffer("last", torch.full((task.n_samples,), torch.nan))
        self.register_buffer("group", torch.full((task.n_samples,), -1))

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the scaled sum of the batch's losses, after noting them."""
        losses = output.losses
        self.last[batch.samples], self.group[batch.samples] = losses.detach(), batch.groups
        distances = group_distances(self.last, self.group, self.task.n_groups)
        # A code of -1 finds the last one, 0.
        distances = torch.cat([distances, distances.new_zeros(1)])[batch.groups]
        return scaled(losses, distances, self.coefficient, self.temperature)


def scaled(losses: Tensor, distances: Tensor, coefficient: float, temperature: float) -> Tensor:
    """Return `sum_i ((1 - c) softmax(l / T)_i + c softmax(d / T)_i) l_i`: scalar.

    losses: float [B]; distances: float [B], each sample's group's.
    """
    individual = (losses / temperature).softmax(0)
    group = (distances / temperature).softmax(0)
    return (((1 - coefficient) * individual + coefficient * group) * losses).sum()


def group_distances(losses: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Return half the squared Wasserstein distance of each group's losses from those of all: float [G].

    All are the groups in equal parts, whatever their sizes; a group without losses has distance 0. losses:
    float [n], NaN where not known; groups: int64 [n], -1 is unknown.
    """
    levels = (torch.arange(LEVELS, device=losses.device, dtype=losses.dtype) + 0.5) / LEVELS
    own = groups == torch.arange(n_groups, device=groups.device)[:, None]
    quantiles = torch.where(own, losses, torch.nan).nanquantile(levels, 1).T
    found = (quantiles - quantiles.flatten().nanquantile(levels)).square().mean(1) / 2
    return torch.where(found.isnan(), 0.0, found)
