"""Domain-independent training: one head for each group on features that all share."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from harness import Batch, Card, Method, Output, segmentation_loss
from methods._groups import mixed, shares_of


class DomainIndependent(Method):
    """Predict with the head of the sample's own group (Wang et al., section 4, "domain-independent").

    Each head of the backbone is copied once a group: with `h_g` the copy of group g and `z` what goes into
    it, `s(x, g) = h_g(z)`, and a sample x of group g is trained and predicted with `s(x, g)` alone. The loss
    is the recipe's. A sample of unknown group gets the mean over the groups, `sum_g s(x, g) / G`: the
    "sum out" of the paper's section 4 and of its code, divided by G so that it is on the scale of one head.

    The paper predicts both ways and reports the sum, which needs no group at test time; this row reads the
    group where it is known ("conditional" in its code, princetonvisualai/DomainBiasMitigation,
    `models/*_domain_independent.py`, which for faces has the largest and the sum of probabilities too), which
    is why it stands in the track that reads the attribute at test time. Ours: segmentation instead of
    classification, and heads that start as copies of the backbone's own, so that pretrained heads are of use.
    On SAM a head is the network that turns a class's token into the weights of its output map.
    """

    card = Card(
        title="Domain-independent heads",
        authors="Zeyu Wang, Klint Qinami, Ioannis Christos Karakozis, Kyle Genova, Prem Nair, Kenji Hata, "
        "Olga Russakovsky",
        paper="Towards Fairness in Visual Recognition: Effective Strategies for Bias Mitigation, CVPR 2020",
        url="https://arxiv.org/abs/1911.11834",
        licence="MIT",
    )
    trains_own_model = True
    reads_attribute_at_test = True

    def adapt(self, backbone: Any, groups: Callable[[], Tensor]) -> Any:
        """Put a copy of each head for each group in the head's place."""
        for name in backbone.heads:
            heads = _ByGroup(backbone.get_submodule(name), self.task.n_groups, groups)
            backbone.set_submodule(name, heads)
        return backbone

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the recipe's loss: each sample's logits are those of its own group's head."""
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)


class _ByGroup(nn.Module):
    """Copies of a head, of which each sample gets its own group's; one of unknown group their mean."""

    def __init__(self, head: nn.Module, count: int, groups: Callable[[], Tensor]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(copy.deepcopy(head) for _ in range(count))
        self.groups = groups

    def forward(self, z: Tensor) -> Tensor:
        """Return float [B, ...], what each sample's head makes of z: float [B, ...]."""
        made = torch.stack([head(z) for head in self.heads], 1)
        return mixed(made, shares_of(self.groups(), len(self.heads)))
