"""Groups compared at equal sizes of the structure: a gap that is only anatomy goes away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.equity.options import whole
from harness.equity.scores import Scores
from harness.errors import HarnessError

STRATA = 3


def strata(size: np.ndarray, count: int = STRATA) -> np.ndarray:
    """Return each sample's stratum, int [N]: 0 the smallest; equal sizes are never parted.

    size: float [N], the structure's true size in any unit. None is without samples: where many sizes are
    equal, as those of empty masks are, there are fewer than `count`.
    """
    count = whole("count", count, 1)
    edges = np.quantile(size, np.linspace(0, 1, count + 1)[1:-1])
    _, stratum = np.unique(np.searchsorted(edges, size, side="left"), return_inverse=True)
    return np.asarray(stratum)


def standardised(scores: Scores, size: np.ndarray) -> Scores | None:
    """Return scores whose group means are those at the whole test set's distribution of sizes.

    Direct standardisation (as of rates in epidemiology): within a group, a sample of stratum t weighs
    its share among all samples over its share in the group. size: float [N], aligned with the scores.
    Only group scores and their gap are meaningful of what comes back. None where a group has fewer
    than `min_patients` in a stratum, so that nothing can be said of it at that size. Raises HarnessError for
    sizes that do not fit the scores.
    """
    if size.shape != scores.groups.shape or not np.isfinite(size).all():
        raise HarnessError(
            f"Sizes of shape {size.shape} for {len(scores.groups)} samples; give a finite size for each."
        )
    stratum = strata(size)
    levelled = {name: rows.copy() for name, rows in scores.by_method.items()}
    for group in scores.kept:
        cells = [(scores.groups == group) & (stratum == t) for t in range(stratum.max() + 1)]
        if any(len(set(scores.patients[cell].tolist())) < scores.min_patients for cell in cells):
            return None
        shares = [float((stratum == t).mean()) for t in range(len(cells))]
        for name, rows in scores.by_method.items():
            levelled[name] = _level(rows, levelled[name], cells, shares)
    # A residual that weighs more may carry a score beyond [0, 1], which only fractions must not be.
    return replace(scores, by_method=levelled, higher_is_better=False)


def _level(
    rows: np.ndarray, levelled: np.ndarray, cells: list[np.ndarray], shares: list[float]
) -> np.ndarray:
    """Put one group's scores around its standardised mean, each residual with its cell's weight.

    rows, levelled: float [S, N]; cells: the group's samples by stratum, bool [N] each; shares: of the
    strata among all samples. The group's mean is then the standardised one, and the spread of its
    samples that within strata, as a bootstrap of such a mean needs it.
    """
    size = sum(int(cell.sum()) for cell in cells)
    means = np.stack([rows[:, cell].mean(axis=1) for cell in cells], axis=1)
    overall = means @ np.array(shares)
    for t, cell in enumerate(cells):
        weight = shares[t] * size / cell.sum()
        levelled[:, cell] = overall[:, None] + weight * (rows[:, cell] - means[:, t, None])
    return levelled
