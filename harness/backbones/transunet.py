"""TransUNet: a ViT-B/16 behind a ResNet-50 with three skips, or alone, under a cascaded up-sampler."""

from __future__ import annotations

import functools
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from timm.layers.norm_act import GroupNormAct
from timm.layers.std_conv import StdConv2d
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones.backbone import Backbone
from harness.errors import HarnessError, did_you_mean

if TYPE_CHECKING:
    from harness.protocol import BackboneSpec

WIDTH, PATCH, HEAD = 768, 16, 512
CHANNELS = (256, 128, 64, 16)
"""Of the up-sampler's four blocks."""
SKIPS = {"r50_b16": (512, 256, 64, 0), "b16": (0, 0, 0, 0)}
"""Variant to the channels of the encoder's map that each block is given beside what comes from below."""

_LAYERS = [3, 4, 9]
_DROPOUT = 0.1


class _Residual(ResNetV2):
    """The first three stages of a ResNet-50 as TransUNet has them, for images of any multiple of 16 pixels.

    timm's holds the same weights; it pads as TensorFlow does ("same"), where TransUNet pads both sides alike,
    pools without padding, and normalises each channel of a projection by itself.
    """

    def __init__(self) -> None:
        super().__init__(
            layers=_LAYERS,
            channels=(256, 512, 1024),
            num_classes=0,
            global_pool="",
            preact=False,
            conv_layer=partial(StdConv2d, eps=1e-5),
            norm_layer=partial(GroupNormAct, num_groups=32, eps=1e-6),
        )
        del self.head
        stages: Any = self.stages
        for stage in stages:
            projection = stage.blocks[0].downsample
            width = projection.conv.out_channels
            projection.norm = nn.GroupNorm(width, width)

    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps at strides 16, 8, 4 and 2, coarsest first.

        Pooling without padding leaves the map of stride 4 a pixel short: zeros make it up in what is skipped,
        and not in what goes on.
        """
        side = images.shape[-1]
        # timm types its submodules as modules, which have no known attributes.
        begin: Any = self.stem
        stem: Tensor = begin.norm(begin.conv(images))
        found, x = [stem], _pooled(stem)
        for stage, stride in zip(self.stages, (4, 8, 16), strict=True):
            x = stage(x)
            short = side // stride - x.shape[-1]
            found.append(F.pad(x, (0, short, 0, short)) if short and stride < PATCH else x)
        return tuple(reversed(found))


def _pooled(x: Tensor) -> Tensor:
    """Return the largest of each 3 x 3 pixels, every second of them, without padding.

    By comparisons: the backward of max pooling has no deterministic CUDA kernel.
    """
    size = (x.shape[-1] - 3) // 2 + 1
    steps = [slice(start, start + 2 * size - 1, 2) for start in range(3)]
    parts = [x[..., rows, columns] for rows in steps for columns in steps]
    return functools.reduce(torch.maximum, parts)


class _Patches(nn.Module):
    """A map as a row of tokens: what timm's transformer begins with."""

    def __init__(self, channels: int, patch: int, size: int, **_: Any) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, WIDTH, patch, patch)
        self.num_patches = (size // PATCH) ** 2

    def forward(self, maps: Tensor) -> Tensor:
        tokens: Tensor = self.proj(maps).flatten(2).transpose(1, 2)
        return tokens


def _transformer(channels: int, patch: int, size: int) -> VisionTransformer:
    """Return ViT-B/16 without a class token, with dropout after the embedding and within the MLPs alone."""

    def embed(**given: Any) -> _Patches:
        return _Patches(channels, patch, size)

    vit = VisionTransformer(
        img_size=size,
        patch_size=PATCH,
        embed_dim=WIDTH,
        depth=12,
        num_heads=12,
        num_classes=0,
        class_token=False,
        global_pool="",
        embed_layer=embed,
        pos_drop_rate=_DROPOUT,
        proj_drop_rate=_DROPOUT,
    )
    for block in vit.blocks:
        attention: Any = block.attn
        attention.proj_drop = nn.Dropout(0.0)
    return vit


def _convolution(given: int, made: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(given, made, 3, padding=1, bias=False), nn.BatchNorm2d(made), nn.ReLU())


class _Block(nn.Module):
    """Twice the side, the skip beside it, two convolutions."""

    def __init__(self, given: int, made: int, skipped: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(_convolution(given + skipped, made), _convolution(made, made))

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = _doubled(x)
        found: Tensor = self.convolutions(x if skip is None else torch.cat([x, skip], 1))
        return found


class TransUNet(Backbone):
    """TransUNet (Chen et al., Transformers Make Strong Encoders, 2021); logits at the input's size.

    Variant `r50_b16` is the paper's: a ResNet-50 whose map of stride 16 is what the transformer reads, and
    whose maps of stride 8, 4 and 2 are skipped to the up-sampler. `b16` is the transformer on patches of 16
    pixels and no skips, the default of the FairSeg scripts. All of it is trained, on images in [0, 1] as the
    scripts do, or brought to [-1, 1] as its weights were trained, by `normalise`.
    """

    n_features = CHANNELS[-1]
    deepest, width = 0, WIDTH
    heads = ("last",)

    def __init__(self, variant: str, n_classes: int, size: int, normalised: bool) -> None:
        super().__init__()
        self._normalised = normalised
        self.skips = SKIPS[variant]
        self.residual = _Residual() if any(self.skips) else None
        self.vit = _transformer(3, PATCH, size) if self.residual is None else _transformer(1024, 1, size)
        self.first = _convolution(WIDTH, HEAD)
        widths = (HEAD, *CHANNELS[:-1])
        self.blocks = nn.ModuleList(map(_Block, widths, CHANNELS, self.skips))
        self.last = nn.Conv2d(CHANNELS[-1], n_classes, 3, padding=1)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the transformer's map [B, 768, S / 16, S / 16] and those of strides 8, 4 and 2, if any."""
        if self._normalised:
            images = 2 * images - 1
        first, *skipped = (images,) if self.residual is None else self.residual.maps(images)
        tokens: Tensor = self.vit.forward_features(first)
        side = images.shape[-1] // PATCH
        return (tokens.transpose(1, 2).unflatten(2, (side, side)), *skipped)

    def decode(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return logits [B, C, S, S] and the last maps before them, averaged: [B, 16]."""
        x, *skipped = maps
        x = self.first(x)
        for block, skip in zip(self.blocks, (*skipped, None, None, None, None), strict=False):
            x = block(x, skip)
        return self.last(x), x.mean((2, 3))


def build(spec: BackboneSpec, n_classes: int, size: int, weights: Path | None) -> TransUNet:
    """Return TransUNet with ImageNet-21k weights in its encoder, or with initial ones where there are none.

    Raises HarnessError for an unknown variant, a size that patches do not divide, and unless all is trained.
    """
    name = spec.variant or "r50_b16"
    if name not in SKIPS:
        raise HarnessError(f"backbone.variant: there is no TransUNet '{name}'.{did_you_mean(name, SKIPS)}")
    if size % PATCH:
        raise HarnessError(
            f"cohort.size {size}: TransUNet needs a multiple of {PATCH}; use {size // PATCH * PATCH}."
        )
    if spec.adapt != "full":
        raise HarnessError(f"backbone.adapt '{spec.adapt}': TransUNet is trained whole; use adapt = 'full'.")
    network = TransUNet(name, n_classes, size, spec.normalise == "pretrained")
    if weights is not None:
        _load(network, torch.load(weights, map_location="cpu", weights_only=True))
    return network


def _load(network: TransUNet, state: dict[str, Tensor]) -> None:
    """Load the encoder's weights from timm's checkpoint of the Google ones, positions brought to this grid.

    The class token and its position go, as in TransUNet, and so does the classifier.
    """
    prefix = "patch_embed.backbone."
    if network.residual is not None:
        found = {key.removeprefix(prefix): one for key, one in state.items() if key.startswith(prefix)}
        network.residual.load_state_dict(found)
    left_out = (prefix, "cls_token", "head.", "pre_logits.")
    own = {key: one for key, one in state.items() if not key.startswith(left_out)}
    own["pos_embed"] = _positions(state["pos_embed"][:, 1:], network.vit.patch_embed.num_patches)
    network.vit.load_state_dict(own)


def _positions(given: Tensor, wanted: int) -> Tensor:
    """Return position embeddings [1, n, 768] on another square grid, corners kept, as the scripts do."""
    if given.shape[1] == wanted:
        return given
    old, new = (round(count**0.5) for count in (given.shape[1], wanted))
    grid = given.transpose(1, 2).unflatten(2, (old, old))
    resized = F.interpolate(grid, (new, new), mode="bilinear", align_corners=True)
    return resized.flatten(2).transpose(1, 2)


def _doubled(x: Tensor) -> Tensor:
    """Return maps at twice the side, corners kept, by matrix products whose backward is deterministic."""
    rows, columns = (_between(side).to(x) for side in x.shape[-2:])
    return rows @ x @ columns.T


def _between(side: int) -> Tensor:
    """Return the matrix [2 * side, side] of linear interpolation between pixels, ends on ends."""
    places = torch.arange(2 * side, dtype=torch.float64) * ((side - 1) / max(2 * side - 1, 1))
    low = places.floor().long().clamp(max=max(side - 2, 0))
    share = places - low
    matrix = torch.zeros(2 * side, side, dtype=torch.float64)
    matrix[torch.arange(2 * side), low] += 1 - share
    matrix[torch.arange(2 * side), (low + 1).clamp(max=side - 1)] += share
    return matrix
