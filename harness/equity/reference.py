"""How large a difference must be before it is more than chance: one threshold for all that is read as one.

A difference's error has two parts. The patients' is estimated from many patients; the seeds' from two to ten.
Its threshold at a level is sqrt(a^2 V_patients + b^2 V_seeds), a and b the critical values that each part
would have alone: with one difference it holds its level whatever the two variances are (Banerjee, Sankhya
1960). Where n differences are read as one, a is Bonferroni's, and b goes with the largest variance by
seeds that the table shows, so that a variance that came out small by luck tells nothing apart. Against the
largest one Student's t of S - 1 degrees of freedom is enough for all pairs together while seeds are few,
whatever the methods' own variances are; `_COUNTED` says for how many tests it must pay beyond that.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import stdtrit

from harness.equity.options import number, whole

ALPHA = 0.05
MARGIN = 0.01
"""ES-Dice by which two methods may differ and still be equally fair, unless the protocol says otherwise."""


def checked(margin: float) -> float:
    """Return a margin of equivalence. Raises HarnessError for one that is not a number of 0 or more."""
    return number("The margin", margin, "an ES-Dice of 0 or more")


def least_common(seeds: int) -> int:
    """Return how many seeds two methods must have in common. Raises HarnessError for no such number."""
    return whole("least_seeds", seeds, 1)


LEVELS = np.concatenate(
    [
        [1, 0.8, 0.6, 0.45, 0.35, 0.25, 0.2, 0.15, 0.12, 0.1, 0.08, 0.065, 0.05, 0.04, 0.03, 0.02, 0.015],
        np.geomspace(0.01, 1e-9, 22),
    ]
)
"""Levels between which a p-value is interpolated, from 1 down; 0.05 and 0.1 are among them."""

_ASIDE = 25.0
_PENALTY = 2.0
_METHODS = (2, 3, 6, 20, 60, 200, 1000)
_SEEDS = (3, 4, 5, 7, 10, 20)
_COUNTED = np.array([
    [[1.0, 1.0], [1.1, 1.1], [1.1, 1.1], [1.1, 1.1], [1.1, 1.1], [1.1, 1.1], [1.1, 1.1]],
    [[1.0, 1.0], [1.1, 1.2], [1.1, 1.4], [1.2, 1.7], [1.2, 1.8], [1.2, 1.9], [1.2, 2.0]],
    [[1.0, 1.0], [1.2, 1.3], [1.4, 1.8], [1.8, 2.5], [1.9, 2.9], [2.0, 3.2], [2.2, 3.6]],
    [[1.0, 1.0], [1.5, 1.6], [2.3, 2.9], [3.5, 5.1], [4.4, 6.8], [5.0, 8.2], [5.8, 9.8]],
    [[1.0, 1.0], [1.9, 1.9], [3.8, 4.5], [8.1, 11.0], [12.0, 17.4], [15.7, 24.0], [21.4, 34.6]],
    [[1.0, 1.0], [2.6, 2.6], [10.1, 10.2], [48.1, 52.4], [113, 132], [222, 289], [425, 579]],
])  # fmt: skip
"""By seeds, methods and level (0.05, 0.1): the number c for which t at level / c is the quantile of the
range of the methods' means over the largest deviation by seeds, at the worst of the variances tried
(tests/benchmarks/references.py prints it)."""


@dataclass(frozen=True)
class Family:
    """What is read as one: `tests` differences between `methods` methods, on `seeds` seeds.

    aside: methods whose seeds' variance was set aside from the others' (`largest`); tests 1 with `own` is one
    difference by itself, with its own variance by seeds.
    """

    tests: int
    methods: int
    seeds: int
    aside: int = 0

    def critical(self, level: float, freedom: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the two-sided critical values of the patients' part, for its freedom, and of the seeds'."""
        # Methods set aside are judged by their own variances: against the others, and each pair of them.
        level = level / (1 + max(_PENALTY * self.aside, self.aside * (self.aside + 1) / 2))
        patients = _student(level / max(self.tests, 1), freedom)
        if self.seeds < 2:
            return patients, 0.0
        return patients, _of_seeds(self.seeds, self.methods, level)


@lru_cache(maxsize=4096)
def _of_seeds(seeds: int, methods: int, level: float) -> float:
    return -float(stdtrit(seeds - 1, level / counted(seeds, methods, level) / 2))


def counted(seeds: int, methods: int, level: float = ALPHA) -> float:
    """Return for how many tests the seeds' part pays in a table of so many methods."""
    if seeds < _SEEDS[0]:
        return 1.0
    pairs = methods * (methods - 1) / 2
    row = next((i for i, most in enumerate(_SEEDS) if seeds <= most), None)
    column = next((i for i, most in enumerate(_METHODS) if methods <= most), None)
    if row is None or column is None:
        return max(pairs, 1.0)
    at_5, at_10 = _COUNTED[row, column]
    return float(at_5 * (at_10 / at_5) ** (np.log(np.clip(level, ALPHA, 2 * ALPHA) / ALPHA) / np.log(2)))


def threshold(
    level: float, family: Family, patients: np.ndarray, freedom: np.ndarray, seeds: np.ndarray
) -> np.ndarray:
    """Return the least differences that are more than chance at a level, of each variance's shape."""
    a, b = family.critical(level, freedom)
    return np.asarray(np.sqrt(a**2 * patients + b**2 * seeds))


def p_value(
    reach: np.ndarray, family: Family, patients: np.ndarray, freedom: np.ndarray, seeds: np.ndarray
) -> np.ndarray:
    """Return the least level at which differences of this size pass their threshold, not below 1e-9."""
    p = np.full(reach.shape, 1.0)
    above = threshold(1.0, family, patients, freedom, seeds)
    open_ = reach > above
    for before, level in itertools.pairwise(LEVELS):
        limit = threshold(level, family, patients[open_], freedom[open_], seeds[open_])
        size, start = reach[open_], above[open_]
        passed = size >= limit
        share = np.divide(
            size - start, limit - start, out=np.ones_like(size), where=~passed & (limit > start)
        )
        p[open_] = np.where(passed, level, before * (level / before) ** np.clip(share, 0, 1))
        above[open_] = limit
        open_[open_] = passed
        if not open_.any():
            break
    return p


def largest(by_seed: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the largest variance of a mean over seeds that goes with t, and the methods set aside: bool [M].

    by_seed: float [M, S], a quantity of each method under each seed. The methods' mean under a seed is taken
    out first, as it is in every difference. A method whose variance is more than 25 times the median's, a
    training that collapsed, say, is set aside: it keeps its own variance, which is large, and does not
    blind the table; the level then pays for having looked.
    """
    methods, seeds = by_seed.shape
    if seeds < 2:
        return 0.0, np.zeros(methods, bool)
    aside = set_aside(by_seed.var(axis=1, ddof=1))
    kept = by_seed[~aside]
    if len(kept) < 2:
        return 0.0, aside
    centred = kept - kept.mean(axis=0)
    scale = (len(kept) / (len(kept) - 1)) ** 2 / seeds
    return float(centred.var(axis=1, ddof=1).max() * scale), aside


def set_aside(variances: np.ndarray) -> np.ndarray:
    """Return which of more than three methods are much less stable than the others: [M] -> bool [M]."""
    if len(variances) < 4:
        return np.zeros(len(variances), bool)
    return np.asarray(variances > _ASIDE * np.median(variances))


_INVERSE = np.linspace(0, 1, 401)


def _student(level: float, freedom: np.ndarray) -> np.ndarray:
    """Return Student's two-sided critical value for each number of degrees of freedom, 1 or more."""
    inverse = 1 / np.maximum(freedom, 1)
    return np.asarray(np.exp(np.interp(inverse, _INVERSE, _table(level))))


@lru_cache(maxsize=4096)
def _table(level: float) -> np.ndarray:
    freedom = 1 / np.maximum(_INVERSE, 1e-9)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.maximum(-stdtrit(freedom, level / 2), 1e-300)))
