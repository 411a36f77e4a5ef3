"""A mixture of experts whose router is the sample's group's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss
from methods._groups import mixed, shares_of


class DMoE(Method):
    """Add to the encoder's deepest map what experts of the group's choice make of it (Oh et al., 2025).

    At each place of the map, `h + sum_i K^g_i(h) E_i(h)`: `E_i` is expert i of `experts`, two layers with
    ReLU between and four times the width, and `K^g = softmax(keep the largest `top` of R^g(h))` the router of
    the sample's group g, `R^g(h) = h W_g + noise x softplus(h V_g)` (noisy top-k gating). The loss is the
    recipe's. A sample of unknown group gets the mean of the groups' gates.

    Eight experts, two of them at a time, and routers of their own on shared experts, as in the authors' code
    (tvseg/dMoE). There the paper's formula and the code agree, but the code draws the noise when it predicts
    too; here a prediction is the same twice: noise in training alone. Ours: the layer stands once, between
    encoder and decoder (theirs follows each of TransUNet's transformer blocks, with the same weights in all
    of them, or each stage of a 3D U-Net's encoder, with weights of its own); no dropout in the experts (0.1
    there); the recipe's loss, theirs being half cross-entropy and half soft Dice in two dimensions. A group
    that is unknown is left out there, or finds the last group's router.

    Parameters
    ----------
    experts : how many there are.
    top : how many of them a place uses.
    """

    card = Card(
        title="Distribution-aware mixture of experts",
        authors="Yujin Oh, Pengfei Jin, Sangjoon Park, Sekeun Kim, Siyeop Yoon, Kyungsang Kim, Jin Sung Kim, "
        "Xiang Li, Quanzheng Li",
        paper="Distribution-aware Fairness Learning in Medical Image Segmentation From A Control-Theoretic "
        "Perspective, ICML 2025",
        url="https://arxiv.org/abs/2502.00619",
        licence="MIT",
    )
    trains_own_model = True
    reads_attribute_at_test = True
    search: ClassVar = {"experts": Range(2, 16), "top": Range(1, 2)}

    def __init__(self, task: Task, experts: int = 8, top: int = 2) -> None:
        super().__init__(task)
        self.experts, self.top = experts, min(top, experts)

    def adapt(self, backbone: Any, groups: Callable[[], Tensor]) -> Any:
        """Put the mixture between encoder and decoder."""
        mixture = _Mixture(backbone.width, self.experts, self.top, self.task.n_groups)
        return _Routed(backbone, mixture, groups)

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the recipe's loss."""
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)


class _Routed(nn.Module):
    """A backbone whose decoder gets the deepest map with the mixture added."""

    def __init__(self, backbone: Any, mixture: nn.Module, groups: Callable[[], Tensor]) -> None:
        super().__init__()
        self.backbone, self.mixture, self.groups = backbone, mixture, groups
        self.n_features, self.deepest = backbone.n_features, backbone.deepest

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's maps."""
        maps: tuple[Tensor, ...] = self.backbone.encode(images)
        return maps

    def decode(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the backbone's logits and features of the maps with the mixture added."""
        changed, deepest = list(maps), maps[self.deepest]
        places = deepest.flatten(2).transpose(1, 2)
        added = self.mixture(places, self.groups()).transpose(1, 2).reshape(deepest.shape)
        changed[self.deepest] = deepest + added
        made: tuple[Tensor, Tensor] = self.backbone.decode(tuple(changed))
        return made


class _Mixture(nn.Module):
    """Experts, and for each group a router and the size of its noise."""

    def __init__(self, width: int, experts: int, top: int, count: int) -> None:
        super().__init__()
        self.top = top
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
            for _ in range(experts)
        )
        self.routers = nn.ModuleList(nn.Linear(width, experts) for _ in range(count))
        self.noises = nn.ModuleList(nn.Linear(width, experts) for _ in range(count))

    def forward(self, h: Tensor, groups: Tensor) -> Tensor:
        """Return what the experts add: float [B, T, D] of h [B, T, D]; groups: int64 [B]."""
        gates = self.gates(h, groups)
        # Every expert at every place, so that nothing depends on what else is in the batch.
        added = [gates[..., i : i + 1] * expert(h) for i, expert in enumerate(self.experts)]
        return torch.stack(added).sum(0)

    def gates(self, h: Tensor, groups: Tensor) -> Tensor:
        """Return each expert's share at each place: float [B, T, E], of h [B, T, D]."""
        made = []
        for router, noise in zip(self.routers, self.noises, strict=True):
            scores = router(h)
            if self.training:
                scores = scores + torch.randn_like(scores) * F.softplus(noise(h))
            kept = torch.full_like(scores, -torch.inf)
            largest = scores.topk(self.top, dim=-1)
            made.append(kept.scatter(-1, largest.indices, largest.values).softmax(-1))
        return mixed(torch.stack(made, 1), shares_of(groups, len(made)))
