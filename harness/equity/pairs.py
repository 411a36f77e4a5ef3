"""Differences of gaps and ES between two methods: what noise would make of them if the methods were alike.

Gaps and ES are not linear in the groups' scores, so how much noise moves a difference depends on where the
groups lie. Were two methods alike, they would lie at their mean and noise apart, and their difference be
what an exchange of the two makes. So the patients' part of the threshold of `harness.equity.reference` is the
95th percentile of such differences, as much larger as more tests ask for; the seeds' part is linear, as few
seeds span too few directions to be drawn from. The interval reaches the threshold on either side of the
estimate, and further on the side away from 0 by what noise hides of the difference (`corrected`): so the test
is the interval that excludes 0.

Where one method's scores spread more than the other's, noise makes more of its gaps: what that may come to is
added (`harness.equity.unequal`).

Methods that are unlike can have equal gaps: one is worse for one group, the other for another. Noise that
both share then makes either look fairer, and surely so. So a difference must also stand whichever groups are
truly ahead (`harness.equity.pieces`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import ndtri

from harness.equity.contrasts import Contrasts, Layout, Tests, contrasts
from harness.equity.pieces import Pairs, least_reach, pieces_of
from harness.equity.quantities import Quantity, quantities
from harness.equity.reference import ALPHA, Family
from harness.equity.resampling import Draws
from harness.equity.summary import attribute_level
from harness.equity.unequal import apart, moved

_DRAWS = 1000
_UNEQUAL = 0
_AT_ONCE = 64
_PIECES_AT_ONCE = 20_000
_NORMAL = float(ndtri(1 - ALPHA / 2))


def between(
    draws: Draws, name: str, quantity: Quantity, base: int | None = None, drawn: bool = True
) -> Contrasts:
    """Return all pairs' differences in a quantity, by the name that `quantities` gives it or any other.

    A mean's differences (`overall`, a group) are linear; those of gaps and ES are shaped by noise, those of
    `base` alone where it is given. `drawn`: whether noise is drawn; else they are linear, too, about the
    estimates, and must only stand whichever groups are ahead.
    """
    found = contrasts(draws.scores, draws.layouts, quantity)
    if name not in quantities(draws.scores.higher_is_better):
        return found
    return replace(found, bend=_Alike(draws, name, quantity, base, drawn))


@dataclass(frozen=True)
class _Alike:
    """Draws what pairs of methods would differ by if they were alike."""

    draws: Draws
    name: str
    quantity: Quantity
    base: int | None
    drawn: bool
    found: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    """What patients make of a difference by itself, by the seeds in common, and `unequal`: drawn once."""

    def passed(self, tests: Tests) -> np.ndarray:
        """Return what the size of each difference must pass at the level of 5%, beyond `unequal`: [M, M]."""
        exchanged = self._exchanged(tests) if self.drawn else tests.half()
        return np.asarray(np.maximum(exchanged, self._whoever_is_ahead(tests) - self.unequal()))

    def _exchanged(self, tests: Tests) -> np.ndarray:
        """Return the 95th percentile of what an exchange of two methods makes, float [M, M]."""
        by_patients = np.full(tests.of.difference.shape, np.nan)
        by_seeds = by_patients.copy()
        for some, family in tests.families():
            a, b = family.critical(ALPHA, tests.of.freedom)
            alone, _ = Family(1, 2, family.seeds).critical(ALPHA, tests.of.freedom)
            by_seeds[some] = b * np.sqrt(tests.seeds[some])
            if family.seeds not in self.found:
                self.found[family.seeds] = self._by_patients(family.seeds, alone / _NORMAL)
            by_patients[some] = (self.found[family.seeds] * a / alone)[some]
        # Where noise is large beside the gap of the two together, no exchange makes more than what is seen.
        return np.asarray(np.hypot(by_patients, by_seeds) * (1 + 1e-9))

    def unequal(self) -> np.ndarray:
        """Return by how much more noise may move one method than the other: float [M, M]."""
        if _UNEQUAL not in self.found:
            found = np.zeros((len(self.draws.means),) * 2)
            for layout, exact in self.draws.layouts:
                by_method = moved(self.quantity, layout, self.draws.weights, self.draws.random(5))
                at = np.ix_(layout.methods, layout.methods)
                found[at] = np.where(exact, apart(by_method), found[at])
            self.found[_UNEQUAL] = found
        return self.found[_UNEQUAL]

    def _whoever_is_ahead(self, tests: Tests) -> np.ndarray:
        """Return what a difference must pass to stand whichever groups are ahead, float [M, M]."""
        found = np.zeros(tests.of.difference.shape)
        pieces = pieces_of(self.name, self.draws.scores.higher_is_better)
        if pieces is None:
            return found
        for _, family in tests.families():
            a, b = family.critical(ALPHA, tests.of.freedom)
            for layout, exact in self.draws.layouts:
                if layout.by_seed.shape[1] != family.seeds:
                    continue
                for one, other in self._chosen(exact, layout.methods, _PIECES_AT_ONCE):
                    at = layout.methods[one], layout.methods[other]
                    pairs = Pairs(layout, one, other, a[at], b * np.sqrt(tests.seeds[at]))
                    found[at] = found[at[::-1]] = least_reach(pieces, self.draws.weights, pairs)
        return found

    def hidden(self) -> np.ndarray:
        """Return by how much more each two methods differ than is seen; nothing without resamples."""
        methods = range(len(self.draws.means))
        if not len(self.draws.plain):
            return np.zeros((len(methods),) * 2)
        levels = [attribute_level(self.draws, method, self.name) for method in methods]
        more = np.array([level.corrected - level.estimate for level in levels])
        return np.asarray(more[:, None] - more)

    def _by_patients(self, seeds: int, wider: np.ndarray) -> np.ndarray:
        """Return what patients make of pairs with so many seeds in common, as much wider: float [M, M]."""
        found = np.full(wider.shape, np.nan)
        for layout, exact in self.draws.layouts:
            if layout.by_seed.shape[1] == seeds:
                self._pass(layout, exact, wider, found)
        return found

    def _pass(self, layout: Layout, exact: np.ndarray, wider: np.ndarray, found: np.ndarray) -> None:
        """Write what the size of a difference must pass that patients make in pairs alike, as much wider."""
        normal = self.draws.random(4).standard_normal((_DRAWS, len(layout.units)))
        for one, other in self._chosen(exact, layout.methods, _AT_ONCE):
            at = layout.methods[one], layout.methods[other]
            patients = np.sqrt(layout.apart(one, other)) * wider[at][:, None]
            middle = ((layout.means[one] + layout.means[other]) / 2)[:, None]
            # Stratum by stratum in memory, as the quantities go through it.
            half = np.multiply(patients[:, None] / 2, normal, order="F")
            first, second = (self._value(make(middle, half, order="F")) for make in (np.add, np.subtract))
            found[at] = found[at[::-1]] = np.quantile(np.abs(first - second), 1 - ALPHA, axis=1)

    def _value(self, means: np.ndarray) -> np.ndarray:
        means = np.asfortranarray(means)
        return self.quantity(means @ self.draws.weights, means[..., :-1])

    def _chosen(
        self, exact: np.ndarray, methods: np.ndarray, at_once: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        one, other = np.nonzero(np.triu(exact, 1))
        if self.base is not None:
            mine = (methods[one] == self.base) | (methods[other] == self.base)
            one, other = one[mine], other[mine]
        for start in range(0, len(one), at_once):
            yield one[start : start + at_once], other[start : start + at_once]
