"""Intervals and corrected estimates by inverting a bootstrap test.

Gaps and ES are biased and far from normal: noise alone makes a gap, and a percentile interval of a gap
never reaches 0. So for each true value we ask what would have been observed.
The true position of the groups is taken to lie on a line through the estimate: the pattern of the groups
stretched by k (1 is as estimated, 0 all equal) and the overall score shifted, in the proportion
that changes the quantity with the least loss of likelihood. At each point of the line the draws are
added and the quantity computed; the interval holds the points under which the observed value is in
neither tail, and the corrected estimate is the point under which it is the median. A gap cannot miss its
interval from above at k = 0, so there the lower tail's 2.5% goes to the upper one (as Feldman and Cousins,
Phys. Rev. D 1998, do for a bounded parameter), and an interval excludes 0 when a test at 0.05 would. ES is
at its most there, and the tails lean the other way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import ndtri

from harness.equity.quantities import Quantity

Ends: TypeAlias = "float | np.ndarray"

LEVEL = 0.95
STEPS = np.linspace(-6.0, 6.0, 17)
_NEAR_TAIL = 0.04
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, and the estimate corrected for the bias of noise."""

    estimate: float
    low: float
    high: float
    corrected: float


def linear(estimate: float, deviations: np.ndarray) -> Interval:
    """Return the interval of a mean from its deviations, float [R], estimate minus truth."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(deviations, [1 - tail, tail])
    return Interval(estimate, estimate - float(low), estimate - float(high), estimate)


def at_most(
    low: Ends, high: Ends, corrected: Ends, above: tuple[Ends, Ends]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ends and corrected estimate of what is never more than another quantity, whose ends are `above`.

    Each interval is found in its own way, so that of the lesser could hold values that the other excludes: an
    end of it above the other's is put there. Where the greater true value is in its interval, this takes no
    true lesser value out.
    """
    low, high = np.minimum(low, above[0]), np.minimum(high, above[1])
    return low, high, np.minimum(corrected, high)


def extreme(estimates: np.ndarray, deviations: np.ndarray, *, lowest: bool, corrected: float) -> Interval:
    """Return the interval of the lowest (or highest) group's score, whichever group it is.

    estimates: float [G]; deviations: float [G, R], estimate minus truth. The lowest score is above a bound
    only if all groups are, and below one if any is: so the far end takes each group's bound as it is, and the
    near end allows for the number of groups (an intersection-union test). The 5% are spent so that intervals
    cover 95% with one group clearly lowest and with all groups equal.
    """
    sign = 1 if lowest else -1
    near, far = extreme_levels(len(estimates))
    deviations = sign * deviations
    bounds = [
        float((sign * estimates - ends).min()) for ends in np.quantile(deviations, [1 - far, near], axis=1)
    ]
    low, high = sorted(sign * bound for bound in bounds)
    estimate = float(sign * (sign * estimates).min())
    return Interval(estimate, low, high, min(max(corrected, low), high))


def extreme_levels(groups: int) -> tuple[float, float]:
    """Return the tails that `extreme` leaves beyond each group's bound, at the near and at the far end."""
    return 1 - (1 - _NEAR_TAIL) ** (1 / groups), 1 - LEVEL - _NEAR_TAIL / groups


def invert(
    quantity: Quantity,
    overall: np.ndarray,
    pattern: np.ndarray,
    deviations: np.ndarray,
    by_pattern: np.ndarray,
    bounded: bool,
    steps: np.ndarray = STEPS,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return low and high ends and corrected estimates of a quantity of several methods, each float [M].

    overall: float [M], the estimates; pattern: float [M, G], the groups' scores minus overall; deviations:
    float [M, R] and by_pattern: float [M, G, R], draws of both about their estimates; steps: along the line,
    in standard errors.
    """
    spread = deviations.std(axis=1), by_pattern.std(axis=2)
    shift, stretch = _line(quantity, overall, pattern, spread, steps)
    centres = overall[:, None] + shift
    values = quantity(centres, centres[..., None] + stretch[..., None] * pattern[:, None])
    estimate = quantity(overall, overall[:, None] + pattern)
    observed = estimate.astype(np.float32)[:, None, None]
    simulated = _along(quantity, centres, stretch, pattern, deviations, by_pattern)
    below = _share(simulated < observed) + _share(simulated == observed) / 2
    lower, upper = _tails(simulated, stretch, bounded)
    resolution = 0.5 / simulated.shape[2]
    score = ndtri(np.clip(below, resolution, 1 - resolution))
    low = crossing(score - ndtri(upper), values)
    high = crossing(score - ndtri(np.maximum(lower, resolution)), values)
    # Where no draw differs there is nothing to invert: the rounding of float32 would make an interval.
    varies = np.maximum(spread[0], spread[1].max(axis=1)) > _LEAST_SPREAD
    low, high, corrected = (np.where(varies, end, estimate) for end in (low, high, crossing(score, values)))
    return low, high, corrected


def _share(true: np.ndarray) -> np.ndarray:
    """Return the share of draws in which something is true: bool [M, steps, R] -> [M, steps]."""
    rows = true.reshape(-1, true.shape[2])  # a row at a time: along an axis each bool is made a number first
    counts = np.array([np.count_nonzero(row) for row in rows]).reshape(true.shape[:2])
    return np.asarray(counts / true.shape[2])


def _line(
    quantity: Quantity,
    overall: np.ndarray,
    pattern: np.ndarray,
    spreads: tuple[np.ndarray, np.ndarray],
    steps: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return shift of the overall score and stretch of the pattern at each step, the quantity ascending.

    spreads: standard deviations of both, [M] and [M, G].
    """
    scale, spread = (np.maximum(one, 1e-12) for one in spreads)
    distance = np.maximum(np.sqrt(((pattern / spread) ** 2).sum(axis=1)), 1e-9)

    def value(shift: np.ndarray | int, stretch: np.ndarray | int) -> np.ndarray:
        centre = overall + shift
        return quantity(centre, centre[:, None] + np.reshape(stretch, (-1, 1)) * pattern)

    small = 1e-4
    by_shift = (value(small * scale, 1) - value(-small * scale, 1)) / small
    by_stretch = (value(0, 1 + small / distance) - value(0, 1 - small / distance)) / small
    length = np.maximum(np.hypot(by_shift, by_stretch), 1e-300)
    moved = by_stretch != 0
    # Past the point where all groups are equal, only the overall score can move on; where nothing that
    # stretches the pattern changes the quantity there is no such point.
    equal = np.full(len(overall), np.inf)
    np.divide(-length * distance, by_stretch, out=equal, where=moved)
    last = np.where(moved, equal, steps[-1])[:, None]
    steps = np.sort(np.concatenate([np.tile(steps, (len(overall), 1)), last], axis=1), axis=1)
    equal, by_shift, length = equal[:, None], by_shift[:, None], length[:, None]
    past = steps * np.sign(equal) > abs(equal)
    with np.errstate(invalid="ignore"):
        beyond = equal * by_shift / length + (steps - equal) * np.sign(by_shift)
    shift = np.where(past, beyond, steps * by_shift / length)
    return shift * scale[:, None], np.where(past, 0, 1 - steps / equal)


def _along(
    quantity: Quantity,
    centres: np.ndarray,
    stretch: np.ndarray,
    pattern: np.ndarray,
    deviations: np.ndarray,
    by_pattern: np.ndarray,
) -> np.ndarray:
    """Return the quantity at each step and draw: float32 [M, steps, R]."""
    found = np.empty((*centres.shape, deviations.shape[1]), np.float32)
    # Method by method: what is made of one stays in a processor's cache.
    for method, own in enumerate(pattern):
        centre = (centres[method, :, None] + deviations[method]).astype(np.float32)
        # Groups come first in memory and last in the index: reductions over them then run at full speed.
        stretched = (own[:, None] * stretch[method]).astype(np.float32)[..., None]
        groups = stretched + by_pattern[method].astype(np.float32)[:, None]
        groups += centre
        found[method] = quantity(centre, np.moveaxis(groups, 0, -1))
    return found


def _tails(simulated: np.ndarray, stretch: np.ndarray, bounded: bool) -> tuple[np.ndarray, np.ndarray]:
    tail = (1 - LEVEL) / 2
    if not bounded:
        lower = np.where(stretch == 0, _NEAR_TAIL, tail)
        return lower, LEVEL + lower
    nearest = simulated[np.arange(len(simulated)), stretch.argmin(axis=1)]
    limit = np.quantile(nearest, LEVEL, axis=1)[:, None, None]
    power = np.maximum.accumulate(_share(simulated > limit), axis=1)
    lower = tail * np.clip((power - (1 - LEVEL)) / LEVEL, 0, 1)
    return lower, LEVEL + lower


def crossing(falling: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the value where each function of the steps, positive before and negative after, crosses 0.

    falling and values: float [M, steps] -> [M]; the first value or the last where it never crosses.
    """
    negative = falling < 0
    each = np.arange(len(values))
    after = np.where(negative.any(axis=1), negative.argmax(axis=1), falling.shape[1] - 1)
    before = np.maximum(after - 1, 0)
    start, end = falling[each, before], falling[each, after]
    fall = start - end
    # Already at the end where it never crosses, and at the start where it is negative from the first.
    share = np.divide(start, fall, out=np.ones_like(fall), where=(fall > 0) & (end < 0))
    return np.asarray(values[each, before] + share * (values[each, after] - values[each, before]))
