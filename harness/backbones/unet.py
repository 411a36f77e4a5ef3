"""A small U-Net from segmentation_models_pytorch, trained from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import segmentation_models_pytorch as smp
from torch import Tensor

from harness.backbones.backbone import Backbone
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.protocol import BackboneSpec


class UNet(Backbone):
    """U-Net (Ronneberger et al., MICCAI 2015) with a ResNet encoder; logits at the input's size."""

    heads = ("net.segmentation_head",)

    def __init__(self, encoder: str, n_classes: int) -> None:
        super().__init__()
        self.net = smp.Unet(encoder, encoder_weights=None, classes=n_classes)
        self.n_features = self.net.segmentation_head[0].in_channels
        self.width = self.net.encoder.out_channels[-1]

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of every stage, the images among them."""
        return tuple(self.net.encoder(images))

    def decode(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return logits [B, C, S, S] and the last decoder maps, averaged: [B, 16]."""
        last = self.net.decoder(list(maps))
        return self.net.segmentation_head(last), last.mean((2, 3))


def build(spec: BackboneSpec, n_classes: int, size: int, weights: Path | None) -> UNet:
    """Return the U-Net of a protocol. Raises HarnessError unless all of it is trained."""
    if spec.adapt != "full":
        raise HarnessError(
            f"backbone.adapt '{spec.adapt}' needs pretrained weights, and 'unet' starts from none; "
            "use adapt = 'full', or the backbone 'mobile-sam'."
        )
    return UNet(spec.variant or "resnet18", n_classes)
