"""A score along a number such as age: a curve with a band, where bins hide the shape."""

from __future__ import annotations

import numpy as np

from harness.equity.scores import MIN_PATIENTS

CURVES = 400
"""Curves of resampled patients that a band is made of."""
_POINTS = 40

Point = tuple[float, float, float, float]
"""Value, mean score, and the low and the high end of its band."""


def smooth(value: np.ndarray, score: np.ndarray, patients: np.ndarray) -> list[Point]:
    """Return the curve along a grid: a Gaussian kernel's weighted mean.

    value, score, patients: [N]. The bandwidth is Silverman's rule of thumb (1986); a point counts where the
    weights' effective number of patients is at least `MIN_PATIENTS`. The band holds 95% of the curves
    of resampled patients, each with all of its samples; it is pointwise.
    """
    names, unit = np.unique(patients, return_inverse=True)
    spread = min(float(value.std()), float(np.subtract(*np.percentile(value, [75, 25]))) / 1.34)
    if len(names) < MIN_PATIENTS or spread <= 0:
        return []
    bandwidth = 0.9 * spread * len(names) ** -0.2
    start, stop = np.percentile(value, [2, 98])
    grid = np.linspace(start, stop, _POINTS)
    kernel = np.exp(-0.5 * ((grid[:, None] - value) / bandwidth) ** 2)
    by_patient = np.zeros((2, _POINTS, len(names)))
    for i, column in enumerate((kernel, kernel * score)):
        np.add.at(by_patient[i].T, unit, column.T)
    weight, weighted = by_patient
    enough = weight.sum(axis=1) ** 2 / (weight**2).sum(axis=1) >= MIN_PATIENTS
    counts = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), CURVES)
    drawn = (counts @ weighted.T) / np.maximum(counts @ weight.T, 1e-300)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    middle = weighted.sum(axis=1) / weight.sum(axis=1)
    rows = zip(grid[enough], middle[enough], low[enough], high[enough], strict=True)
    return [(float(x), float(y), float(a), float(b)) for x, y, a, b in rows]
