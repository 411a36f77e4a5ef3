"""Scores where two attributes meet: the groups of one by those of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness.equity.cells import shrunk
from harness.equity.resampling import resample
from harness.equity.scores import MIN_PATIENTS, Scores
from harness.equity.summary import summarise

CROSSED = ("method", "first", "second", "patients", "samples", "estimate", "low", "high", "shrunk")
"""Columns of `crossed`: first, second: a group of each attribute; estimate, low, high: NaN where both
together are fewer than `MIN_PATIENTS`; shrunk: the estimate drawn to what the two groups have each alone."""

_WIDTH = 3.92  # a 95% interval is 2 x 1.96 errors wide


def crossed(
    by_method: Mapping[str, np.ndarray],
    groups: tuple[np.ndarray, np.ndarray],
    orders: tuple[Sequence[str], Sequence[str]],
    patients: np.ndarray,
    resamples: int,
) -> pd.DataFrame:
    """Return each method's mean in each pair of groups; columns are `CROSSED`.

    by_method: float [S, N], as in `Scores`; groups: each attribute's group names [N], None for unknown, and
    orders: each one's groups. Without rows where nobody's groups are both known.
    """
    first, second = orders
    # Positions, because a name may hold whatever would join two names.
    a, b = (
        pd.Series(own, dtype=object).map({g: i for i, g in enumerate(order)}).fillna(-1).to_numpy(int)
        for own, order in zip(groups, orders, strict=True)
    )
    cells = np.where((a >= 0) & (b >= 0), a * len(second) + b, -1)
    if not by_method or (cells < 0).all():
        return pd.DataFrame(columns=list(CROSSED))
    labels = np.array([None if cell < 0 else str(cell) for cell in cells], dtype=object)
    order = [str(cell) for cell in range(len(first) * len(second))]
    summary = summarise(resample(Scores(by_method, labels, patients, order=order), resamples=resamples))
    rows = summary[summary["quantity"] == "group"]
    cell = rows["group"].astype(int).to_numpy()
    found = rows[["method", "patients", "samples", "estimate", "low", "high"]].reset_index(drop=True)
    found["first"] = [first[one // len(second)] for one in cell.tolist()]
    found["second"] = [second[one % len(second)] for one in cell.tolist()]
    few = found["patients"] < MIN_PATIENTS
    found.loc[few, ["estimate", "low", "high"]] = np.nan
    found["shrunk"] = np.concatenate(
        [_shrunk(own, len(second)) for _, own in found.groupby("method", sort=False)]
    )
    return found[list(CROSSED)]


def _shrunk(own: pd.DataFrame, columns: int) -> np.ndarray:
    means = own["estimate"].to_numpy(float).reshape(-1, columns)
    errors = ((own["high"] - own["low"]) / _WIDTH).to_numpy(float).reshape(-1, columns)
    return shrunk(means, errors**2).ravel()
