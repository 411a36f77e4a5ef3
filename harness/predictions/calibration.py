"""Whether probabilities mean what they say: Brier score and expected calibration error of a case."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from harness.predictions.channels import Soft
from harness.protocol import IGNORED

BINS = 10
"""Of equal width, as in Guo et al., ICML 2017."""
CALIBRATION = ("sample", "structure", "brier", "ece", "pixels")
"""Columns of `calibration_of`: pixels: those near the structure that both are over."""
_MARGIN = 0.02


def calibration_of(
    name: str, true: np.ndarray, structures: Mapping[str, tuple[int, ...]], soft: Soft | None
) -> pd.DataFrame:
    """Return a row a structure; columns are `CALIBRATION`; none without probabilities.

    Over the box of the structure and of where it is thought to be (a probability of 0.02 and more): over the
    whole picture, the easy background would make every model calibrated. brier: mean of (p - y)^2 (Brier,
    Mon. Weather Rev. 1950); ece: mean over pixels of |share of the structure - mean p| in ten bins of p.
    """
    rows = []
    if soft is None:
        return pd.DataFrame(columns=list(CALIBRATION))
    for structure, own in soft.of.items():
        there = np.isin(true, structures[structure])
        p = soft.probability[list(own)].sum(axis=0)
        known = true != IGNORED
        near = _box(there | (p > _MARGIN)) & known
        if near.any():
            y, p_near = there[near].astype(float), p[near].astype(float)
            rows.append((name, structure, float(((p_near - y) ** 2).mean()), ece(p_near, y), int(near.sum())))
    return pd.DataFrame(rows, columns=list(CALIBRATION))


def ece(p: np.ndarray, y: np.ndarray) -> float:
    """Return the expected calibration error of probabilities p and outcomes y, 0 or 1: both [N]."""
    which = np.minimum((p * BINS).astype(int), BINS - 1).clip(min=0)
    count = np.bincount(which, minlength=BINS)
    off = np.abs(np.bincount(which, y - p, BINS))
    return float(off.sum() / count.sum())


def _box(mask: np.ndarray) -> np.ndarray:
    box = np.zeros(mask.shape, bool)
    if mask.any():
        spans = [
            np.flatnonzero(mask.any(axis=tuple(o for o in range(mask.ndim) if o != axis)))
            for axis in range(mask.ndim)
        ]
        box[tuple(slice(own[0], own[-1] + 1) for own in spans)] = True
    return box
