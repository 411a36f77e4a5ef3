"""Every score of one structure in one pass over its two masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.metrics.overlap import overlap
from harness.metrics.surface import TOLERANCE, Surfaces, surfaces


def score_structure(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float] | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, float | bool]:
    """Return dice, iou, hd95, hd95_max, asd, nsd and missed of two masks, bool [H, W] or [D, H, W].

    Distances and the tolerance of nsd are in pixels, or in the unit of the spacing. The boundaries are found
    and measured once. Raises HarnessError where the shapes differ.
    """
    return scores_of(*overlap(prediction, truth), surfaces(prediction, truth, spacing), tolerance)


def scores_of(
    common: int, union: int, distances: Surfaces, tolerance: float = TOLERANCE
) -> dict[str, float | bool]:
    """Return the scores from what the masks have in common and together, and the distances between them."""
    return {
        "dice": 2 * common / (common + union) if union else 1.0,
        "iou": common / union if union else 1.0,
        "hd95": distances.hd95,
        "hd95_max": distances.hd95_max,
        "asd": distances.asd,
        "nsd": distances.nsd(tolerance),
        "missed": distances.far > 0,
    }
