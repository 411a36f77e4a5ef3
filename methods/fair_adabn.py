"""Batch normalisation with statistics and weights of each group's own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import combinations
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from harness import Batch, Card, Method, Output, Range, Task, segmentation_loss
from methods._groups import mixed, shares_of


class FairAdaBN(Method):
    """Give every normalisation that is trained a copy for each group (Xu et al., MICCAI 2023).

    A sample goes through the copy of its group: where that is batch normalisation, the mean and variance are
    those of the group's samples in the batch, the running ones are the group's, and so are scale and shift.
    A sample of unknown group gets the mean of what the groups' copies make of it, with their running
    statistics, and enters none of these. The loss is the recipe's plus `alpha L_SD`, the squared difference
    of how much of each class two groups are predicted to have, `sum_c (P_a(c) - P_b(c))^2`, mean over the
    pairs of groups in the batch.

    The sources disagree on `L_SD`: the paper takes it of the predictions, and the authors' code of their
    argmax (XuZikang/FairAdaBN, `main.py`), through which no gradient comes, so that there it changes nothing.
    We follow the paper, with `P_a(c)` the mean probability of class c over the pixels of group a's samples.
    Their code also draws both groups equally often and adds the groups' mean losses, which both weigh a rare
    group more; here sampler and loss are the protocol's. Their network's first normalisation is shared by the
    groups; here every one that is trained is copied. Theirs is a classifier of two groups. Ours is what
    happens where the trained part of a network has no batch normalisation (SAM): its layer normalisations,
    which have no statistics of a batch, get scale and shift by group. Like batch normalisation itself it
    cannot be trained in slices.

    Parameters
    ----------
    alpha : weight of the disparity; the paper's 1.
    """

    card = Card(
        title="FairAdaBN",
        authors="Zikang Xu, Shang Zhao, Quan Quan, Qingsong Yao, S. Kevin Zhou",
        paper="FairAdaBN: Mitigating Unfairness with Adaptive Batch Normalization and Its Application to "
        "Dermatological Disease Classification, MICCAI 2023",
        url="https://arxiv.org/abs/2303.08325",
        licence="MIT",
    )
    trains_own_model = True
    reads_attribute_at_test = True
    controls: ClassVar = {"alpha 0": {"alpha": 0.0}}
    search: ClassVar = {"alpha": Range(0.01, 10.0, log=True)}

    def __init__(self, task: Task, alpha: float = 1.0) -> None:
        super().__init__(task)
        self.alpha = alpha

    def adapt(self, backbone: Any, groups: Callable[[], Tensor]) -> Any:
        """Put copies by group in the place of each normalisation that is trained."""
        found = [(name, module) for name, module in backbone.named_modules() if _is_trained(module)]
        if not found:
            raise ValueError("no normalisation of this backbone is trained, so there is none to adapt")
        for name, module in found:
            backbone.set_submodule(name, _ByGroup(module, self.task.n_groups, groups))
        return backbone

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Return the recipe's loss plus the disparity between the groups of the batch."""
        loss = segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
        return loss + self.alpha * disparity(output.logits.softmax(1), batch.groups)


def disparity(probabilities: Tensor, groups: Tensor) -> Tensor:
    """Return the mean over pairs of groups of `sum_c (P_a(c) - P_b(c))^2`, 0 where there is no pair.

    probabilities: float [B, C, h, w]; groups: int64 [B], -1 is unknown and left out.
    """
    shares = probabilities.mean((2, 3))
    present = groups[groups >= 0].unique()
    means = [shares[groups == group].mean(0) for group in present]
    pairs = [(one - other).square().sum() for one, other in combinations(means, 2)]
    return torch.stack(pairs).mean() if pairs else probabilities.new_zeros(())


def _is_trained(module: nn.Module) -> bool:
    """Tell whether a module is a normalisation, by torch's class or by name, whose weights are trained."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)
    named = isinstance(module, kinds) or type(module).__name__.startswith(("LayerNorm", "BatchNorm"))
    return named and any(weight.requires_grad for weight in module.parameters(recurse=False))


class _ByGroup(nn.Module):
    """Copies of a normalisation, one a group."""

    def __init__(self, norm: nn.Module, count: int, groups: Callable[[], Tensor]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(copy.deepcopy(norm) for _ in range(count))
        self.groups = groups
        self.of_batches = hasattr(norm, "running_mean")

    def forward(self, x: Tensor) -> Tensor:
        """Return x, float [n B, ...] with n rows of a sample beside each other, normalised by group."""
        codes = self.groups()
        # Attention in windows has made several rows of each sample.
        codes = codes.repeat_interleave(len(x) // len(codes))
        if not (self.of_batches and self.training):
            return mixed(torch.stack([norm(x) for norm in self.norms], 1), shares_of(codes, len(self.norms)))
        made = torch.empty_like(x)
        for group, norm in enumerate(self.norms):
            rows = codes == group
            if rows.any():
                made[rows] = _normalised(norm, x[rows]).to(made.dtype)
        unknown = codes < 0
        if unknown.any():
            told = [_as_predicting(norm, x[unknown]) for norm in self.norms]
            made[unknown] = torch.stack(told).mean(0).to(made.dtype)
        return made


def _normalised(norm: nn.Module, x: Tensor) -> Tensor:
    """Return x by its own statistics, or by the running ones where it has one value a channel."""
    made: Tensor = norm(x) if x.numel() > x.shape[1] else _as_predicting(norm, x)
    return made


def _as_predicting(norm: nn.Module, x: Tensor) -> Tensor:
    norm.eval()
    made: Tensor = norm(x)
    norm.train()
    return made
