"""Means of people who are of one group by two attributes at once, small cells drawn towards the two alone."""

from __future__ import annotations

import numpy as np


def shrunk(means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Return means of cells, float [rows, columns], each as near to the rows' and columns' as it is unsure.

    Empirical Bayes (Morris, J. Am. Stat. Assoc. 1983): a cell is expected where its row and its column put
    it together (an additive model, by weighted least squares); how far cells really lie from there is one
    variance for all, estimated by what their residuals have beyond their own variances; a cell keeps that
    share of its residual. NaN stays NaN and counts for nothing. variances: of the means, above 0.
    """
    there = ~(np.isnan(means) | np.isnan(variances))
    found = np.full(means.shape, np.nan)
    if not there.any():
        return found
    design = _design(*means.shape)[there.ravel()]
    values, own = means[there], np.maximum(variances[there], 1e-12)
    rank = np.linalg.matrix_rank(design)
    if rank >= len(values):  # as many rows and columns as cells: nothing is left to shrink by
        found[there] = values
        return found
    between = _between(design, values, own, len(values) - rank)
    expected = _fitted(design, values, 1 / (own + between))
    kept = between / (between + own)
    found[there] = expected + kept * (values - expected)
    return found


def _design(rows: int, columns: int) -> np.ndarray:
    """Return which row and which column each cell is in: float [cells, rows + columns]."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.hstack([np.eye(rows)[row], np.eye(columns)[column]])


def _fitted(design: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    root = np.sqrt(weights)
    solution, *_ = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)
    return np.asarray(design @ solution)


def _between(design: np.ndarray, values: np.ndarray, own: np.ndarray, freedom: int) -> float:
    """Return the cells' variance about rows and columns: where residuals are as large as they should be.

    Paule and Mandel's equation (J. Res. Natl. Bur. Stand. 1982), whose left side falls with the variance.
    """

    def excess(between: float) -> float:
        weights = 1 / (own + between)
        return float((weights * (values - _fitted(design, values, weights)) ** 2).sum()) - freedom

    low, high = 0.0, float(np.ptp(values) ** 2 + own.max())
    if excess(low) <= 0:
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high
