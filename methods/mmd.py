"""Maximum mean discrepancy: features of two groups are to have one distribution."""

from __future__ import annotations

from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss

GAMMAS = (1e-3, 1e-2, 1e-1, 1.0, 1e1)
"""Of the kernels `exp(-gamma d^2)`."""


class MMD(Method):
    """Segment, and pull the groups' feature distributions together (Li et al., CVPR 2018).

    The penalty is the mean, over pairs of groups in the batch, of `mean k(x, x') + mean k(y, y') - 2 mean
    k(x, y)`: the square of the maximum mean discrepancy (Gretton et al., JMLR 2012, equation 5, the biased
    estimate, which a single sample has too). k is a sum of Gaussian kernels, as in DomainBed
    (`algorithms.py`). x and y are the pooled features that the backbone gives, where Li et al. have those of
    an autoencoder with an adversary that we leave out, as DomainBed does.

    The bandwidths are DomainBed's, decades of squared distance so that one of them fits the features of most
    backbones, without its two narrowest (100 and 1,000): of samples that lie as close as these see, the
    gradient is rounding. Its weight is 1 where ours is 0.1, its batches hold every domain equally often, and
    it minimises the mean of the domains' losses; ours are the protocol's batches and its loss. Code of Li et
    al. was not found. Samples of unknown group do not count.

    Parameters
    ----------
    weight : of the penalty against the segmentation loss.
    """

    card = Card(
        title="MMD on features",
        authors="Haoliang Li, Sinno Jialin Pan, Shiqi Wang, Alex C. Kot",
        paper="Domain Generalization with Adversarial Feature Learning, CVPR 2018",
        url="https://openaccess.thecvf.com/content_cvpr_2018/html/Li_Domain_Generalization_With_CVPR_2018_paper.html",
        licence="MIT",
    )
    search: ClassVar = {"weight": Range(0.01, 10.0, log=True)}

    def __init__(self, task: Task, weight: float = 0.1) -> None:
        super().__init__(task)
        self.weight = weight

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the segmentation loss and the weighted discrepancy of the groups."""
        segmentation = segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
        present = batch.by_group().values()
        if len(present) < 2:
            return segmentation
        kernel = kernels(output.features)
        pairs = [discrepancy(kernel, one, other) for one, other in combinations(present, 2)]
        return segmentation + self.weight * torch.stack(pairs).mean()


def kernels(features: Tensor) -> Tensor:
    """Return the sum of the kernels between samples: float [B, B]. features: float [B, D]."""
    squares = (features[:, None] - features[None]).square().sum(-1)
    return torch.stack([(-gamma * squares).exp() for gamma in GAMMAS]).sum(0)


def discrepancy(kernel: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Return the squared discrepancy of two sets of samples: scalar. one, other: int64 [K], rows."""
    return kernel[one][:, one].mean() + kernel[other][:, other].mean() - 2 * kernel[one][:, other].mean()
