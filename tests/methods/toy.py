"""A network of two convolutions, for methods that put layers of their own into one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Toy(nn.Module):
    """Images [B, 3, h, w] to one map [B, 4, h, w]; features [B, 4] and logits [B, 3, h, w] of it."""

    n_features = width = 4
    deepest = -1
    heads = ("head",)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 3, 1)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        return (self.norm(self.first(images)),)

    def decode(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return self.head(maps[0]), maps[0].mean((2, 3))
