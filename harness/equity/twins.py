"""Methods that train longer than the baseline: what is said of them stands beside the baseline's twin.

A method's yardstick is the baseline with its own schedule: the baseline itself, or a twin of it. Between two
rows of unlike schedules, the longer training may be all that there is. So one is told from the other only
where one of them is told from its own yardstick too, in the direction that makes the difference: what a
yardstick has as well is the schedule's, and not the method's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from harness.equity.comparison import COMPARISON
from harness.equity.family import of_pairs
from harness.equity.options import made
from harness.equity.reference import ALPHA

Twins = Mapping[str, str | None]
"""Method to its twin, None for one that has not run; methods that train as the baseline does are left out."""


def known(twins: Twins, methods: Sequence[str]) -> dict[str, str | None]:
    """Return the twins of these methods, None for one that is not among them."""
    made("twins", twins, Mapping, "a mapping from method to its twin")
    return {name: twin if twin in methods else None for name, twin in twins.items() if name in methods}


def compared(
    compare: Callable[[str], pd.DataFrame], methods: Sequence[str], baseline: str, twins: Twins
) -> pd.DataFrame:
    """Return `compare` of each method with its yardstick: the columns `COMPARISON`, in the methods' order.

    Each call is adjusted over all methods, so what is kept of several is too, and no less than of one.
    """
    own = {name: twins.get(name, baseline) for name in methods if name != baseline}
    parts = []
    for name in dict.fromkeys(one for one in own.values() if one in methods):
        frame = compare(str(name))
        parts.append(frame[frame["method"].map(own) == name])
    if not parts:
        return pd.DataFrame(columns=list(COMPARISON))
    place = {method: i for i, method in enumerate(methods)}
    frame = pd.concat(parts, ignore_index=True)
    return frame.sort_values("method", key=lambda names: names.map(place), kind="stable", ignore_index=True)


def without_loans(
    p: np.ndarray, values: np.ndarray, methods: Sequence[str], baseline: str, twins: Twins
) -> np.ndarray:
    """Return p-values of all pairs, larger where unlike schedules may be all that sets the two apart.

    p: float [M, M], symmetric, adjusted; values: float [M], higher is fairer. Of two rows with unlike
    yardsticks, the p-value is at least that by which the fairer is above its own, or the other below its
    own; 1 for neither, NaN (not tested) where both lack theirs. Two yardsticks differ by their schedules
    alone, and say so by name.
    """
    if not twins:
        return p
    place = {name: i for i, name in enumerate(methods)}
    rods = {baseline, *(twin for twin in twins.values() if twin is not None)}
    names = [name if name in rods else twins.get(name, baseline) for name in methods]
    rod = np.array([place.get(name, -1) if name is not None else -1 for name in names])
    is_rod = np.array([name in rods for name in methods])
    at = np.arange(len(methods))
    above = np.where(values > values[rod], p[at, rod], 1.0)
    below = np.where(values < values[rod], p[at, rod], 1.0)
    for side in (above, below):
        side[rod < 0] = np.nan
        side[is_rod] = 1.0
    borne = np.fmin(above[:, None], below[None, :])
    borne = np.where(values[:, None] > values[None, :], borne, borne.T)
    # Of two that lack their yardstick nobody knows whether it is one: they may well be of unlike schedules.
    alike = np.array([[one == other for other in names] for one in names])
    alike |= is_rod[:, None] & is_rod[None, :]
    return np.where(alike, p, np.maximum(p, borne))


def pairs_without_loans(
    pairs: pd.DataFrame, values: np.ndarray, methods: Sequence[str], baseline: str, twins: Twins
) -> pd.DataFrame:
    """Return the same of `pairwise`: a pair told apart that no yardstick bears out is not tested."""
    if not twins or pairs.empty:
        return pairs
    place = {name: i for i, name in enumerate(methods)}
    p = without_loans(of_pairs(pairs, list(methods)), values, methods, baseline, twins)
    strict = p[pairs["one"].map(place).to_numpy(int), pairs["other"].map(place).to_numpy(int)]
    kept = ~np.isnan(strict) & ((pairs["better"] == "").to_numpy() | (strict <= ALPHA))
    own = pairs["p_adjusted"].to_numpy(float)
    told = np.where((pairs["better"] == "").to_numpy(), own, strict)
    found: pd.DataFrame = pairs.assign(p_adjusted=told)[kept].reset_index(drop=True)
    return found
