"""Adversarial training: features from which an adversary cannot tell the group."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss


class ADV(Method):
    """Learn to segment while an adversary fails to read the group (Madras et al., ICML 2018).

    A two-layer adversary predicts the group from the pooled features; its gradient is reversed and scaled by
    `strength` on its way into the backbone. As in their equation (6), every group counts the same in the
    adversary's loss, however rare it is. We use cross-entropy where they take an L1 distance for two groups,
    because attributes here have more than two. Samples of unknown group do not reach the adversary.

    The authors' code (VectorInstitute/laftr, `src/codebase/models.py`, "WeightedDemParWassGan") weighs by the
    inverse of a group's share of the training set, ours by that of its share of the batch. It takes turns, an
    Adam step of the encoder and one of the adversary; here one step moves both against each other. Its
    adversary has 8 hidden units on Adult, and its weight is 0.1 to 4. FairSeg names this baseline but has not
    released code for it, so these defaults are ours.

    Parameters
    ----------
    strength : weight of the reversed gradient against the segmentation loss's.
    learning_rate : of the adversary itself.
    width : units of its hidden layer.
    """

    card = Card(
        title="Adversarial training",
        authors="David Madras, Elliot Creager, Toniann Pitassi, Richard Zemel",
        paper="Learning Adversarially Fair and Transferable Representations, ICML 2018",
        url="https://arxiv.org/abs/1802.06309",
        licence="MIT",
    )
    search: ClassVar = {"strength": Range(0.01, 1.0, log=True), "learning_rate": Range(1e-4, 1e-2, log=True)}

    def __init__(
        self, task: Task, strength: float = 0.1, learning_rate: float = 1e-3, width: int = 128
    ) -> None:
        super().__init__(task)
        self.strength = strength
        self.learning_rate = learning_rate
        self.adversary = nn.Sequential(
            nn.Linear(task.n_features, width), nn.ReLU(), nn.Linear(width, task.n_groups)
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the adversary's weights with their own learning rate."""
        return [{"params": list(self.adversary.parameters()), "lr": self.learning_rate}]

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the segmentation loss plus the adversary's, reversed towards the backbone."""
        segmentation = segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
        present = batch.by_group()
        if not present:
            return segmentation
        guesses = self.adversary(reverse_gradient(output.features, self.strength))
        return segmentation + balanced_cross_entropy(guesses, batch.groups, list(present.values()))


def reverse_gradient(features: Tensor, strength: float) -> Tensor:
    """Return the features unchanged; their gradient comes back times `-strength`."""
    return (1 + strength) * features.detach() - strength * features


def balanced_cross_entropy(logits: Tensor, groups: Tensor, rows: list[Tensor]) -> Tensor:
    """Return the mean over the groups present of each group's mean cross-entropy.

    logits: float [B, G]; groups: int64 [B] in 0..G-1, or -1 for who is not looked at; rows: of the samples of
    each group, int64 [K].
    """
    losses = F.cross_entropy(logits, groups, ignore_index=-1, reduction="none")
    return torch.stack([losses[own].mean() for own in rows]).mean()
