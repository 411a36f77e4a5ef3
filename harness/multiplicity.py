"""Adjust p-values for the number of tests that are read as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd


def holm(p: Sequence[float] | np.ndarray | pd.Series) -> np.ndarray:
    """Return Holm's step-down adjusted p-values (Scand. J. Stat. 1979); NaN stays and does not count."""
    values = np.asarray(p, dtype=float)
    adjusted = np.full(len(values), np.nan)
    order = [i for i in np.argsort(values) if not math.isnan(values[i])]
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * values[i]))
        adjusted[i] = largest
    return adjusted
