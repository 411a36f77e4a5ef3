"""Segment Anything's mask decoder in fewer operations: a few tokens look at many pixels, on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock, TwoWayTransformer
from torch import Tensor, nn

from harness.backbones.plain import is_plain

_KNOWN = (
    *(TwoWayTransformer, TwoWayAttentionBlock, Attention, LayerNorm2d),
    *(nn.Linear, nn.ConvTranspose2d, nn.GELU, nn.Sequential),
)


def is_short(transformer: Any, tokens: int, device: torch.device) -> bool:
    """Tell whether `transform` is `transformer` in fewer operations.

    On a GPU, for many tokens, and where a method has put modules of its own into it, it is not.
    """
    layers = list(transformer.layers)
    found = [transformer.final_attn_token_to_image]
    for layer in layers:
        found += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    parts = [transformer, *layers, *found]
    parts += [part for one in found for part in (one.q_proj, one.k_proj, one.v_proj, one.out_proj)]
    return (
        _is_tried(device)
        and all(is_plain(part, _KNOWN) for part in parts)
        and all(tokens * one.num_heads < one.internal_dim for one in found)
    )


def transform(
    transformer: Any, image: Tensor, added: Tensor, position: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what SAM's two-way transformer makes of all tokens but the first and of pixels, [B, N, C].

    The first, of a mask's quality, is made nothing of: it is only looked at by the others.

    image: [B, C, N]; added: [C], to every pixel; position: [1, C, N]; tokens: [B, T, C].

    With x_n a pixel and W_q, W_k, W_v, W_o the projections of a head, the score of token t at a pixel is
    `(W_q t) . (W_k x_n) = (W_k^T W_q t) . x_n`, and what t gathers `W_v sum_n a_n x_n`, as the weights a_n
    add up to one: no pixel is projected to keys or values. The other way round a pixel's query and output
    are products with the tokens' `W_q^T k_t` and `W_o v_t`. A product over pixels is then H T wide (32 of
    four tokens and eight heads) in place of 128 or 256. The numbers are SAM's to rounding.
    """
    queries, pixels = tokens, image.transpose(1, 2)
    extra: Tensor | None = added
    for layer in transformer.layers:
        keys = (pixels + position.transpose(1, 2)) if extra is None else (image + position).transpose(1, 2)
        queries = layer.norm1(_among_themselves(layer, queries, tokens))
        found = _gather(layer.cross_attn_token_to_image, queries + tokens, keys, pixels, extra)
        queries = layer.norm2(queries + found)
        queries = layer.norm3(queries + layer.mlp(queries))
        given = _spread(layer.cross_attn_image_to_token, keys, queries + tokens, queries, pixels, extra)
        pixels, extra = layer.norm4(given), None
    keys, queries, tokens = pixels + position.transpose(1, 2), queries[:, 1:], tokens[:, 1:]
    found = _gather(transformer.final_attn_token_to_image, queries + tokens, keys, pixels, extra)
    return transformer.norm_final_attn(queries + found), pixels


def weigh_upscaled(upscaling: nn.Module, pixels: Tensor, heads: Tensor, height: int) -> Tensor | None:
    """Return the logits that heads, [B, K, w], make of upscaled pixels, [B, N, C]: [B, K, 4 h, 4 w].

    A transposed convolution whose kernel is as wide as its stride makes of each pixel four, whatever lies
    beside it: it is a matrix product, and the pixels need to find their places only once they are logits.
    None where the upscaling is not SAM's own, and on a GPU.
    """
    parts: list[Any] = list(upscaling.children())
    kinds = [nn.ConvTranspose2d, LayerNorm2d, nn.GELU, nn.ConvTranspose2d, nn.GELU]
    as_made = [type(one) for one in parts] == kinds and all(
        is_plain(one, _KNOWN) for one in (upscaling, *parts)
    )
    if not as_made or not _is_tried(pixels.device):
        return None
    first, norm, gelu, second, gelu_again = parts
    grown = _four(first, pixels.flatten(0, 1))
    grown = gelu(F.layer_norm(grown, grown.shape[-1:], norm.weight, norm.bias, norm.eps))
    grown = gelu_again(_four(second, grown)).view(len(pixels), -1, heads.shape[2])
    logits: Any = _Product.apply(heads, grown, *_orders(height, pixels.shape[1] // height))
    return logits.unflatten(2, (4 * height, -1))  # type: ignore[no-any-return]


class _Product(torch.autograd.Function):
    """`heads @ pixels.mT` in the order given, [B, K, N]; back: the one that undoes it.

    The gradient at the pixels lies pixel by pixel, as GELU's backward reads it.
    """

    @staticmethod
    def forward(ctx: Any, heads: Tensor, pixels: Tensor, order: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(heads, pixels, back)
        return _ordered(heads @ pixels.mT, order)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        heads, pixels, back = ctx.saved_tensors
        gradient = _ordered(gradient, back)
        # Under autocast the product was made in bfloat16, of whatever came.
        made = gradient @ pixels.to(gradient.dtype), gradient.mT @ heads.to(gradient.dtype)
        return made[0].to(heads.dtype), made[1].to(pixels.dtype), None, None


def _ordered(x: Tensor, order: Tensor) -> Tensor:
    """Return [B, K, N] in an order, int64 [N]: row by row an eighth of what a permutation in pairs takes."""
    return x.flatten(0, 1).index_select(1, order).view(x.shape)


def _orders(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return where pixels that were made four of twice, one after the other, belong, and the way back."""
    places = torch.arange(16 * height * width)
    order = places.view(height, width, 2, 2, 2, 2).permute(0, 2, 4, 1, 3, 5).flatten()
    return order, places.view(height, 2, 2, width, 2, 2).permute(0, 3, 1, 4, 2, 5).flatten()


def _among_themselves(layer: Any, queries: Tensor, tokens: Tensor) -> Tensor:
    if layer.skip_first_layer_pe:
        return layer.self_attn(q=queries, k=queries, v=queries)  # type: ignore[no-any-return]
    placed = queries + tokens
    return queries + layer.self_attn(q=placed, k=placed, v=queries)  # type: ignore[no-any-return]


def _gather(attention: Any, tokens: Tensor, keys: Tensor, values: Tensor, added: Tensor | None) -> Tensor:
    """Return what tokens, [B, T, C], find in pixels, [B, N, C], to which something is added: [B, T, C]."""
    batch, count, _ = tokens.shape
    wanted = _by_head(attention, attention.q_proj(tokens))
    scores = _scores(attention, wanted, attention.k_proj, keys, added)
    found = (scores.softmax(-1) @ values).unflatten(1, (attention.num_heads, -1))
    if added is not None:
        found = found + added
    own = found.transpose(0, 1).flatten(1, 2) @ _rows(attention, attention.v_proj).transpose(1, 2)
    own = own.unflatten(1, (batch, count)).permute(1, 2, 0, 3).flatten(2)
    return attention.out_proj(own + attention.v_proj.bias)  # type: ignore[no-any-return]


def _spread(
    attention: Any, placed: Tensor, keys: Tensor, values: Tensor, pixels: Tensor, added: Tensor | None
) -> Tensor:
    """Return pixels, [B, N, C], with what is added to them and what they find in tokens.

    placed: the pixels with their positions, whose queries are made of them.
    """
    offered = _by_head(attention, attention.k_proj(keys))
    scores = _scores(attention, offered, attention.q_proj, placed, added)
    # Pixels last, so that a softmax over four tokens runs along many pixels at a time.
    shares = scores.unflatten(1, (attention.num_heads, -1)).softmax(2).flatten(1, 2)
    columns = attention.out_proj.weight.unflatten(1, (attention.num_heads, -1)).permute(1, 2, 0)
    given = _of_samples(_heads(attention, attention.v_proj(values)) @ columns, len(pixels))
    bias = attention.out_proj.bias if added is None else attention.out_proj.bias + added
    # A pixel's shares of a head's tokens add up to one, so that the tokens can carry what every pixel gets.
    return torch.baddbmm(pixels, shares.transpose(1, 2), given + bias / attention.num_heads)


def _scores(
    attention: Any, tokens: Tensor, project: nn.Linear, pixels: Tensor, added: Tensor | None
) -> Tensor:
    """Return the products of tokens, [H, B T, d], with projected pixels, [B, N, C]: [B, H T, N]."""
    rows = _rows(attention, project)
    wanted = _of_samples(tokens @ rows, len(pixels))
    shift = project.bias.view(attention.num_heads, -1, 1)
    if added is not None:
        shift = shift + (rows @ added).unsqueeze(2)
    return torch.baddbmm(_of_samples(tokens @ shift, len(pixels)), wanted, pixels.transpose(1, 2))


def _by_head(attention: Any, projected: Tensor) -> Tensor:
    """Return projected tokens as `_heads` does, divided by the root of their width."""
    return _heads(attention, projected * (attention.internal_dim // attention.num_heads) ** -0.5)


def _heads(attention: Any, projected: Tensor) -> Tensor:
    """Return projected tokens, [B, T, H d], head by head: [H, B T, d]."""
    apart: Tensor = projected.unflatten(2, (attention.num_heads, -1))
    return apart.permute(2, 0, 1, 3).flatten(1, 2)


def _rows(attention: Any, project: nn.Linear) -> Tensor:
    """Return a projection's weights head by head: [H, d, C]."""
    rows: Tensor = project.weight.unflatten(0, (attention.num_heads, -1))
    return rows


def _of_samples(x: Tensor, batch: int) -> Tensor:
    """Return [H, B T, c] sample by sample: [B, H T, c]."""
    apart: Tensor = x.unflatten(1, (batch, -1))
    return apart.transpose(0, 1).flatten(1, 2)


def _four(upscale: nn.ConvTranspose2d, pixels: Tensor) -> Tensor:
    """Return the four pixels that each of [M, C] becomes, one after the other: [4 M, c]."""
    weight, bias = upscale.weight, upscale.bias
    assert bias is not None
    columns = weight.permute(0, 2, 3, 1).flatten(1)
    return torch.addmm(bias.repeat(4), pixels, columns).view(-1, weight.shape[1])


def _is_tried(device: torch.device) -> bool:
    return device.type == "cpu"
