"""A block of Segment Anything's encoder in fewer operations: no padding is computed, on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import MLPBlock
from segment_anything.modeling.image_encoder import Block
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from harness.backbones.attention import FusedAttention
from harness.backbones.lora import LoRAQKV
from harness.backbones.plain import is_plain

_KNOWN = (Block, FusedAttention, LoRAQKV, MLPBlock, nn.LayerNorm, nn.Linear, nn.GELU, nn.ModuleDict)

# So many scores are made, used and forgotten within a processor's own cache, and of so many numbers are the
# queries whose windows are filled.
_AT_ONCE = 2**19
_AT_HAND = 2**19


def is_short(block: nn.Module, device: torch.device) -> bool:
    """Tell whether `through` gives what `block` does, in fewer operations.

    On a GPU, and where a method has put modules of its own into it or listens to one, it does not.
    """
    return device.type == "cpu" and all(is_plain(one, _KNOWN) for one in block.modules())


def through(block: Any, x: Tensor) -> Tensor:
    """Return what a block makes of tokens, [B, H, W, C]: the numbers are segment_anything's to rounding.

    Where a side is no multiple of the window, segment_anything pads the tokens with zeros and takes the
    padding through the attention: 784 tokens for 256 at 256 pixels, 1,764 for 1,024 at 512. Nobody asks what
    padding finds, and its keys and values are the bias of their projection.
    """
    attention = block.attn
    sides = (block.window_size,) * 2 if block.window_size else (x.shape[1], x.shape[2])
    bias = getattr(attention.qkv, "base", attention.qkv).bias
    tables = attention.rel_pos_h, attention.rel_pos_w
    # Token by token: the patches' convolution leaves channel by channel, and each sum after it would, too.
    x = x.contiguous()
    made = _project(attention.qkv, block.norm1(x))
    x = x + attention.proj(_Look.apply(made, bias, *tables, attention.num_heads, sides))
    return x + block.mlp(block.norm2(x))  # type: ignore[no-any-return]


def _project(layer: Any, x: Tensor) -> Tensor:
    """Return queries, keys and values, [B, H, W, 3 C]; what adapters change is added in place."""
    if not isinstance(layer, LoRAQKV) or layer.heads > 1 or layer.base.weight.requires_grad:
        return layer(x)  # type: ignore[no-any-return]
    adapters = [part[name].weight for name in "qv" for part in (layer.down, layer.up)]
    return _Adapted.apply(x, layer.base.weight, layer.base.bias, *adapters)  # type: ignore[no-any-return]


class _Adapted(torch.autograd.Function):
    """A fixed projection of x, [..., C], with the low-rank change of its queries and values: [..., 3 C]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, *adapters: Tensor) -> Tensor:
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        with torch.autocast("cpu", enabled=False):
            x, weight, bias = (one.to(kind) for one in (x, weight, bias))
            adapters = tuple(one.to(kind) for one in adapters)
            made = F.linear(x, weight, bias)
            rank, wide = adapters[0].shape
            flat = made.flatten(0, -2)
            narrow = x.flatten(0, -2) @ torch.cat([adapters[0], adapters[2]]).mT
            flat[:, :wide].addmm_(narrow[:, :rank], adapters[1].mT)
            flat[:, -wide:].addmm_(narrow[:, rank:], adapters[3].mT)
        ctx.save_for_backward(x, weight, narrow, *adapters)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, narrow, down_q, up_q, down_v, up_v = ctx.saved_tensors
        rank, wide = down_q.shape
        flat = gradient.flatten(0, -2)
        query, value = flat[:, :wide], flat[:, -wide:]
        slopes = torch.cat([query @ up_q, value @ up_v], 1)
        downs = slopes.mT @ x.flatten(0, -2)
        back = None
        if ctx.needs_input_grad[0]:
            back = (flat @ weight).addmm_(slopes, torch.cat([down_q, down_v])).view(x.shape)
        ups = query.mT @ narrow[:, :rank], value.mT @ narrow[:, rank:]
        return back, None, None, downs[:rank], ups[0], downs[rank:], ups[1]


class _Look(torch.autograd.Function):
    """What tokens find in their windows, [B, H, W, C], of their projections, [B, H, W, 3 C].

    Relative positions ride in queries and keys, see `FusedAttention`. Only the projections are kept for the
    way back, where the scores are made again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        made: Tensor,
        bias: Tensor,
        rows: Tensor,
        columns: Tensor,
        heads: int,
        sides: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(made, bias, rows, columns)
        ctx.heads, ctx.sides = heads, sides
        with torch.autocast("cpu", enabled=False):
            asked = _Asked(made.unflatten(3, (3, heads, -1)), bias, rows, columns)
            found = torch.empty_like(asked.queries)
            for part in _parts(found, sides):
                for some, room in _rooms(asked, part):
                    out = room.value.new_empty(*room.query.shape[:2], asked.wide)
                    for of in room.chunks():
                        shares = (room.query[of] @ room.key[of].mT).softmax(-1)
                        torch.bmm(shares, room.value[of], out=out[of])
                    into = part.of(found[some])
                    into.copy_(out.view(into.shape))
        return found.flatten(3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        made, bias, rows, columns = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):
            asked = _Asked(made.unflatten(3, (3, ctx.heads, -1)), bias, rows, columns)
            slopes = _Slopes(asked)
            for part in _parts(gradient, ctx.sides):
                for some, room in _rooms(asked, part):
                    arrived = part.of(gradient[some].unflatten(3, (ctx.heads, -1)))
                    above = arrived.reshape(len(room.query), -1, asked.wide)
                    to_query, to_key, to_value = map(torch.empty_like, (room.query, room.value, room.value))
                    for of in room.chunks():
                        query, key, value = room.query[of], room.key[of], room.value[of]
                        shares = (query @ key.mT).softmax(-1)
                        torch.bmm(shares.mT, above[of], out=to_value[of])
                        slope = torch.ops.aten._softmax_backward_data(
                            above[of] @ value.mT, shares, -1, shares.dtype
                        )
                        torch.bmm(slope, key, out=to_query[of])
                        torch.bmm(slope.mT, query[..., : asked.wide], out=to_key[of])
                    slopes.put(part, some, to_query, to_key, to_value)
            tables = slopes.tables(len(rows)) if any(ctx.needs_input_grad[2:4]) else (None, None)
            return slopes.made(), slopes.edge.flatten(), *tables, None, None


@dataclass(frozen=True)
class _Part:
    """`down` times `along` windows that begin at a row and a column, of so many rows and columns.

    sides: of a whole window; this one may hang over.
    """

    sides: tuple[int, int]
    top: int
    down: int
    rows: int
    left: int
    along: int
    columns: int

    @property
    def hangs_over(self) -> bool:
        """Tell whether windows have padding."""
        return (self.rows, self.columns) != self.sides

    def inside(self, x: Tensor) -> Tensor:
        """Return what is no padding of whole windows, [..., H, W, c]."""
        return x[..., : self.rows, : self.columns, :]

    def of(self, x: Tensor) -> Tensor:
        """Return the windows of [B, H, W, h, c]: a view, [B, down, along, h, rows, columns, c]."""
        high, wide = self.down * self.rows, self.along * self.columns
        part: Any = x[:, self.top : self.top + high, self.left : self.left + wide]
        windows: Tensor = part.unflatten(2, (self.along, self.columns)).unflatten(1, (self.down, self.rows))
        return windows.permute(0, 1, 3, 5, 2, 4, 6)

    def near(self, far: Tensor) -> tuple[Tensor, Tensor]:
        """Return of products at all distances those with a window's rows, and columns: two views.

        Those of a token one row below lie one place further to the front.
        """
        high, wide = self.sides
        windows = self.of(far)
        *outer, row, column, _ = windows.stride()
        shape, first = windows.shape[:-1], windows.storage_offset() + high - 1
        rows = windows.as_strided((*shape, high), (*outer, row - 1, column, 1), first)
        columns = windows.as_strided((*shape, wide), (*outer, row, column - 1, 1), first + high + wide - 1)
        return rows, columns


class _Asked:
    """Queries, keys and values of a batch, [B, H, W, 3, h, d], and what queries make of all distances.

    bias: [3, h, d], those of padding; queries: scaled; table: [L, d], the rows' distances and then those of
    columns, the most first; far: [B, H, W, h, L].
    """

    def __init__(self, made: Tensor, bias: Tensor, rows: Tensor, columns: Tensor) -> None:
        # Of bfloat16 a tenth of the step is computed in float32: its shares are to add up to one.
        self.made = made.to(rows.dtype)
        self.bias = bias.view(made.shape[3:])
        self.wide = made.shape[-1]
        self.scale = self.wide**-0.5
        self.table = torch.cat([rows.flip(0), columns.flip(0)]) / self.scale
        self.queries = self.made[:, :, :, 0] * self.scale
        self.far = (self.queries.flatten(0, 3) @ self.table.mT).view(*self.queries.shape[:4], -1)


class _Room:
    """Some samples' windows of a part, one after the other.

    query: [G, n, d + R], R the places of a window's rows and columns; key: [G, m, d + R]; value: [G, m, d].
    Keys and values of padding are those of the bias.
    """

    def __init__(self, asked: _Asked, part: _Part, some: slice) -> None:
        size, (high, wide) = asked.wide, part.sides
        queries, near = part.of(asked.queries[some]), part.near(asked.far[some])
        windows, new = queries.shape[:4], queries.new_empty
        query = torch.cat([queries, *near], -1)
        key = new(*windows, high, wide, size + high + wide)
        value = new(*windows, high, wide, size)
        key[..., size : size + high] = torch.eye(high)[:, None]
        key[..., size + high :] = torch.eye(wide)
        for which, room in ((1, key[..., :size]), (2, value)):
            if part.hangs_over:
                room[...] = asked.bias[which][:, None, None]
            part.inside(room).copy_(part.of(asked.made[some, :, :, which]))
        self.query, self.key, self.value = (x.flatten(4, 5).flatten(0, 3) for x in (query, key, value))

    def chunks(self) -> list[slice]:
        """Return slices of the windows whose scores are made at once."""
        few = max(1, _AT_ONCE // (self.query.shape[1] * self.key.shape[1]))
        return [slice(start, start + few) for start in range(0, len(self.query), few)]


class _Slopes:
    """The gradients of what was asked; edge: [3, h, d], that of the bias as far as it is padding's."""

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked
        self._made = torch.empty_like(asked.made)
        self._far = torch.zeros_like(asked.far)
        self.edge = torch.zeros_like(asked.bias)

    def put(self, part: _Part, some: slice, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Put the gradients of some samples' windows, as `_Room` has them, in their places."""
        back, size = self._made[some], self._asked.wide
        rows, columns = part.near(self._far[some])
        shape = rows.shape[:-1]
        places = part.of(back[:, :, :, 0]), rows, columns
        for place, one in zip(places, query.view(*shape, -1).split([size, *part.sides], -1), strict=True):
            place.copy_(one)
        for which, one in ((1, key), (2, value)):
            whole = one.view(*shape[:4], *part.sides, size)
            part.of(back[:, :, :, which]).copy_(part.inside(whole))
            if part.hangs_over:
                self.edge[which] += (whole.sum((4, 5)) - part.inside(whole).sum((4, 5))).sum((0, 1, 2))

    def made(self) -> Tensor:
        """Return that of the projected tokens, [B, H, W, 3 C], once."""
        queries, asked = self._made[:, :, :, 0], self._asked
        queries.add_((self._far.flatten(0, 3) @ asked.table).view(queries.shape)).mul_(asked.scale)
        return self._made.flatten(3)

    def tables(self, rows: int) -> tuple[Tensor, Tensor]:
        """Return those of the relative positions, of so many rows and of the columns."""
        both = self._far.flatten(0, 3).mT @ self._asked.queries.flatten(0, 3) / self._asked.scale
        return both[:rows].flip(0), both[rows:].flip(0)


def _rooms(asked: _Asked, part: _Part) -> Iterator[tuple[slice, _Room]]:
    """Yield samples by as many as fit into a processor's cache, and their windows."""
    few = max(1, _AT_HAND // part.of(asked.queries[:1]).numel())
    for start in range(0, len(asked.made), few):
        some = slice(start, start + few)
        yield some, _Room(asked, part, some)


def _parts(x: Tensor, sides: tuple[int, int]) -> list[_Part]:
    """Return the windows of [B, H, W, ...] by their shapes."""
    down, along = (_bands(x.shape[1 + i], side) for i, side in enumerate(sides))
    return [_Part(sides, *one, *other) for one in down for other in along]


def _bands(side: int, window: int) -> list[tuple[int, int, int]]:
    """Return where windows begin, how many there are and how long: whole ones, and one that hangs over."""
    whole, rest = divmod(side, window)
    bands = [(0, whole, window), (whole * window, 1, rest)]
    return [(start, count, length) for start, count, length in bands if count * length]
