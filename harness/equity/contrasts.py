"""What every pair of methods differs by, and how surely: in closed form, for all pairs at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from harness.equity.quantities import Quantity
from harness.equity.reference import ALPHA, Family, largest, p_value, threshold
from harness.equity.scores import Scores

_ROUNDING = 1e-12
"""Share of a value below which a difference is the arithmetic's."""


@dataclass(frozen=True)
class Contrasts:
    """Differences between all pairs of methods in one quantity, first minus second: all float [M, M].

    patients, freedom: the variance by patients and its degrees of freedom; seeds: the pair's own variance by
    seeds; tabled: the largest of the table, or the pair's own where one of the two was set aside; common:
    int, seeds in common (0: nothing is known). aside: bool [M]. bend: of a quantity that is not linear.
    """

    difference: np.ndarray
    patients: np.ndarray
    freedom: np.ndarray
    seeds: np.ndarray
    tabled: np.ndarray
    common: np.ndarray
    aside: np.ndarray
    bend: Bend | None = None

    @cached_property
    def alone(self) -> Tests:
        """Each difference read by itself."""
        return Tests(self, 1, own=True)

    def together(self, tests: int) -> Tests:
        """Return the differences where so many of the table's are read as one."""
        return Tests(self, tests, own=False)


class Bend(Protocol):
    """Where the intervals of a quantity lie that is not linear in the strata's means."""

    def passed(self, tests: Tests) -> np.ndarray:
        """Return what the size of each difference must pass at the level of 5%, beyond `unequal`: [M, M]."""

    def unequal(self) -> np.ndarray:
        """Return what is left out of each difference's size before all else: float [M, M]."""

    def hidden(self) -> np.ndarray:
        """Return by how much more each two methods differ than is seen: float [M, M]."""


@dataclass(frozen=True)
class Tests:
    """The pairs' tests and intervals under one adjustment; a test is the interval that excludes 0.

    tests: how many are read as one; own: with each pair's own variance by seeds, not the table's largest.
    """

    of: Contrasts
    tests: int
    own: bool

    @property
    def seeds(self) -> np.ndarray:
        """The variance by seeds that counts, float [M, M]."""
        return self.of.seeds if self.own else self.of.tabled

    @cached_property
    def wider(self) -> np.ndarray:
        """How much wider an interval is than that of a mean with this error, float [M, M]."""
        size = self.of.difference.shape
        if self.of.bend is None:
            return np.ones(size)
        half = self.half()
        return np.asarray(np.divide(self.of.bend.passed(self), half, out=np.ones(size), where=half > 0))

    @property
    def unequal(self) -> np.ndarray | float:
        """What noise may make of a difference where one method's scores spread more, at any level."""
        return 0.0 if self.of.bend is None else self.of.bend.unequal()

    @cached_property
    def p(self) -> np.ndarray:
        """Two-sided p-values adjusted for `tests`, float [M, M]; NaN where two methods share nothing."""
        left = np.maximum(np.abs(self.of.difference) - self.unequal, 0)
        # Where nothing has to be passed, any difference passes it, as in the interval of no width.
        sure = np.where(left > 0, np.inf, 0.0)
        reach = np.divide(left, self.wider, out=sure, where=self.wider != 0)
        found = np.full(reach.shape, np.nan)
        for some, family in self.families():
            found[some] = p_value(reach[some], family, *self._parts(some))
        return found

    def interval(self, level: float = ALPHA) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the intervals at 1 - level, each float [M, M].

        On the side away from 0 an end lies further by what noise hides.
        """
        reach = self.wider * self.half(level) + self.unequal
        hidden = np.zeros(self.of.difference.shape)
        if self.of.bend is not None:
            hidden = self.of.bend.hidden()
            hidden = np.where(hidden * self.of.difference > 0, hidden, 0)
        low, high = self.of.difference - reach, self.of.difference + reach
        return low + np.minimum(hidden, 0), high + np.maximum(hidden, 0)

    def within(self, margin: float) -> np.ndarray:
        """Return which pairs two one-sided tests at 5% put within a margin: bool [M, M]."""
        low, high = self.interval(2 * ALPHA)
        return np.asarray((low > -margin) & (high < margin))

    def half(self, level: float = ALPHA) -> np.ndarray:
        """Return half the width of the interval of a mean with such an error, float [M, M]."""
        half = np.full(self.of.difference.shape, np.nan)
        for some, family in self.families():
            half[some] = threshold(level, family, *self._parts(some))
        return half

    def families(self) -> Iterator[tuple[np.ndarray, Family]]:
        """Yield the pairs, bool [M, M], by how many seeds they have in common."""
        methods = 2 if self.own else len(self.of.common)
        aside = 0 if self.own else int(self.of.aside.sum())
        known = (self.of.common > 0) & ~np.eye(len(self.of.common), dtype=bool)
        for seeds in _counts(self.of.common[known]):
            yield known & (self.of.common == seeds), Family(self.tests, methods, int(seeds), aside)

    def _parts(self, some: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.of.patients[some], self.of.freedom[some], self.seeds[some]


@dataclass(frozen=True)
class Layout:
    """Means and what each patient and each single (seed, sample) pair adds to their errors, on some seeds.

    methods: int [M'], their positions; means: float [M', K]; by_seed: float [M', S, K]; errors: float [M',
    U], whose sum of squares over a stratum is the variance of its mean; single: float [S, M', U], the same
    of single pairs alone; stratum: int [U]; units: int [K], patients in each stratum.
    """

    methods: np.ndarray
    means: np.ndarray
    by_seed: np.ndarray
    errors: np.ndarray
    single: np.ndarray
    stratum: np.ndarray
    units: np.ndarray

    @cached_property
    def products(self) -> np.ndarray:
        """Products of all pairs of methods' errors less those of single pairs, float [K, M', M']."""
        found = np.zeros((len(self.units), len(self.means), len(self.means)))
        for k in np.flatnonzero(self.units > 1):
            mine = self.stratum == k
            found[k] = self.errors[:, mine] @ self.errors[:, mine].T
            for one in self.single:
                found[k] -= one[:, mine] @ one[:, mine].T
        # A stratum of one patient shows no spread: he is taken to differ as the others do.
        several = np.maximum(self.units, 0) * (self.units > 1)
        if several.any():
            found[self.units == 1] = np.tensordot(several**2, found, 1) / several.sum()
        return found

    def apart(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the variance by patients of pairs' differences, by stratum: int [P], int [P] -> [P, K]."""
        mine, yours, both = (self.products[:, i, j].T for i, j in ((one, one), (other, other), (one, other)))
        return np.asarray(np.maximum(mine + yours - 2 * both, 0))


def layouts(scores: Scores) -> tuple[tuple[Layout, np.ndarray], ...]:
    """Return a layout for each set of seeds that a pair has in common, and which pairs: bool [M', M']."""
    return tuple(
        (layout(scores, methods, list(common)), exact)
        for common, methods, exact in shared(scores.units.seeds)
    )


def shared(seeds: Sequence[np.ndarray]) -> Iterator[tuple[tuple[int, ...], np.ndarray, np.ndarray]]:
    """Yield each set of seeds that a pair has in common, methods that have it, and pairs: bool [M', M']."""
    sets = [frozenset(map(int, own)) for own in seeds]
    kinds = list(dict.fromkeys(sets))
    kind = np.array([kinds.index(own) for own in sets])
    for common in {one & other for one in set(sets) for other in set(sets)} - {frozenset()}:
        methods = np.array([i for i, own in enumerate(sets) if common <= own])
        # Of sets there are few, of pairs of a thousand methods a million.
        alike = np.array([[one & other == common for other in kinds] for one in kinds])
        exact = alike[np.ix_(kind[methods], kind[methods])]
        yield tuple(sorted(common)), methods, exact


def layout(scores: Scores, methods: np.ndarray, common: list[int]) -> Layout:
    """Take the scores of these methods under these seeds apart, within each stratum, as Owen does."""
    units, n_strata = scores.units, len(scores.kept) + 1
    sums = np.stack([units.sums[i][np.isin(units.seeds[i], common)] for i in methods])
    stratum, samples = units.stratum, units.samples
    member = np.eye(n_strata)[stratum]
    n, size = member.sum(axis=0).astype(int), np.maximum(samples @ member, 1)
    by_seed = sums @ member / size
    residuals = sums - by_seed[..., stratum] * samples
    average = residuals.mean(axis=1)
    scale = (np.sqrt(n / np.maximum(n - 1, 1)) / size)[stratum]
    once = math.sqrt(max(len(common) * (len(common) - 1), 1))
    single = (residuals - average[:, None]).transpose(1, 0, 2) * scale / once
    return Layout(methods, by_seed.mean(axis=1), by_seed, average * scale, single, stratum, n)


def contrasts(scores: Scores, prepared: Sequence[tuple[Layout, np.ndarray]], quantity: Quantity) -> Contrasts:
    """Return all pairs' differences in a quantity, linear in the strata's means about the estimates."""
    m = len(scores.methods)
    found = unknown(m)
    samples = np.bincount(scores.units.stratum, scores.units.samples, len(scores.kept) + 1)
    weights = samples / samples.sum()
    for some, exact in prepared:
        part = _of_layout(some, weights, quantity)
        fill(found, part, some.methods, exact)
    share_largest(found)
    return found


def fill(found: Contrasts, part: Contrasts, methods: np.ndarray, exact: np.ndarray) -> None:
    """Write the contrasts of some methods into those of all, for the pairs bool [M', M']."""
    at = np.ix_(methods, methods)
    for name in ("difference", "patients", "freedom", "seeds", "tabled", "common"):
        getattr(found, name)[at] = np.where(exact, getattr(part, name), getattr(found, name)[at])
    found.aside[methods] |= part.aside


def share_largest(found: Contrasts) -> None:
    """Make the largest variance by seeds that of the whole table, where pairs have unlike seeds in common.

    Each set of seeds in common knows its own methods only: where every method lacks another seed, the two of
    a pair, and of many such pairs some come out alike by luck. A pair takes the largest, seed for seed, of
    those that have as many seeds in common or more: fewer seeds would hide what more of them show.
    """
    odd = found.aside[:, None] | found.aside
    known = (found.common > 0) & ~np.eye(len(found.aside), dtype=bool)
    by_seed = found.tabled * found.common
    for seeds in _counts(found.common[known]):
        others = known & ~odd & (found.common >= seeds)
        if others.any():
            mine = known & (found.common == seeds)
            found.tabled[mine] = np.maximum(found.tabled[mine], by_seed[others].max() / seeds)


def unknown(methods: int) -> Contrasts:
    """Return contrasts of which nothing is known yet."""
    difference, patients, freedom, seeds, tabled = (np.full((methods, methods), np.nan) for _ in range(5))
    common, aside = np.zeros((methods, methods), int), np.zeros(methods, bool)
    return Contrasts(difference, patients, freedom, seeds, tabled, common, aside)


def _counts(common: np.ndarray) -> np.ndarray:
    """Return the numbers of seeds that there are, ascending: no million of pairs is sorted for it."""
    return np.flatnonzero(np.bincount(common))


def slopes_of(quantity: Quantity, weights: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return the derivative of a quantity by each stratum's mean: means float [..., K] -> [..., K]."""
    step = 1e-5 * np.eye(means.shape[-1])
    up, down = means[..., None, :] + step, means[..., None, :] - step
    rise = quantity(up @ weights, up[..., :-1]) - quantity(down @ weights, down[..., :-1])
    return np.asarray(rise / 2e-5)


def _of_layout(some: Layout, weights: np.ndarray, quantity: Quantity) -> Contrasts:
    slopes = slopes_of(quantity, weights, some.means)
    estimates = quantity(some.means @ weights, some.means[:, :-1])
    patients, squares = np.zeros((2, len(slopes), len(slopes)))
    for k, n in enumerate(some.units):
        own = apart(slopes[:, k, None] * some.products[k] * slopes[:, k])
        patients += own
        squares += own**2 / max(int(n) - 1, 1)
    return together(estimates, patients, squares, np.einsum("mk,msk->ms", slopes, some.by_seed))


def together(
    estimates: np.ndarray, patients: np.ndarray, squares: np.ndarray, by_seed: np.ndarray
) -> Contrasts:
    """Return the contrasts of estimates [M] from their parts.

    patients: float [M, M], variances by patients; squares: sum of each stratum's over its degrees of freedom
    (Satterthwaite); by_seed: float [M, S], the quantity under each seed.
    """
    m, seeds = by_seed.shape
    freedom = np.divide(patients**2, squares, out=np.full((m, m), np.inf), where=squares > 0)
    centred = by_seed - by_seed.mean(axis=1, keepdims=True)
    own = np.zeros((m, m)) if seeds < 2 else apart(centred @ centred.T) / (seeds * (seeds - 1))
    most, aside = largest(by_seed)
    odd = aside[:, None] | aside
    difference = estimates[:, None] - estimates
    # Of methods without any noise the last bits of a sum would be a sure difference.
    size = np.maximum(np.maximum(np.abs(estimates)[:, None], np.abs(estimates)), 1)
    difference[np.abs(difference) <= _ROUNDING * size] = 0
    return Contrasts(
        difference,
        patients,
        freedom,
        own,
        np.where(odd, np.maximum(own, most), most),
        np.full((m, m), seeds),
        aside,
    )


def apart(products: np.ndarray) -> np.ndarray:
    """Return variances of differences from products of what each method is made of: [M, M] -> [M, M]."""
    own = np.diag(products)
    return np.asarray(np.maximum(own[:, None] + own - 2 * products, 0))
