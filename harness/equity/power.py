"""How much is enough: the seeds and patients that a difference between two methods takes to be told."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtri

from harness.equity.contrasts import Contrasts, contrasts, layouts
from harness.equity.options import made, numbers, text, whole
from harness.equity.quantities import Quantity, quantities
from harness.equity.reference import ALPHA, Family
from harness.equity.scores import Scores
from harness.errors import HarnessError, did_you_mean

POWER = ("quantity", "difference", "patients", "seeds", "seeds_needed", "patients_needed", "detectable")
"""Columns of `enough`: patients, seeds: those of these scores; seeds_needed: the least seeds of every
method, with these patients, that tell such a difference with probability 0.8 among all pairs;
patients_needed: the least patients with these seeds; NaN where no number does; detectable: the least
difference told with both as they are."""

_MOST_SEEDS = 50
_CHANCE = 0.8


def enough(
    scores: Scores,
    by: str = "es_sum",
    differences: Sequence[float] = (0.01, 0.02, 0.05),
    methods: int | None = None,
) -> pd.DataFrame:
    """Return what it takes to tell two methods a difference apart; columns are `POWER`.

    From the variance components of these scores: of a middle pair by patients, of all methods by seeds, and
    the largest of them, which sets the threshold (`harness.equity.reference`). `methods`: how many the board
    is to compare, these where not given. Linear in the groups' scores: for
    methods that treat the groups alike; a gap that changes takes more (`harness.equity.pieces`).
    Raises HarnessError for an unknown quantity, for fewer than two methods or seeds in common, and for
    differences and methods that are no such numbers.
    """
    made("scores", scores, Scores, "what `Scores` or `from_frame` makes")
    known: dict[str, Quantity] = {"overall": lambda overall, groups: overall} | quantities(
        scores.higher_is_better
    )
    if text("by", by, "a quantity") not in known:
        raise HarnessError(f"Methods cannot be compared by '{by}'.{did_you_mean(by, known)}")
    differences = numbers("differences", differences, "numbers above 0") or ()
    if methods is not None:
        methods = whole("methods", methods, 2)
    found = contrasts(scores, layouts(scores), known[by])
    pairs = np.triu_indices(len(scores.methods), 1)
    seeds = int(np.median(found.common[pairs])) if len(pairs[0]) else 0
    if seeds < 2:
        raise HarnessError("How much is enough is told from two methods with two seeds in common or more.")
    patients = scores.counts[""][1]
    middle = _Components(found, pairs, seeds, methods or len(scores.methods))
    rows = []
    for difference in differences:
        enough_seeds = (s for s in range(2, _MOST_SEEDS + 1) if middle.least(s, 1.0) <= difference)
        rows.append(
            {
                "quantity": by,
                "difference": difference,
                "patients": patients,
                "seeds": seeds,
                "seeds_needed": next(enough_seeds, math.nan),
                "patients_needed": math.ceil(patients * factor)
                if (factor := middle.factor(seeds, difference)) < math.inf
                else math.nan,
                "detectable": middle.least(seeds, 1.0),
            }
        )
    return pd.DataFrame(rows, columns=list(POWER))


class _Components:
    """A middle pair's variances, and what would be told with other numbers of seeds and patients."""

    def __init__(self, found: Contrasts, pairs: tuple[np.ndarray, ...], seeds: int, methods: int) -> None:
        same = found.common[pairs] == seeds
        self.patients = float(np.median(found.patients[pairs][same]))
        self.freedom = float(np.median(found.freedom[pairs][same]))
        self.seed = float(found.seeds[pairs][same].mean()) * seeds
        self.largest = float(np.median(found.tabled[pairs][same])) * seeds
        self.methods = methods

    def least(self, seeds: int, factor: float) -> float:
        """Return the least difference told with so many seeds and so many times the patients."""
        family = Family(self.methods * (self.methods - 1) // 2, self.methods, seeds)
        a, b = family.critical(ALPHA, np.array([self.freedom * factor]))
        by_patients = self.patients / factor
        limit = math.sqrt(float(a[0]) ** 2 * by_patients + b**2 * self.largest / seeds)
        return limit + float(ndtri(_CHANCE)) * math.sqrt(by_patients + self.seed / seeds)

    def factor(self, seeds: int, difference: float) -> float:
        """Return how many times the patients tell a difference, infinity where seeds alone hide it."""
        low, high = 1e-3, 1e4
        if self.least(seeds, high) > difference:
            return math.inf
        for _ in range(50):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self.least(seeds, middle) > difference else (low, middle)
        return high
