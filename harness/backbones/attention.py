"""Segment Anything's attention as one product: its relative positions ride in the queries and keys."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention
from torch import Tensor, nn

# The fused kernels take heads whose width is a multiple of this.
_WIDTHS = 8


class FusedAttention(nn.Module):
    """The attention of one block of SAM's encoder, without its [N, N] matrix of weights in memory.

    SAM adds to the product of query i and key j two terms, `q_i . R_h[i, row(j)] + q_i . R_w[i, column(j)]`
    (Kirillov et al., ICCV 2023; decomposed relative positions of Li et al., CVPR 2022). Each is the product
    of a vector that belongs to i alone with the indicator of the row, or the column, of j. So with
    `q' = [scale q, q R_h, q R_w]` and `k' = [k, row, column]` the sum of all three is `q' . k'`, and
    softmax(q' k') v is plain attention, for which torch has kernels that keep O(N). The numbers are
    `Attention`'s to rounding, and so are the names of the weights.
    """

    def __init__(self, like: Attention) -> None:
        super().__init__()
        self.num_heads = like.num_heads
        self.scale = like.scale
        self.qkv: nn.Module = like.qkv
        self.proj = like.proj
        self.rel_pos_h = like.rel_pos_h
        self.rel_pos_w = like.rel_pos_w

    def forward(self, x: Tensor) -> Tensor:
        """Return what the tokens x, [B, H, W, C], attend to: [B, H, W, C]."""
        batch, height, width, _ = x.shape
        qkv = self.qkv(x).view(batch, height * width, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        room = v.shape[-1] + height + width
        room += -room % _WIDTHS
        query = _padded(torch.cat([q * self.scale, *self._positions(q, height, width)], -1), room)
        key = torch.cat([k, _places(height, width, room - k.shape[-1], k).expand(*k.shape[:-1], -1)], -1)
        out = F.scaled_dot_product_attention(query, key, _padded(v, room), scale=1.0)[..., : v.shape[-1]]
        return self.proj(out.transpose(1, 2).reshape(batch, height, width, -1))  # type: ignore[no-any-return]

    def _positions(self, q: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return q R_h, [B, heads, N, H], and q R_w, [B, heads, N, W]."""
        grid = q.unflatten(2, (height, width))
        rows, columns = _relative(self.rel_pos_h, height), _relative(self.rel_pos_w, width)
        by_row = torch.einsum("bnhwc,hkc->bnhwk", grid, rows)
        by_column = torch.einsum("bnhwc,wkc->bnhwk", grid, columns)
        return by_row.flatten(2, 3), by_column.flatten(2, 3)


def fuse(encoder: nn.Module) -> None:
    """Replace the attention of every block of SAM's encoder by a `FusedAttention` of the same weights."""
    blocks: Any = encoder.blocks
    for block in blocks:
        block.attn = FusedAttention(block.attn)


def _relative(table: Tensor, side: int) -> Tensor:
    """Return the row of a table, [2 side - 1, C], for each pair of query and key: [side, side, C].

    By an index that is made where the table is: segment_anything's comes from the host, and a GPU waits.
    """
    at = torch.arange(side, device=table.device)
    return table[at[:, None] - at + side - 1]


def _padded(x: Tensor, width: int) -> Tensor:
    return F.pad(x, (0, width - x.shape[-1]))


def _places(height: int, width: int, room: int, like: Tensor) -> Tensor:
    """Return the indicators of each token's row and column, padded: [1, 1, H W, room]."""
    rows = torch.eye(height, dtype=like.dtype, device=like.device).repeat_interleave(width, 0)
    columns = torch.eye(width, dtype=like.dtype, device=like.device).repeat(height, 1)
    return _padded(torch.cat([rows, columns], -1), room)[None, None]
