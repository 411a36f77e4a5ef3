"""Bilinear upsampling as two small matrix products, whose backward is deterministic on every device."""

from __future__ import annotations

import torch
from torch import Tensor


def upsample(maps: Tensor, size: int) -> Tensor:
    """Return maps [..., h, w] at [..., size, size], as `F.interpolate(mode="bilinear")` does.

    align_corners is False. The backward of `upsample_bilinear2d` has no deterministic CUDA kernel.
    """
    rows = _weights(maps.shape[-2], size).to(maps)
    columns = _weights(maps.shape[-1], size).to(maps)
    return rows @ maps @ columns.T


def _weights(source: int, target: int) -> Tensor:
    """Return the interpolation matrix [target, source]."""
    centres = ((torch.arange(target, dtype=torch.float64) + 0.5) * source / target - 0.5).clamp(0, source - 1)
    low = centres.floor().long().clamp(max=max(source - 2, 0))
    share = centres - low
    matrix = torch.zeros(target, source, dtype=torch.float64)
    matrix[torch.arange(target), low] += 1 - share
    matrix[torch.arange(target), (low + 1).clamp(max=source - 1)] += share
    return matrix
