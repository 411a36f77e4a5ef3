"""Gaps and ES as the largest or least of linear pieces, and whether a difference stands under each of them.

A gap is the largest of the differences between two groups, the worst group's score the least of the groups',
an equity-scaled score the least of those that take each group for ahead or behind. Method A is fairer than B
where every piece of A is beaten by some piece of B. As nobody knows which of A's pieces is the true one, all
must be beaten (an intersection-union test, Berger 1982: no adjustment for their number): by the same piece of
B, or by the one that B shows. It is asked where the methods treat some group differently beyond chance: where
they do not, the same groups are ahead for both, and the noise that both share moves both alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from harness.equity.contrasts import Layout

_MOST_GROUPS = 8
"""With more groups ES takes those pieces only in which one group, or every one, changes sides."""

Linear = tuple[np.ndarray, np.ndarray]
"""Values, float [M, P], and their slopes by each stratum's mean, float [M, P, K]."""


@dataclass(frozen=True)
class Pieces:
    """A quantity as the extreme of pieces, each linear in the strata's means about the estimate.

    of: means float [M, K] and the strata's weights to every piece; apart: to how far apart the groups are;
    least: whether the quantity is the least of its pieces and not the largest.
    """

    of: Callable[[np.ndarray, np.ndarray], Linear]
    apart: Callable[[np.ndarray, np.ndarray], Linear]
    least: bool


@dataclass(frozen=True)
class Pairs:
    """Pairs of methods of a layout, int [pairs] each, with what their differences must pass.

    patients: the critical value of the patients' part; seeds: the threshold of the seeds' part.
    """

    layout: Layout
    one: np.ndarray
    other: np.ndarray
    patients: np.ndarray
    seeds: np.ndarray

    def limit(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return the threshold of u . means of the one less v . means of the other: float [pairs]."""
        products = self.layout.products
        mine, yours = products[:, self.one, self.one].T, products[:, self.other, self.other].T
        both = products[:, self.one, self.other].T
        variance = np.maximum(u**2 * mine + v**2 * yours - 2 * u * v * both, 0).sum(axis=1)
        return np.asarray(np.hypot(self.patients * np.sqrt(variance), self.seeds))


def least_reach(pieces: Pieces, weights: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Return what the size of pairs' differences must pass to stand under every piece: float [pairs].

    0 where it stands under all of them, and where no group is treated differently beyond chance.
    """
    values, slopes = pieces.of(pairs.layout.means, weights)
    shown = values.argmin(axis=1) if pieces.least else values.argmax(axis=1)
    quantity = np.take_along_axis(values, shown[:, None], axis=1)[:, 0]
    # All pieces of the higher least, or of the lower largest, must be beaten.
    swap = (quantity[pairs.one] < quantity[pairs.other]) == pieces.least
    every, some = np.where(swap, pairs.other, pairs.one), np.where(swap, pairs.one, pairs.other)
    turned = Pairs(pairs.layout, every, some, pairs.patients, pairs.seeds)
    size, side = np.abs(quantity[every] - quantity[some]), 1.0 if pieces.least else -1.0
    needed = np.zeros(len(every))
    for piece in range(values.shape[1]):
        best = np.full(len(every), np.inf)
        for theirs in (np.full(len(every), piece), shown[some]):
            beaten_by = side * (values[every, piece] - values[some, theirs])
            limit = turned.limit(slopes[every, piece], slopes[some, theirs])
            # As far as the difference must reach for the piece to be beaten, at most a threshold more.
            reach = np.divide(size * limit, beaten_by, out=np.full(len(every), np.inf), where=beaten_by > 0)
            best = np.minimum(best, np.minimum(reach, size + limit))
        needed = np.maximum(needed, np.where(best > size, best, 0))
    return np.where(unlike(pieces, weights, pairs), needed, 0)


def unlike(pieces: Pieces, weights: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Return which pairs treat some groups differently beyond chance: bool [pairs]."""
    values, slopes = pieces.apart(pairs.layout.means, weights)
    found = np.zeros(len(pairs.one), bool)
    for piece in range(values.shape[1]):
        slope = slopes[pairs.one, piece]
        found |= np.abs(values[pairs.one, piece] - values[pairs.other, piece]) > pairs.limit(slope, slope)
    return found


def _rows(signs: np.ndarray, means: np.ndarray) -> Linear:
    """Return sums of the groups' means with signs float [P, G]."""
    slopes = np.hstack([signs, np.zeros((len(signs), 1))])
    return means @ slopes.T, np.broadcast_to(slopes, (len(means), *slopes.shape))


def _groups(means: np.ndarray, weights: np.ndarray) -> Linear:
    return _rows(np.eye(means.shape[1] - 1), means)


def _between(means: np.ndarray, weights: np.ndarray) -> Linear:
    groups = means.shape[1] - 1
    signs = np.zeros((groups * (groups - 1), groups))
    for row, (high, low) in zip(signs, permutations(range(groups), 2), strict=True):
        row[high], row[low] = 1, -1
    return _rows(signs, means)


def _distances(means: np.ndarray, weights: np.ndarray) -> Linear:
    """Return the sum of I - I_g under each choice of signs."""
    signs = _sides(means.shape[1] - 1)
    slopes = signs.sum(axis=1)[:, None] * weights - np.hstack([signs, np.zeros((len(signs), 1))])
    return means @ slopes.T, np.broadcast_to(slopes, (len(means), *slopes.shape))


def _sides(groups: int) -> np.ndarray:
    if groups <= _MOST_GROUPS:
        return np.array(list(product((1.0, -1.0), repeat=groups)))
    one = np.ones((1, groups)) - 2 * np.eye(groups)
    return np.vstack([one, -one, np.ones((1, groups)), -np.ones((1, groups))])


def _scaled(means: np.ndarray, weights: np.ndarray) -> Linear:
    """Return I / (1 + the sum of I - I_g with signs)."""
    overall = (means @ weights)[:, None]
    distance, by_mean = _distances(means, weights)
    under = np.maximum(1 + distance, 0.1)  # a piece that no method shows could fall to 0
    slopes = weights / under[..., None] - (overall / under**2)[..., None] * by_mean
    return overall / under, slopes


_FRACTIONS = {
    "gap": Pieces(_between, _between, least=False),
    "sum_gap": Pieces(_distances, _distances, least=False),
    "es_sum": Pieces(_scaled, _distances, least=True),
    "worst_group": Pieces(_groups, _between, least=True),
    "best_group": Pieces(_groups, _between, least=False),
}
_DISTANCES = {
    "gap": _FRACTIONS["gap"],
    "worst_group": _FRACTIONS["best_group"],
    "best_group": _FRACTIONS["worst_group"],
}


def pieces_of(quantity: str, higher_is_better: bool) -> Pieces | None:
    """Return the pieces of a quantity by the name that `quantities` gives it, None where it has none."""
    return (_FRACTIONS if higher_is_better else _DISTANCES).get(quantity)
