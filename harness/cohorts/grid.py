"""Bring images and masks of any kind and size to one square grid of 8-bit pixels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from harness.errors import HarnessError

Fit = Literal["pad", "crop"]


def to_image(array: np.ndarray, where: str) -> np.ndarray:
    """Return any image as uint8 [H, W] or [H, W, 3]; alpha, the second or fourth channel, is dropped.

    Raises HarnessError for any other shape, and where `to_uint8` does.
    """
    if array.ndim == 3 and array.shape[2] in (1, 2):
        array = array[..., 0]
    elif array.ndim == 3 and array.shape[2] == 4:
        array = array[..., :3]
    if array.ndim != 2 and array.shape[2:] != (3,):
        raise HarnessError(
            f"{where}: an image has the shape (height, width) or (height, width, 3), this one {array.shape}."
        )
    return to_uint8(array, where)


def to_uint8(image: np.ndarray, where: str) -> np.ndarray:
    """Return an image of any numeric type as uint8, same shape.

    Values within [0, 255] are taken as 8-bit and rounded, floating point within [0, 1] is first
    multiplied by 255, booleans become 0 and 255; anything wider (16-bit, Hounsfield units) is
    stretched from the image's own minimum and maximum to 0 and 255. Raises HarnessError for
    values that are no numbers.
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype == bool:
        return image.astype(np.uint8) * np.uint8(255)
    if not (np.issubdtype(image.dtype, np.integer) or np.issubdtype(image.dtype, np.floating)):
        raise HarnessError(f"{where}: pixels of type {image.dtype} are no image; give numbers.")
    values = image.astype(np.float64)
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise HarnessError(f"{where}: has pixels that are not finite; replace NaN and infinity.")
    if np.issubdtype(image.dtype, np.floating) and low >= 0 and high <= 1:
        values = values * 255
    elif low < 0 or high > 255:
        values = (values - low) * (255 / ((high - low) or 1))
    return np.rint(values).astype(np.uint8)


def to_labels(mask: np.ndarray, where: str) -> np.ndarray:
    """Return a mask as int64 [H, W]; raises HarnessError where a label is not a whole number.

    Colour masks are accepted when their channels agree (a fourth, alpha, is dropped).
    """
    if mask.ndim == 3:
        colour = mask[..., : 1 if mask.shape[2] == 2 else 3]
        if (colour != colour[..., :1]).any():
            raise HarnessError(
                f"{where}: a colour image, not a label mask; save one channel of labels (0, 1, 2 ...)."
            )
        mask = colour[..., 0]
    if mask.ndim != 2:
        raise HarnessError(f"{where}: a mask has height and width, this one has the shape {mask.shape}.")
    with np.errstate(invalid="ignore"):
        labels = mask.astype(np.int64)
    if (labels != mask).any():
        raise HarnessError(
            f"{where}: labels are whole numbers, this mask has others (a soft or resampled mask?)."
        )
    return labels


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
