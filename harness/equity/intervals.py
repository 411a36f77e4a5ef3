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

import numpy as np
from scipy.special import ndtri

from harness.equity.quantities import Quantity

LEVEL = 0.95
_STEPS = np.linspace(-6.0, 6.0, 17)
_NEAR_TAIL = 0.04


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


def extreme(estimates: np.ndarray, deviations: np.ndarray, *, lowest: bool, corrected: float) -> Interval:
    """Return the interval of the lowest (or highest) group's score, whichever group it is.

    estimates: float [G]; deviations: float [R, G], estimate minus truth. The lowest score is above a bound
    only if all groups are, and below one if any is: so the far end takes each group's bound as it is, and the
    near end allows for the number of groups (an intersection-union test). The 5% are spent so that intervals
    cover 95% with one group clearly lowest and with all groups equal.
    """
    sign = 1 if lowest else -1
    near = 1 - (1 - _NEAR_TAIL) ** (1 / len(estimates))
    far = 1 - LEVEL - _NEAR_TAIL / len(estimates)
    deviations = sign * deviations
    bounds = [float((sign * estimates - np.quantile(deviations, q, axis=0)).min()) for q in (1 - far, near)]
    low, high = sorted(sign * bound for bound in bounds)
    estimate = float(sign * (sign * estimates).min())
    return Interval(estimate, low, high, min(max(corrected, low), high))


def invert(
    quantity: Quantity,
    overall: float,
    pattern: np.ndarray,
    deviations: np.ndarray,
    by_pattern: np.ndarray,
    bounded: bool,
) -> Interval:
    """Return the interval of a quantity of the overall score and the groups.

    overall: the estimate; pattern: float [G], the groups' scores minus overall; deviations: float [R] and
    by_pattern: float [R, G], draws of both about their estimates.
    """
    shift, stretch = _line(quantity, overall, pattern, deviations, by_pattern)
    centres = overall + shift
    values = quantity(centres, centres[:, None] + stretch[:, None] * pattern)
    estimate = float(quantity(np.array(overall), overall + pattern))
    observed = np.float32(estimate)
    simulated = _along(quantity, overall, pattern, shift, stretch, deviations, by_pattern)
    below = (simulated < observed).mean(axis=1) + (simulated == observed).mean(axis=1) / 2
    lower, upper = _tails(simulated, stretch, bounded)
    resolution = 0.5 / simulated.shape[1]
    score = ndtri(np.clip(below, resolution, 1 - resolution))
    low = _crossing(score - ndtri(upper), values)
    high = _crossing(score - ndtri(np.maximum(lower, resolution)), values)
    return Interval(estimate, low, high, _crossing(score, values))


def _line(
    quantity: Quantity, overall: float, pattern: np.ndarray, deviations: np.ndarray, by_pattern: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return shift of the overall score and stretch of the pattern at each step, the quantity ascending."""
    scale = max(float(deviations.std()), 1e-12)
    spread = np.maximum(by_pattern.std(axis=0), 1e-12)
    distance = max(float(np.sqrt(((pattern / spread) ** 2).sum())), 1e-9)

    def value(shift: float, stretch: float) -> float:
        return float(quantity(np.array(overall + shift), overall + shift + stretch * pattern))

    small = 1e-4
    by_shift = (value(small * scale, 1) - value(-small * scale, 1)) / small
    by_stretch = (value(0, 1 + small / distance) - value(0, 1 - small / distance)) / small
    length = max(float(np.hypot(by_shift, by_stretch)), 1e-300)
    if by_stretch == 0:
        return _STEPS * by_shift / length * scale, np.ones(len(_STEPS))
    # Past the point where all groups are equal, only the overall score can move on.
    equal = -length * distance / by_stretch
    steps = np.sort(np.append(_STEPS, equal))
    past = steps * np.sign(equal) > abs(equal)
    shift = np.where(
        past, equal * by_shift / length + (steps - equal) * np.sign(by_shift), steps * by_shift / length
    )
    return shift * scale, np.where(past, 0, 1 - steps / equal)


def _along(
    quantity: Quantity,
    overall: float,
    pattern: np.ndarray,
    shift: np.ndarray,
    stretch: np.ndarray,
    deviations: np.ndarray,
    by_pattern: np.ndarray,
) -> np.ndarray:
    """Return the quantity at each step and draw: float32 [steps, R]."""
    centre = ((overall + shift)[:, None] + deviations).astype(np.float32)
    # Groups come first in memory and last in the index: reductions over them then run at full speed.
    groups = (pattern[:, None] * stretch).astype(np.float32)[..., None] + by_pattern.T.astype(np.float32)[
        :, None
    ]
    groups += centre
    return quantity(centre, np.moveaxis(groups, 0, -1))


def _tails(simulated: np.ndarray, stretch: np.ndarray, bounded: bool) -> tuple[np.ndarray, np.ndarray]:
    tail = (1 - LEVEL) / 2
    if not bounded:
        lower = np.where(stretch == 0, _NEAR_TAIL, tail)
        return lower, LEVEL + lower
    limit = np.quantile(simulated[int(np.argmin(stretch))], LEVEL)
    power = np.maximum.accumulate((simulated > limit).mean(axis=1))
    lower = tail * np.clip((power - (1 - LEVEL)) / LEVEL, 0, 1)
    return lower, LEVEL + lower


def _crossing(falling: np.ndarray, values: np.ndarray) -> float:
    """Return the value where a function of the steps, positive before and negative after, crosses 0."""
    after = np.flatnonzero(falling < 0)
    if not len(after):
        return float(values[-1])
    i = int(after[0])
    if i == 0:
        return float(values[0])
    share = falling[i - 1] / (falling[i - 1] - falling[i])
    return float(values[i - 1] + share * (values[i] - values[i - 1]))
