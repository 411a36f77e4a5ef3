"""The running mean of a training's weights, step by step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


@torch.no_grad()
def include(average: dict[str, Tensor], taken: int, weights: Mapping[str, Tensor]) -> None:
    """Make a mean of `taken - 1` states one of `taken`, in place; counts are the last one's."""
    for name, value in weights.items():
        if taken == 1 or not value.is_floating_point():
            average[name] = value.detach().clone()
        else:
            average[name].add_((value - average[name]) / taken)
