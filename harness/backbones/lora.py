"""Low-rank adapters on the queries and values of an attention layer, as SAMed places them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class LoRAQKV(nn.Module):
    """A fixed joint projection to queries, keys and values, plus a trained low-rank change of q and v.

    Hu et al., ICLR 2022; on q and v of every block as in SAMed (Zhang and Liu, 2023). The outputs
    of `base` are laid out as `heads` groups of (q, k, v); one group where all queries come first.
    The change is zero at the start.
    """

    def __init__(self, base: nn.Linear, heads: int, rank: int) -> None:
        super().__init__()
        self.base = base
        self.heads = heads
        width = base.out_features // 3
        down = {name: nn.Linear(base.in_features, rank, bias=False) for name in "qv"}
        up = {name: nn.Linear(rank, width, bias=False) for name in "qv"}
        for name in "qv":
            nn.init.kaiming_uniform_(down[name].weight, a=math.sqrt(5))
            nn.init.zeros_(up[name].weight)
        self.down, self.up = nn.ModuleDict(down), nn.ModuleDict(up)

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., 3 * width] in the layout of `base`."""
        fixed: Tensor = self.base(x)
        q, v = (self.up[name](self.down[name](x)).unflatten(-1, (self.heads, -1)) for name in "qv")
        return fixed + torch.cat([q, torch.zeros_like(q), v], -1).flatten(-2)
