"""Augmentation: the same random turn, flip or rotation of an image and its mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.training.upload import upload

VARIANTS = {"none": 1, "flip": 2, "dihedral": 8, "fairseg": 8}
"""Augmentation to the number of dihedral variants it draws from."""


def dihedral(maps: Tensor, variant: int) -> Tensor:
    """Return maps [..., H, W] under one of the eight symmetries of the square.

    0 is the identity and 1 the horizontal flip; variant v is the flip where v is odd, then
    v // 2 quarter turns.
    """
    # Flip first, then turn: in this order all eight variants are different symmetries.
    flipped = maps.flip(-1) if variant % 2 else maps
    return torch.rot90(flipped, variant // 2, (-2, -1))


@dataclass(frozen=True)
class Augmentation:
    """What was drawn for a batch. variants: int64 [B]; degrees: float64 [B], counter-clockwise."""

    variants: np.ndarray
    degrees: np.ndarray

    def images(self, images: Tensor) -> Tensor:
        """Return augmented images: float [B, C, S, S]."""
        return self._rotate(_each(images, self.variants))

    def masks(self, masks: Tensor, size: tuple[int, int], corners: bool = False) -> Tensor:
        """Return augmented masks brought to `size` by the nearest pixel: int64 [B, h, w].

        corners: corner pixels stay the corners, as `scipy.ndimage.zoom` of order 0 in the FairSeg scripts.
        """
        turned = _each(masks, self.variants)
        if masks.device.type == "cpu" and not self.degrees.any():
            # Without floats, whose passes are over 16 times the pixels that a quarter of the side leaves.
            return _picked(turned, size, _cornered if corners else _centred)
        turned = self._rotate(turned[:, None].float())
        if corners:
            return _picked(turned[:, 0], size, _cornered)
        # Exact, so that the centre of the pixel decides and a mask does not move by half of one.
        return F.interpolate(turned, size, mode="nearest-exact")[:, 0].long()

    def _rotate(self, maps: Tensor) -> Tensor:
        """Rotate by the nearest pixel (order 0 in the FairSeg scripts); what comes in is 0."""
        turned = np.flatnonzero(self.degrees)
        if len(turned) == 0:
            return maps
        angles = upload(np.deg2rad(self.degrees[turned]), maps.device).to(maps.dtype)
        cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
        matrices = torch.stack([cos, -sin, zero, sin, cos, zero], 1).reshape(-1, 2, 3)
        index = upload(turned, maps.device)
        grid = F.affine_grid(matrices, [len(turned), *maps.shape[1:]], align_corners=False)
        return maps.index_copy(
            0, index, F.grid_sample(maps[index], grid, mode="nearest", align_corners=False)
        )


def draw(
    kind: Literal["none", "flip", "dihedral", "fairseg"], size: int, rng: np.random.Generator
) -> Augmentation:
    """Draw the augmentation of a batch.

    "flip" mirrors half of the samples (a left eye is a mirrored right eye), "dihedral" draws
    from the eight symmetries. "fairseg" is that of the FairSeg, SAMed and TransUNet scripts: with
    probability 1/2 a random number of quarter turns and a flip, else with probability 1/2 a
    rotation by a whole number of degrees in [-20, 20).
    """
    variants = rng.integers(VARIANTS[kind], size=size)
    degrees = np.zeros(size)
    if kind == "fairseg":
        first, second = rng.random((2, size)) < 0.5
        # A quarter turn and a flip, along either axis, is always one of the four mirror images.
        variants = np.where(first, variants | 1, 0)
        degrees = np.where(~first & second, rng.integers(-20, 20, size=size), 0).astype(float)
    return Augmentation(variants, degrees)


def _picked(masks: Tensor, size: tuple[int, int], find: Callable[[int, int], np.ndarray]) -> Tensor:
    """Return of masks [B, H, W] the pixels of each row and column that `find` names: int64 [B, h, w]."""
    sides = zip(masks.shape[1:], size, strict=True)
    rows, columns = (upload(find(*both), masks.device) for both in sides)
    return masks[:, rows][:, :, columns].long()


def _cornered(source: int, target: int) -> np.ndarray:
    """Return the source pixel of each target pixel: int64 [target], the first and the last the ends."""
    places = np.arange(target) * ((source - 1) / max(target - 1, 1))
    nearest: np.ndarray = np.floor(places + 0.5).astype(np.int64)
    return nearest


def _centred(source: int, target: int) -> np.ndarray:
    """Return the source pixel at the centre of each target pixel, as torch finds it: int64 [target]."""
    places = torch.arange(source, dtype=torch.float32)[None, None]
    nearest: np.ndarray = F.interpolate(places, target, mode="nearest-exact")[0, 0].long().numpy()
    return nearest


def _each(maps: Tensor, variants: np.ndarray) -> Tensor:
    """Put every sample under its own variant."""
    if not variants.any():
        return maps
    turned = maps.clone()
    for variant in np.unique(variants):
        rows = upload(np.flatnonzero(variants == variant), maps.device)
        turned[rows] = dihedral(maps[rows], int(variant))
    return turned
