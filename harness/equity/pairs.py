"""Two methods on the same patients and seeds: what differs, how surely, and by chance how often."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.equity.intervals import Interval
from harness.equity.noise import p_value
from harness.equity.quantities import Quantity
from harness.equity.resampling import Draws, Parts, spread_of_seeds, tails, take_apart
from harness.equity.summary import freedom, gradient

_CHUNK_CELLS = 4_000_000


@dataclass(frozen=True)
class Pair:
    """Method `one` against method `other` on the seeds that both have.

    centre, difference: float [K], mean of and difference between the two methods' strata means;
    part: variance of the difference; drawn: float [R, K], its deviations over resamples; around: two
    floats [R, K], those of each method;
    swapped: float [R, K], differences when the two methods' scores are exchanged at random for each
    patient, with the deviations by seeds on top.
    """

    seeds: int
    centre: np.ndarray
    difference: np.ndarray
    part: Parts
    drawn: np.ndarray
    around: tuple[np.ndarray, np.ndarray]
    swapped: np.ndarray


@dataclass(frozen=True)
class Difference:
    """A quantity's difference between two methods: 95% interval and p-value, two-sided."""

    estimate: float
    low: float
    high: float
    p: float


def pairs(draws: Draws, which: Sequence[tuple[int, int]]) -> list[Pair]:
    """Prepare pairs of methods, given by position, with one set of swaps shared by all of them."""
    units = draws.scores.units
    apart = [_differences(draws, one, other) for one, other in which]
    swaps = _swaps(draws, np.stack([sums.mean(axis=0) for sums, _ in apart], axis=1))
    result = []
    for i, (one, other) in enumerate(which):
        sums, common = apart[i]
        part = take_apart(sums, units.stratum, units.samples, len(draws.weights))
        by_seeds = spread_of_seeds(part.by_seed, draws.seeds_normal[:, common])
        mean_one, mean_other = _mean(draws, one, common), _mean(draws, other, common)
        result.append(
            Pair(
                len(common),
                (mean_one + mean_other) / 2,
                mean_one - mean_other,
                part,
                (draws.plain[:, one] - draws.plain[:, other]) * part.share + by_seeds,
                (_around(draws, one, common), _around(draws, other, common)),
                swaps[:, i] * part.share + by_seeds,
            )
        )
    return result


def difference(
    draws: Draws, pair: Pair, quantity: Quantity, singles: tuple[Interval, Interval] | None = None
) -> Difference:
    """Return one quantity's difference; `quantity` takes the overall score and the groups' scores.

    `singles`: the intervals of both methods by themselves, for a quantity that noise moves (gaps, ES). The
    difference's is put together from them and the correlation of the two over the resamples (MOVER, Zou
    and Donner, Stat. Med. 2008): noise moves each by what it is, and by more where there is no gap.
    """

    def value(centre: np.ndarray, apart: np.ndarray) -> np.ndarray:
        one, other = (np.asfortranarray(centre + side * apart / 2) for side in (1, -1))
        return quantity(one @ draws.weights, one[..., :-1]) - quantity(other @ draws.weights, other[..., :-1])

    wide = tails(_freedom(draws, pair, quantity), draws.resamples, draws.random(5))[:, None]
    estimate = float(value(pair.centre, pair.difference))
    null = value(pair.centre, wide * pair.swapped)
    if singles is None:
        low, high = estimate - np.quantile(value(pair.centre, wide * pair.drawn), [0.975, 0.025])
    else:
        low, high = _together(singles, _correlation(draws, pair, quantity))
    return Difference(estimate, float(low), float(high), p_value(np.abs(null), abs(estimate)))


def _together(singles: tuple[Interval, Interval], correlation: float) -> tuple[float, float]:
    one, other = singles
    centre = one.corrected - other.corrected

    def distance(mine: float, yours: float) -> float:
        return math.sqrt(max(mine**2 + yours**2 - 2 * correlation * mine * yours, 0))

    down = distance(one.corrected - one.low, other.high - other.corrected)
    return centre - down, centre + distance(one.high - one.corrected, other.corrected - other.low)


def _correlation(draws: Draws, pair: Pair, quantity: Quantity) -> float:
    sides = []
    for sign, around in zip((1, -1), pair.around, strict=True):
        means = np.asfortranarray(pair.centre + sign * pair.difference / 2 + around)
        sides.append(quantity(means @ draws.weights, means[..., :-1]))
    return float(np.corrcoef(sides)[0, 1]) if all(side.std() > 0 for side in sides) else 0.0


def _freedom(draws: Draws, pair: Pair, quantity: Quantity) -> float:
    """Return the degrees of freedom of the difference, along the mean of both methods' slopes."""
    sides = [gradient(quantity, draws.weights, pair.centre + sign * pair.difference / 2) for sign in (1, -1)]
    return freedom((sides[0] + sides[1]) / 2, pair.part, draws.patients)


def _differences(draws: Draws, one: int, other: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the units' differences under each seed that both methods have, and these seeds."""
    units = draws.scores.units
    common, mine, yours = np.intersect1d(units.seeds[one], units.seeds[other], return_indices=True)
    return units.sums[one][mine] - units.sums[other][yours], common


def _around(draws: Draws, method: int, seeds: np.ndarray) -> np.ndarray:
    return np.asarray(draws.plain[:, method] * draws.parts[method].share + draws.by_seeds(method, seeds))


def _mean(draws: Draws, method: int, seeds: np.ndarray) -> np.ndarray:
    rows = np.isin(draws.scores.units.seeds[method], seeds)
    return np.asarray(draws.parts[method].by_seed[rows].mean(axis=0))


def _swaps(draws: Draws, apart: np.ndarray) -> np.ndarray:
    """Return differences of strata means, float [R, P, K], with random signs for each unit of `apart`."""
    stratum, samples = draws.scores.units.stratum, draws.scores.units.samples
    rng = draws.random(4)
    n_strata = len(draws.weights)
    size = np.maximum(np.bincount(stratum, samples, n_strata), 1)
    columns = (apart / size[stratum][:, None]).astype(np.float32)
    blocks = []
    for start in range(0, draws.resamples, step := max(1, _CHUNK_CELLS // len(stratum))):
        rows = min(step, draws.resamples - start)
        bits = rng.integers(0, 2, (rows, len(stratum)), dtype=np.int8)
        signs = (2 * bits - 1).astype(np.float32)
        blocks.append(
            np.stack([signs[:, stratum == k] @ columns[stratum == k] for k in range(n_strata)], axis=-1)
        )
    return np.asarray(np.concatenate(blocks).astype(float))
