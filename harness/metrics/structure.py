"""Every score of one structure in one pass over its two masks."""

from __future__ import annotations

import numpy as np

from harness.metrics.overlap import overlap
from harness.metrics.surface import surfaces


def score_structure(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float | bool]:
    """Return dice, iou, hd95, hd95_max, asd, nsd (2 pixels) and missed of two masks, bool [H, W].

    The boundaries are found and measured once. Raises HarnessError where the shapes differ.
    """
    common, union = overlap(prediction, truth)
    distances = surfaces(prediction, truth)
    return {
        "dice": 2 * common / (common + union) if union else 1.0,
        "iou": common / union if union else 1.0,
        "hd95": distances.hd95,
        "hd95_max": distances.hd95_max,
        "asd": distances.asd,
        "nsd": distances.nsd(),
        "missed": distances.far > 0,
    }
