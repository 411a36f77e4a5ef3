"""Bring images and masks of any kind and size to one square grid of 8-bit pixels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from harness.errors import HarnessError

Fit = Literal["pad", "crop"]


def check_pair(image: np.ndarray, mask: np.ndarray, image_file: str, mask_file: str) -> None:
    """Raise HarnessError unless image and mask have the same height and width, and some pixels."""
    if image.shape[:2] != mask.shape[:2]:
        raise HarnessError(
            f"{mask_file}: the mask has {_size(mask)} pixels but its image {image_file} has {_size(image)}; "
            "give a mask of the image's own size."
        )
    if 0 in image.shape:
        raise HarnessError(f"{image_file}: the image has no pixels; replace or remove it.")


def square(array: np.ndarray, fit: Fit) -> np.ndarray:
    """Return the array [H, W, ...] as a square: padded with zeros, or cropped around its centre."""
    return pad_square(array) if fit == "pad" else centre_crop(array, min(array.shape[:2]))


def pad_square(array: np.ndarray) -> np.ndarray:
    """Pad [H, W, ...] with zeros on both sides to a square of the longer side."""
    height, width = array.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    margins = [(top, side - height - top), (left, side - width - left)]
    return np.pad(array, margins + [(0, 0)] * (array.ndim - 2))


def centre_crop(array: np.ndarray, side: int) -> np.ndarray:
    """Cut the central [side, side, ...] out of [H, W, ...]."""
    top, left = (array.shape[0] - side) // 2, (array.shape[1] - side) // 2
    return array[top : top + side, left : left + side]


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 [H, H] or [H, H, 3] to uint8 [size, size, 3]: bilinear, antialiased when it shrinks."""
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.shape[0] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 [H, H] to [size, size] by the nearest pixel."""
    if mask.shape[0] == size:
        return mask
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
