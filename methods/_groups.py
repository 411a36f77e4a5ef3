"""What the methods that read the group at test time share: each sample its own group's part, or the mean."""

from __future__ import annotations

import torch
from torch import Tensor


def shares_of(groups: Tensor, count: int) -> Tensor:
    """Return what share each group's part has in a sample: float [B, G], 1 for its own, 1 / G if unknown.

    groups: int64 [B], -1 is unknown.
    """
    own = torch.arange(count, device=groups.device) == groups[:, None]
    return torch.where(groups[:, None] >= 0, own.float(), 1 / count)


def mixed(made: Tensor, shares: Tensor) -> Tensor:
    """Return the groups' parts of each sample, float [B, G, ...], by their shares, float [B, G]: [B, ...].

    Times 1 and 0 alone where the group is known: to the bit what its part is.
    """
    weights = shares.to(made.dtype).reshape(*shares.shape, *[1] * (made.ndim - 2))
    return (made * weights).sum(1)
