"""The gap at equal size, age or image quality: what is left of it when groups are alike in what is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.equity.intervals import invert
from harness.equity.noise import share_above
from harness.equity.options import made, whole
from harness.equity.quantities import gap
from harness.equity.scores import Scores
from harness.errors import HarnessError

ADJUSTED = ("method", "given", "patients", "raw", "adjusted", "low", "high", "p", "explained", "note")
"""Columns of `adjusted`: given: what groups are made alike in; patients: of known group and numbers; raw: the
gap as it is among these; adjusted: at equal values of what is given, with its 95% interval and p-value;
explained: raw less adjusted."""

DRAWS = 2_000
_MOST_OVERLAP = 0.95
"""Share of the variance of what is given that groups may explain: beyond it they have nothing in common."""


@dataclass(frozen=True)
class _Patients:
    """One row a patient and group: mean score, mean of what is given, group, samples."""

    score: np.ndarray
    given: np.ndarray
    group: np.ndarray
    weight: np.ndarray


def adjusted(
    scores: Scores, given: Mapping[str, np.ndarray], *, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Return each method's gap at equal values of the numbers given, a row a method; columns are `ADJUSTED`.

    given: name to a number for each sample, NaN where unknown. A linear regression (analysis of covariance)
    of a patient's mean score on the groups and on each number and its square; a group's adjusted score is
    what it has at the mean of the numbers over all groups. Interval: patients are drawn anew within their
    group, the regression made again, and the test inverted as for any gap (`intervals`). p: residuals of the
    regression without groups are dealt anew to the patients (Freedman and Lane, J. Bus. Econ. Stat. 1983).
    It says what goes with the numbers, not what they cause, and nothing of what was not given. Raises
    HarnessError.
    """
    made("scores", scores, Scores, "what `Scores` or `from_frame` makes")
    made("given", given, Mapping, "a mapping from a name to a number for each sample")
    draws, seed = whole("draws", draws, 1), whole("seed", seed, 0, 2**63 - 1)
    for name, values in given.items():
        if values.shape != scores.groups.shape:
            raise HarnessError(f"'{name}' has shape {values.shape} for {len(scores.groups)} samples.")
    told = " and ".join(given)
    rows = [_row(scores, method, given, told, draws, seed) for method in scores.methods]
    return pd.DataFrame(rows, columns=list(ADJUSTED))


def _row(
    scores: Scores, method: str, given: Mapping[str, np.ndarray], told: str, draws: int, seed: int
) -> dict[str, object]:
    patients = _gathered(scores, np.nanmean(scores.by_method[method], axis=0), list(given.values()))
    row = dict.fromkeys(ADJUSTED, np.nan) | {"method": method, "given": told, "patients": len(patients.score)}
    counts = np.bincount(patients.group, minlength=len(scores.kept)) if len(patients.group) else np.zeros(1)
    if len(scores.kept) < 2 or counts.min() < scores.min_patients:
        return row | {"note": "too few"}
    if why := _apart(patients):
        return row | {"note": why}
    raw = gap(np.zeros(()), _means(patients))
    found = _levels(patients)
    low, high = _interval(patients, found, draws, np.random.default_rng([seed, 0]))
    p = _p_value(patients, found, draws, np.random.default_rng([seed, 1]))
    left = float(gap(np.zeros(()), found))
    return row | {
        "raw": float(raw), "adjusted": left, "low": low, "high": high, "p": p,
        "explained": float(raw) - left, "note": "",
    }  # fmt: skip


def _gathered(scores: Scores, mean: np.ndarray, given: list[np.ndarray]) -> _Patients:
    numbers = np.column_stack(given).astype(float)
    index = {group: i for i, group in enumerate(scores.kept)}
    group = np.array([index.get(one, -1) for one in scores.groups])
    known = (group >= 0) & np.isfinite(numbers).all(axis=1)
    if not known.any():
        return _Patients(np.empty(0), np.empty((0, 1)), np.empty(0, int), np.empty(0))
    _, patient = np.unique(scores.patients.astype(str)[known], return_inverse=True)
    keys, unit = np.unique(patient * (len(index) + 1) + group[known], return_inverse=True)
    weight = np.bincount(unit).astype(float)
    scaled = (numbers[known] - numbers[known].mean(axis=0)) / np.maximum(numbers[known].std(axis=0), 1e-12)
    design = np.column_stack([scaled, scaled**2])
    columns = [np.bincount(unit, column) / weight for column in design.T]
    return _Patients(
        np.bincount(unit, mean[known]) / weight, np.column_stack(columns), keys % (len(index) + 1), weight
    )


def _apart(patients: _Patients) -> str:
    """Say why groups cannot be made alike, "" where they can."""
    within = patients.given - _by_group(patients, patients.given)[patients.group]
    whole = patients.given - np.average(patients.given, axis=0, weights=patients.weight)
    share = (patients.weight @ within**2) / np.maximum(patients.weight @ whole**2, 1e-12)
    if (share < 1 - _MOST_OVERLAP).any():
        return "groups have nothing in common in what is given"
    many = patients.given.shape[1] + patients.group.max() + 2
    return "" if len(patients.score) > 5 * many else "too few patients for as many numbers"


def _by_group(patients: _Patients, values: np.ndarray) -> np.ndarray:
    """Return the groups' weighted means of values [U, ...]."""
    groups = np.eye(patients.group.max() + 1)[patients.group] * patients.weight[:, None]
    means: np.ndarray = (groups / groups.sum(axis=0)).T @ values
    return means


def _means(patients: _Patients) -> np.ndarray:
    return _by_group(patients, patients.score)


def _levels(patients: _Patients) -> np.ndarray:
    """Return the groups' scores at the mean of what is given, float [G]."""
    levels: np.ndarray = _regressed(_moments(patients).sum(axis=0)[None], patients)[0]
    return levels


def _design(patients: _Patients) -> np.ndarray:
    groups = np.eye(patients.group.max() + 1)[patients.group]
    centred = patients.given - np.average(patients.given, axis=0, weights=patients.weight)
    return np.column_stack([groups, centred])


def _moments(patients: _Patients) -> np.ndarray:
    """Return each patient's part of the normal equations, float [U, K, K + 1]."""
    design = _design(patients)
    both = np.column_stack([design, patients.score])
    moments: np.ndarray = patients.weight[:, None, None] * design[:, :, None] * both[:, None, :]
    return moments


def _regressed(moments: np.ndarray, patients: _Patients) -> np.ndarray:
    """Return groups' levels of summed normal equations, float [R, K, K + 1] -> [R, G]."""
    left, right = moments[..., :-1], moments[..., -1]
    ridge = 1e-10 * np.eye(left.shape[-1]) * np.trace(left, axis1=1, axis2=2)[:, None, None]
    solved = np.linalg.solve(left + ridge, right[..., None])[..., 0]
    return np.asarray(solved[:, : patients.group.max() + 1])


def _interval(
    patients: _Patients, found: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    flat = _moments(patients).reshape(len(patients.score), -1)
    total = np.zeros((draws, flat.shape[1]))
    stretch = np.ones(len(found))
    for g in range(len(found)):
        rows = np.flatnonzero(patients.group == g)
        counts = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), draws)
        total += counts @ flat[rows]
        stretch[g] = np.sqrt(len(rows) / (len(rows) - 1))
    shape = _moments(patients).shape[1:]
    around = (_regressed(total.reshape(draws, *shape), patients) - found) * stretch
    share = np.bincount(patients.group, patients.weight) / patients.weight.sum()
    overall, deviations = found @ share, around @ share
    low, high, _ = invert(
        gap,
        np.array([overall]),
        (found - overall)[None],
        deviations[None],
        (around - deviations[:, None]).T[None],
        bounded=True,
    )
    return float(low[0]), float(high[0])


def _p_value(patients: _Patients, found: np.ndarray, draws: int, rng: np.random.Generator) -> float:
    """Return the share of deals with at least the adjusted gap, residuals dealt under no group at all."""
    root = np.sqrt(patients.weight)[:, None]
    design = _design(patients)
    reduced = np.column_stack([np.ones(len(design)), design[:, len(found) :]]) * root
    score = patients.score[:, None] * root
    residual = (score - reduced @ np.linalg.lstsq(reduced, score, rcond=None)[0])[:, 0]
    levels = np.linalg.pinv(design * root)[: len(found)]
    dealt = np.stack([residual[rng.permutation(len(residual))] for _ in range(draws)], axis=1)
    null = gap(np.zeros(draws), (levels @ dealt).T)
    return share_above(np.asarray(null), float(gap(np.zeros(()), found)))
