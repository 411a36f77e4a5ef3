"""A method's Dice along a numeric attribute such as age: a curve with a band, where bins hide the shape."""

from __future__ import annotations

import numpy as np

from harness.equity import MIN_PATIENTS
from leaderboard.read.boards import Board

RESAMPLES = 400
_POINTS = 40

Point = tuple[float, float, float, float]
"""Value, mean Dice, and the low and the high end of its band."""


def of_method(board: Board, name: str, attribute: str) -> list[Point]:
    """Return the curve on the structure that ranks; empty where no numbers are behind the groups."""
    scores = board.matrix(name, attribute, board.structures[0], "dice")
    column = f"{attribute}_value"
    if scores is None or column not in board.test:
        return []
    tested = board.tested(board.structures[0])
    value = tested[column].to_numpy(float)
    known = ~np.isnan(value)
    patients = tested["patient"].to_numpy().astype(str)
    return smooth(value[known], np.nanmean(scores, axis=0)[known], patients[known])


def smooth(value: np.ndarray, dice: np.ndarray, patients: np.ndarray) -> list[Point]:
    """Return the curve along a grid: a Gaussian kernel's weighted mean.

    value, dice, patients: [N]. The bandwidth is Silverman's rule of thumb (1986); a point counts where the
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
    for i, column in enumerate((kernel, kernel * dice)):
        np.add.at(by_patient[i].T, unit, column.T)
    weight, weighted = by_patient
    enough = weight.sum(axis=1) ** 2 / (weight**2).sum(axis=1) >= MIN_PATIENTS
    counts = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    drawn = (counts @ weighted.T) / np.maximum(counts @ weight.T, 1e-300)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    middle = weighted.sum(axis=1) / weight.sum(axis=1)
    rows = zip(grid[enough], middle[enough], low[enough], high[enough], strict=True)
    return [(float(x), float(y), float(a), float(b)) for x, y, a, b in rows]
