"""Segmentation networks: one file a network."""

from __future__ import annotations

from pathlib import Path

from harness.backbones.backbone import Backbone
from harness.errors import HarnessError, did_you_mean
from harness.protocol import BackboneSpec

__all__ = ["NAMES", "Backbone", "build", "check_name"]

NAMES = ("mobile-sam", "sam", "unet")


def build(spec: BackboneSpec, n_classes: int, size: int, weights: Path | None) -> Backbone:
    """Return the network of a protocol's `[backbone]`.

    `weights` is the checkpoint that `harness.backbones.weights.required` names, or None; what it does not
    hold is drawn from torch's global generator, which the caller seeds. Logits have `n_classes`
    channels, images are `size` pixels on each side. Raises HarnessError for an unknown name, and
    for a variant, size or adaptation that the network does not have.
    """
    if spec.name == "mobile-sam":
        from harness.backbones import mobile_sam

        return mobile_sam.build(spec, n_classes, size, weights)
    if spec.name == "sam":
        from harness.backbones import sam

        return sam.build(spec, n_classes, size, weights)
    if spec.name == "unet":
        from harness.backbones import unet

        return unet.build(spec, n_classes)
    raise _unknown(spec.name)


def check_name(spec: BackboneSpec) -> None:
    """Raise HarnessError unless there is such a backbone."""
    if spec.name not in NAMES:
        raise _unknown(spec.name)


def _unknown(name: str) -> HarnessError:
    return HarnessError(f"backbone.name: there is no backbone '{name}'.{did_you_mean(name, NAMES)}")
