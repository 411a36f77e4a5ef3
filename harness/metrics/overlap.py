"""How much of one mask the other covers: Dice, IoU, missed structures, the cup-to-disc ratio."""

from __future__ import annotations

import math

import numpy as np

from harness.errors import HarnessError


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Return the Dice coefficient `2 |P and T| / (|P| + |T|)`, a fraction.

    Both masks are bool [H, W]. Both empty is 1 and one empty is 0: MONAI's default drops the first
    case and the FairSeg scripts score it 0, and a prediction on an empty truth 1; we do not. Raises
    HarnessError where the shapes differ.
    """
    common, union = overlap(prediction, truth)
    return 2 * common / (common + union) if union else 1.0


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Return the intersection over union (Jaccard), a fraction; empty masks as in `dice`."""
    common, union = overlap(prediction, truth)
    return common / union if union else 1.0


def missed(prediction: np.ndarray, truth: np.ndarray) -> bool:
    """Tell whether exactly one of the two masks, bool [H, W], is empty."""
    check_pair(prediction, truth)
    return bool(prediction.any()) != bool(truth.any())


def vertical_cup_disc_ratio(cup: np.ndarray, disc: np.ndarray) -> float:
    """Return the height of the cup over the height of the disc, both bool [H, W].

    A height is the number of rows from the first to the last of the mask. An empty cup in a disc is
    0; without a disc the ratio is NaN.
    """
    check_pair(cup, disc)
    height = _height(disc)
    return _height(cup) / height if height else math.nan


def overlap(prediction: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """Return the number of pixels in both masks and in either."""
    check_pair(prediction, truth)
    common = int(np.count_nonzero(prediction & truth))
    return common, int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth)) - common


def check_pair(prediction: np.ndarray, truth: np.ndarray) -> None:
    """Raise HarnessError unless both are bool masks of one shape, of two dimensions or three."""
    if prediction.ndim not in (2, 3) or prediction.shape != truth.shape:
        raise HarnessError(
            f"A prediction of shape {prediction.shape} cannot be scored against a truth of shape "
            f"{truth.shape}; give two masks of one shape [H, W]."
        )
    if prediction.dtype != bool or truth.dtype != bool:
        raise HarnessError(
            f"Masks of type {prediction.dtype} and {truth.dtype} cannot be scored; give bool masks, "
            "one structure at a time (labels == 1)."
        )


def _height(mask: np.ndarray) -> int:
    rows = np.flatnonzero(mask.any(axis=1))
    return int(rows[-1] - rows[0] + 1) if rows.size else 0
