"""MobileSAM's image encoder in fewer operations: folded norms, no padding of windows, on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d
from timm.models import tiny_vit
from torch import Tensor, nn

from harness.backbones.lora import LoRAQKV
from harness.backbones.plain import is_plain

_KNOWN = (
    *(tiny_vit.TinyVit, tiny_vit.ConvLayer, tiny_vit.TinyVitStage, tiny_vit.TinyVitBlock, tiny_vit.NormMlp),
    *(tiny_vit.PatchEmbed, tiny_vit.PatchMerging, tiny_vit.MBConv, tiny_vit.ConvNorm, LayerNorm2d, LoRAQKV),
    *(nn.Conv2d, nn.BatchNorm2d, nn.LayerNorm, nn.Linear, nn.GELU, nn.Identity, nn.Dropout),
    *(nn.Sequential, nn.ModuleDict),
)


def is_short(vit: Any, neck: nn.Module, attention: type[nn.Module], device: torch.device) -> bool:
    """Tell whether `encode` gives what `vit` and `neck` do, in fewer operations.

    On a GPU, in bfloat16, with a graph, in training, and where a method has put modules of its own into it
    or listens to one, it does not. attention: the class of the blocks' attention.
    """
    if device.type != "cpu" or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or vit.training:
        return False
    return all(is_plain(one, (*_KNOWN, attention)) for one in (*vit.modules(), *neck.modules()))


def encode(vit: Any, neck: Any, images: Tensor) -> Tensor:
    """Return what the neck makes of TinyViT's features: [B, 256, S / 16, S / 16] of images [B, 3, S, S].

    Maps lie pixel by pixel, [B, H, W, C], so that a convolution of one pixel is a matrix product. The numbers
    are timm's to rounding.
    """
    first, stages = vit.patch_embed, list(vit.stages)
    x = _convolve(first.conv2, F.gelu(_convolve(first.conv1, images.permute(0, 2, 3, 1))))
    for block in stages[0].blocks:
        x = F.gelu(_bottleneck(block, x) + x)
    for stage in stages[1:]:
        x = _bottleneck(stage.downsample, x)
        for block in stage.blocks:
            x = _convolve(block.local_conv, x + _attend(block.attn, x, block.window_size))
            x = x + block.mlp(x)
    narrow, norm, mix, last = neck
    x = _norm(norm, F.linear(x, narrow.weight.flatten(1)))
    return _norm(last, mix(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _bottleneck(block: Any, x: Tensor) -> Tensor:
    return _convolve(block.conv3, F.gelu(_convolve(block.conv2, F.gelu(_convolve(block.conv1, x)))))


def _convolve(layer: Any, x: Tensor) -> Tensor:
    """Return what a convolution and its batch norm, folded into one, make of [B, H, W, C]."""
    conv, norm = layer.conv, layer.bn
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight, bias = conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
    if conv.kernel_size == (1, 1):
        return F.linear(x, weight.flatten(1), bias)
    made = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, conv.stride, conv.padding, 1, conv.groups)
    return made.permute(0, 2, 3, 1)


def _norm(norm: LayerNorm2d, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps)


def _attend(attention: Any, x: Tensor, window: int) -> Tensor:
    """Return what the pixels of [B, H, W, C] find in windows of so many rows and columns.

    Where a side is no multiple of the window, timm pads the map with zeros, half or two thirds of all tokens
    on small images. Their keys and values are one constant, and nobody asks what they find: a window that
    hangs over takes part with the pixels it has and one token more, whose bias is the logarithm of the sum of
    the padding's exponential ones.
    """
    batch, height, width, _ = x.shape
    heads, size = attention.num_heads, attention.key_dim
    made = attention.qkv(attention.norm(x)).unflatten(3, (heads, 3 * size))
    # The layer norm of a zero is its bias.
    padding = attention.qkv(attention.norm.bias).view(heads, 1, 3 * size)
    bias = attention.get_attention_biases(x.device)[0]
    found = made.new_empty(batch, height, width, heads, size)
    for top, down, rows in _bands(height, window):
        for left, along, columns in _bands(width, window):
            part = _windows(made, top, down, rows, left, along, columns)
            tokens = part.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, heads, rows * columns, 3 * size)
            query, others, mask = tokens[..., :size], tokens[..., size:], bias
            if rows * columns < window**2:
                others = torch.cat([others, padding[..., size:].expand(len(tokens), -1, -1, -1)], 2)
                mask = _over_the_edge(bias, window, rows, columns)
            key, value = others.split(size, -1)
            seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[None])
            seen = seen.view(batch, down, along, heads, rows, columns, size).permute(0, 1, 4, 2, 5, 3, 6)
            _windows(found, top, down, rows, left, along, columns).copy_(seen)
    return attention.proj(found.flatten(3))  # type: ignore[no-any-return]


def _bands(side: int, window: int) -> list[tuple[int, int, int]]:
    """Return where windows begin, how many there are and how long: whole ones, and one that hangs over."""
    whole, rest = divmod(side, window)
    bands = [(0, whole, window), (whole * window, 1, rest)]
    return [(start, count, length) for start, count, length in bands if count * length]


def _windows(x: Tensor, top: int, down: int, rows: int, left: int, along: int, columns: int) -> Tensor:
    """Return `down` times `along` windows of [B, H, W, heads, C]: a view, [B, d, r, a, c, heads, C]."""
    part: Any = x[:, top : top + down * rows, left : left + along * columns]
    windows: Tensor = part.unflatten(1, (down, rows)).unflatten(3, (along, columns))
    return windows


def _over_the_edge(bias: Tensor, window: int, rows: int, columns: int) -> Tensor:
    """Return the biases of a window's pixels, and of all that is beyond them as one: [heads, N, N + 1]."""
    inside = torch.zeros(window, window, dtype=torch.bool)
    inside[:rows, :columns] = True
    inside = inside.flatten()
    own = bias[:, inside]
    return torch.cat([own[:, :, inside], own[:, :, ~inside].logsumexp(-1, keepdim=True)], -1)
