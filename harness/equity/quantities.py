"""The definitions: each quantity as a function of the overall score and the groups' scores.

`overall`: float [...], mean over all samples, unknown group included; `groups`: float [..., G], mean over
the samples of each group; scores are fractions where higher is better unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Quantity = Callable[[np.ndarray, np.ndarray], np.ndarray]

_LEAST_ERROR = 1e-6


def gap(overall: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the best group's score minus the worst's, 0 or more."""
    return np.asarray(groups.max(axis=-1) - groups.min(axis=-1))


def sum_gap(overall: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return `sum_g |I - I_g|`, FairSeg's (Tian et al., ICLR 2024) total discrepancy."""
    return np.asarray(np.abs(groups - overall[..., None]).sum(axis=-1))


def es_sum(overall: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return `I / (1 + sum_g |I - I_g|)`, FairSeg's equity-scaled score: the ranking score."""
    return np.asarray(overall / (1 + sum_gap(overall, groups)))


def es_std(overall: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return `I / (1 + s)`, s the population standard deviation over groups, as FairMedFM does."""
    return np.asarray(overall / (1 + groups.std(axis=-1)))


def es_penalty(overall: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return `I - ES(I)`: what the gaps cost."""
    return np.asarray(overall - es_sum(overall, groups))


def spread(overall: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the population standard deviation over groups."""
    return np.asarray(groups.std(axis=-1))


def skewed_error_ratio(overall: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the worst group's error over the best group's, `max(1 - I_g) / min(1 - I_g)`, 1 or more."""
    errors = np.maximum(1 - groups, _LEAST_ERROR)
    return np.asarray(errors.max(axis=-1) / errors.min(axis=-1))


def highest_group(overall: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the largest group score."""
    return np.asarray(groups.max(axis=-1))


def lowest_group(overall: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the smallest group score."""
    return np.asarray(groups.min(axis=-1))


SCALED = frozenset({"es_sum", "es_std"})
"""Quantities that are the overall score divided by 1 or more, whatever the groups'."""

BOUNDED = frozenset({"gap", "sum_gap", "spread", "skewed_error_ratio"})
"""Quantities that are at their least where all groups are equal, and can only grow with noise."""


def quantities(higher_is_better: bool) -> dict[str, Quantity]:
    """Return the attribute-level quantities by name; distances have no ES, ratio or spread."""
    if not higher_is_better:
        return {"worst_group": highest_group, "best_group": lowest_group, "gap": gap}
    return {
        "es_sum": es_sum,
        "es_std": es_std,
        "worst_group": lowest_group,
        "best_group": highest_group,
        "gap": gap,
        "sum_gap": sum_gap,
        "spread": spread,
        "skewed_error_ratio": skewed_error_ratio,
    }
