"""What noise makes of a quantity where all groups are alike: more for a method whose scores spread more.

Noise alone makes gaps. Of two methods that are as fair, the one whose scores differ more from patient to
patient, or whose seeds treat groups less alike, shows the wider gap, and neither an exchange of the two nor
an error that is linear knows of it. The most that noise moves a quantity by is where the groups are equal; so
much of a difference, the one method's less the other's, is never told from chance.
"""

from __future__ import annotations

import numpy as np

from harness.equity.contrasts import Layout
from harness.equity.quantities import Quantity
from harness.equity.resampling import spread_of_seeds

DRAWS = 1000


def moved(quantity: Quantity, layout: Layout, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return by how much patients and seeds move a quantity of equal groups, a method: float [M'].

    weights: float [K], the strata's shares. The draws are the same for all methods, so that methods whose
    scores spread alike are moved alike.
    """
    member = np.eye(len(layout.units))[layout.stratum]
    spread, seeds = np.sqrt(layout.errors**2 @ member), layout.by_seed.shape[1]
    patients = rng.standard_normal((DRAWS, len(weights)))
    of_seeds = rng.standard_normal((DRAWS, seeds))
    overall = layout.means @ weights
    found = np.empty(len(overall))
    for method, middle in enumerate(overall):
        moved_by_seeds = spread_of_seeds(layout.by_seed[method], of_seeds)
        around = np.asfortranarray(middle + spread[method] * patients + moved_by_seeds)
        equal = np.full(len(weights) - 1, middle)
        found[method] = quantity(around @ weights, around[:, :-1]).mean() - quantity(middle, equal)
    return found


def apart(by_method: np.ndarray) -> np.ndarray:
    """Return how far all pairs' values are apart: float [M] -> [M, M]."""
    return np.asarray(np.abs(by_method[:, None] - by_method))
