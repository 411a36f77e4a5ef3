"""Fair identity normalisation: what goes into the heads, moved and scaled group by group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss
from methods._groups import shares_of

_EPSILON = 1e-6


class FIN(Method):
    """Normalise what each head is given by a mean and deviation of the sample's group (Luo et al., TMI 2024).

    With `z` the input of a head, a learned mean `mu_g` and a learned deviation `softplus(sigma_g)` of group g
    for each channel, the head gets `(1 - momentum) (z - mu_g) / (softplus(sigma_g) + 1e-6) + momentum z`. The
    loss is the recipe's. A sample of unknown group gets the mean over the groups of what they would make of
    it.

    Formula and defaults are those of the authors' training script (Harvard-Ophthalmology-AI-Lab/Harvard-GF,
    `train_glaucoma_fair_fin.py`: `--fin_mu 0.01 --fin_sigma 1 --fin_momentum 0.3`; the class itself, in
    `src/modules.py`, has 0.001, 0.1 and 0): both `mu` and `sigma` begin as normal noise of these sizes. Ours:
    they normalise one vector of features before a classifier, here it is the channels of the maps before
    U-Net's last convolution, or, on SAM, the token of each class, with weights of its own.

    Parameters
    ----------
    momentum : share of the input that is let through as it is.
    mu, sigma : standard deviations of the first weights.
    """

    card = Card(
        title="Fair identity normalisation",
        authors="Yan Luo, Yu Tian, Min Shi, Louis R. Pasquale, Lucy Q. Shen, Nazlee Zebardast, Tobias Elze, "
        "Mengyu Wang",
        paper="Harvard Glaucoma Fairness: A Retinal Nerve Disease Dataset for Fairness Learning and Fair "
        "Identity Normalization, IEEE Transactions on Medical Imaging 2024",
        url="https://github.com/Harvard-Ophthalmology-AI-Lab/Harvard-GF",
        licence="MIT",
    )
    trains_own_model = True
    reads_attribute_at_test = True
    search: ClassVar = {"momentum": Range(0.0, 0.9), "sigma": Range(0.05, 1.0, log=True)}

    def __init__(self, task: Task, momentum: float = 0.3, mu: float = 0.01, sigma: float = 1.0) -> None:
        super().__init__(task)
        self.momentum, self.mu, self.sigma = momentum, mu, sigma

    def adapt(self, backbone: Any, groups: Callable[[], Tensor]) -> Any:
        """Put a normalisation before each head."""
        for name in backbone.heads:
            head = backbone.get_submodule(name)
            first = next(weight for weight in head.parameters() if weight.ndim > 1)
            shape = (self.task.n_groups, first.shape[1])
            own = _Normalisation(torch.randn(shape) * self.mu, torch.randn(shape) * self.sigma, groups)
            own.momentum = self.momentum
            backbone.set_submodule(name, nn.Sequential(own, head))
        return backbone

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the recipe's loss."""
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)


class _Normalisation(nn.Module):
    """A mean and a deviation of each group and channel: mu, sigma float [G, D]."""

    momentum = 0.0

    def __init__(self, mu: Tensor, sigma: Tensor, groups: Callable[[], Tensor]) -> None:
        super().__init__()
        self.mu, self.sigma = nn.Parameter(mu), nn.Parameter(sigma)
        self.groups = groups

    def forward(self, z: Tensor) -> Tensor:
        """Return z, float [B, D, ...], normalised by the groups of its samples."""
        gain = 1 / (F.softplus(self.sigma) + _EPSILON)
        shares = shares_of(self.groups(), len(gain)).to(gain.dtype)
        # Linear in z, so the mean over groups of what they make of it is that of their gains and shifts.
        gains, shifts = (
            (shares @ one).reshape(len(z), -1, *[1] * (z.ndim - 2)) for one in (gain, self.mu * gain)
        )
        return (1 - self.momentum) * (z * gains - shifts) + self.momentum * z
