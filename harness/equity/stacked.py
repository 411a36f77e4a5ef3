"""Views of the same patients as one: a quantity's mean over them, and whoever may be ahead in each view.

The mean over views of the least (or largest) of some pieces is the least of their sums, one piece from each
view. So a difference of means must stand under every such sum that the fairer method may truly have, as a
difference in one view must under every piece (`harness.equity.pieces`). Where the sums are too many to be
tried one by one they are searched: from the pieces that either method shows and from those in which the two
differ least, pieces are exchanged one view at a time for those that ask for more, until none does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from harness.equity.contrasts import Contrasts, Layout, Tests, apart, layout, slopes_of, together
from harness.equity.pieces import Linear, Pairs, Pieces, unlike
from harness.equity.quantities import Quantity
from harness.equity.reference import ALPHA
from harness.equity.scores import Scores
from harness.equity.unequal import moved

_ALL = 1024
"""Sums that are tried one by one; of more, the search misses the worst now and then, by some percent."""


@dataclass(frozen=True)
class Stack:
    """Layouts of views of the same patients and methods on the same seeds, and their strata's weights.

    The strata of all views are one after another: D in all.
    """

    layouts: tuple[Layout, ...]
    weights: tuple[np.ndarray, ...]
    patients: tuple[np.ndarray, ...]

    @cached_property
    def products(self) -> np.ndarray:
        """Products of what patients add to the strata's errors less those of single pairs: [M, D, M, D]."""
        errors = self._by_patient([one.errors[None] for one in self.layouts])
        single = self._by_patient([one.single for one in self.layouts])
        found = errors[0] @ errors[0].T - sum(one @ one.T for one in single)
        size = len(self.layouts[0].means)
        return np.asarray(found.reshape(size, -1, size, len(found) // size))

    @property
    def people(self) -> int:
        """How many patients there are."""
        return int(max(one.max() for one in self.patients)) + 1

    def _by_patient(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Return what each view's units hold, float [S, M, U] each, by patient: [S, M D, P]."""
        blocks = []
        for one, patient, values in zip(self.layouts, self.patients, parts, strict=True):
            block = np.zeros((*values.shape[:2], len(one.units), self.people))
            block[:, :, one.stratum, patient] = values
            blocks.append(block)
        whole = np.concatenate(blocks, axis=2)
        return whole.reshape(len(whole), -1, self.people)

    def moved(self, quantity: Quantity) -> np.ndarray:
        """Return by how much patients' noise moves the mean where groups are equal, a method: float [M]."""
        rng = np.random.default_rng(0)
        parts = [moved(quantity, *view, rng) for view in zip(self.layouts, self.weights, strict=True)]
        return np.asarray(np.mean(parts, axis=0))

    def contrasts(self, quantity: Quantity) -> Contrasts:
        """Return the contrasts of the quantity's mean over the views, linear about the estimates."""
        pairs = list(zip(self.layouts, self.weights, strict=True))
        views = len(pairs)
        slopes = [slopes_of(quantity, weights, one.means) for one, weights in pairs]
        estimates = sum(quantity(one.means @ weights, one.means[:, :-1]) for one, weights in pairs) / views
        by_seed = sum(
            np.einsum("mk,msk->ms", slope, one.by_seed)
            for slope, one in zip(slopes, self.layouts, strict=True)
        )
        whole = np.concatenate(slopes, axis=1) / views
        patients = apart(np.einsum("md,mdne,ne->mn", whole, self.products, whole, optimize=True))
        return together(
            np.asarray(estimates),
            patients,
            patients**2 / max(self.people - 1, 1),
            np.asarray(by_seed) / views,
        )


def stack(views: Sequence[Scores], methods: np.ndarray, common: list[int]) -> Stack:
    """Lay the scores of these methods under these seeds out, view by view."""
    layouts = tuple(layout(view, methods, common) for view in views)
    counts = [np.bincount(v.units.stratum, v.units.samples, len(v.kept) + 1) for v in views]
    weights = tuple(count / count.sum() for count in counts)
    return Stack(layouts, weights, tuple(view.units.patient for view in views))


@dataclass(frozen=True)
class Mean:
    """The bend of a mean over views: its error is linear, and it must stand whichever groups are ahead.

    parts: a stack for each set of seeds in common, and which pairs have it, bool [M', M']; pieces: of the
    quantity, where it has some; more: by how much more noise may move one method than the other, [M, M].
    """

    parts: tuple[tuple[Stack, np.ndarray], ...]
    pieces: Pieces | None
    more: np.ndarray

    def passed(self, tests: Tests) -> np.ndarray:
        """Return what the size of each difference must pass at the level of 5%, beyond `unequal`: [M, M]."""
        found = tests.half()
        if self.pieces is None:
            return found
        # What noise alone explains is not told apart, whoever is ahead.
        open_ = np.triu(np.abs(tests.of.difference) > found + self.more, 1)
        for _, family in tests.families():
            a, b = family.critical(ALPHA, tests.of.freedom)
            for some, exact in self.parts:
                methods = some.layouts[0].methods
                one, other = np.nonzero(exact & open_[np.ix_(methods, methods)])
                if some.layouts[0].by_seed.shape[1] != family.seeds or not len(one):
                    continue
                at = methods[one], methods[other]
                sums = _Sums(some, self.pieces, one, other, a[at], b * np.sqrt(tests.seeds[at]))
                found[at] = found[at[::-1]] = np.maximum(found[at], sums.least_reach() - self.more[at])
        return found

    def unequal(self) -> np.ndarray:
        """Return by how much more noise may move one method than the other: float [M, M]."""
        return self.more

    def hidden(self) -> np.ndarray:
        """Return 0 for every pair: what noise hides of a mean over views is not worked out."""
        return np.zeros((1, 1))


@dataclass(frozen=True)
class _Sums:
    """Pairs of methods of a stack, int [N] each, and the critical values of their differences, float [N]."""

    of: Stack
    pieces: Pieces
    one: np.ndarray
    other: np.ndarray
    patients: np.ndarray
    seeds: np.ndarray

    @cached_property
    def linear(self) -> tuple[Linear, ...]:
        """Each view's pieces: values float [M, P], slopes float [M, P, K], as parts of the mean."""
        found = []
        for one, weights in zip(self.of.layouts, self.of.weights, strict=True):
            values, slopes = self.pieces.of(one.means, weights)
            found.append((values / len(self.of.layouts), slopes / len(self.of.layouts)))
        return tuple(found)

    @property
    def side(self) -> float:
        """1 where pieces are beaten from above, -1 from below."""
        return 1.0 if self.pieces.least else -1.0

    @cached_property
    def shown(self) -> np.ndarray:
        """The piece that each method shows in each view: int [M, V]."""
        end = np.argmin if self.pieces.least else np.argmax
        return np.stack([end(values, axis=1) for values, _ in self.linear], axis=1)

    @cached_property
    def asked(self) -> np.ndarray:
        """In which views a pair treats some group differently beyond chance: bool [N, V]."""
        return np.stack(
            [
                unlike(self.pieces, weights, Pairs(one, self.one, self.other, self.patients, self.seeds))
                for one, weights in zip(self.of.layouts, self.of.weights, strict=True)
            ],
            axis=1,
        )

    @cached_property
    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each pair the method whose pieces must all be beaten, or beat, and the other: int [N]."""
        total = self._value(np.arange(len(self.shown)), self.shown)
        swap = (total[self.one] < total[self.other]) == self.pieces.least
        return np.where(swap, self.other, self.one), np.where(swap, self.one, self.other)

    def least_reach(self) -> np.ndarray:
        """Return what the pairs' differences must pass to stand under every sum: float [N], 0 for nothing."""
        every, some = self.sides
        size = self._size(self.shown[every], self.shown[some])
        few = math.prod(values.shape[1] for values, _ in self.linear) <= _ALL
        most = np.max(
            [self.reach(self._chosen(one)) for one in self._every_sum()] if few else self._search(), axis=0
        )
        return np.where(self.asked.any(axis=1) & (most > size), most, 0)

    def _every_sum(self) -> Iterator[np.ndarray]:
        """Yield one piece of each view: int [V]."""
        yield from map(np.array, product(*(range(values.shape[1]) for values, _ in self.linear)))

    def _search(self) -> list[np.ndarray]:
        """Return the most that exchanges of one piece at a time ask for, from each start: float [N]."""
        every, some = self.sides
        apart = [self.side * (values[every] - values[some]) for values, _ in self.linear]
        closest = np.stack([one.argmin(axis=1) for one in apart], axis=1)
        found = []
        for start in (self.shown[every], self.shown[some], closest):
            chosen, before = self._chosen(start), np.empty(0)
            best = self.reach(chosen)
            while not np.array_equal(before, chosen):
                before = chosen.copy()
                for v, (values, _) in enumerate(self.linear):
                    for piece in range(values.shape[1]):
                        tried = chosen.copy()
                        tried[self.asked[:, v], v] = piece
                        reach = self.reach(tried)
                        chosen = np.where((reach > best)[:, None], tried, chosen)
                        best = np.maximum(reach, best)
            found.append(best)
        return found

    def _chosen(self, pieces: np.ndarray) -> np.ndarray:
        """Return these pieces where they are asked for, and elsewhere those that are shown: int [N, V]."""
        return np.where(self.asked, pieces, self.shown[self.sides[0]])

    def reach(self, chosen: np.ndarray) -> np.ndarray:
        """Return how far the differences must reach for a sum of pieces, int [N, V], to be beaten: [N]."""
        every, some = self.sides
        mine, theirs = self.shown[every], self.shown[some]
        size = self._size(mine, theirs)
        best = np.full(len(every), np.inf)
        for answer in (np.where(self.asked, chosen, theirs), theirs):
            beaten_by = self.side * (self._value(every, chosen) - self._value(some, answer))
            limit = self._limit(chosen, answer)
            far = np.divide(size * limit, beaten_by, out=np.full(len(every), np.inf), where=beaten_by > 0)
            best = np.minimum(best, np.minimum(far, size + limit))
        return best

    def _size(self, mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        every, some = self.sides
        return np.asarray(np.abs(self._value(every, mine) - self._value(some, theirs)))

    def _value(self, methods: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return the sums that are chosen, of one method a pair: float [N]."""
        return np.asarray(sum(values[methods, chosen[:, v]] for v, (values, _) in enumerate(self.linear)))

    def _slope(self, methods: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [slopes[methods, chosen[:, v]] for v, (_, slopes) in enumerate(self.linear)], axis=1
        )

    def _limit(self, mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """Return the threshold of the difference between two sums of pieces: float [N]."""
        every, some = self.sides
        u, w = self._slope(every, mine), self._slope(some, theirs)
        own, yours, both = self._products
        variance = (
            np.einsum("nd,nde,ne->n", u, own, u)
            + np.einsum("nd,nde,ne->n", w, yours, w)
            - 2 * np.einsum("nd,nde,ne->n", u, both, w)
        )
        return np.asarray(np.hypot(self.patients * np.sqrt(np.maximum(variance, 0)), self.seeds))

    @cached_property
    def _products(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        every, some = self.sides
        products = self.of.products.transpose(0, 2, 1, 3)
        return products[every, every], products[some, some], products[every, some]
