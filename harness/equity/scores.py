"""What equity is computed from: per-sample scores of several methods, with groups and patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from harness.equity.options import flag, is_whole, made, text, texts
from harness.errors import HarnessError, did_you_mean, shown
from harness.spelling import is_patient_column

MIN_PATIENTS = 10
"""Groups with fewer patients get "too few" instead of a number (docs/equity.md measures why)."""


@dataclass(frozen=True)
class Units:
    """Samples gathered into what is resampled: a patient (a patient in two groups counts in both).

    stratum: int [U], index of the group among those with enough patients, the number of groups for all
    other samples (unknown, too few); patient: int [U], index of the patient by name; samples: float [U],
    how many each holds; sums: one float [S, U] a method, the sum of its samples' scores under each of its
    seeds; seeds: which positions these are.
    """

    stratum: np.ndarray
    patient: np.ndarray
    samples: np.ndarray
    sums: tuple[np.ndarray, ...]
    seeds: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Scores:
    """Scores of one structure under one metric and attribute, method by method.

    by_method: method to float [S, N], a row a seed, paired across methods by position; a row that is all
    NaN is a seed this method does not have, as is a row beyond its last. groups: [N], group name or
    None (any missing value) for unknown. patients: [N]. order: the groups as they should be listed,
    by name when empty. higher_is_better: True for fractions (Dice, IoU, NSD), False for distances.

    Raises HarnessError where shapes, values or names do not fit.
    """

    by_method: Mapping[str, np.ndarray]
    groups: np.ndarray
    patients: np.ndarray
    order: Sequence[str] = ()
    higher_is_better: bool = True
    min_patients: int = MIN_PATIENTS

    def __post_init__(self) -> None:
        for name, values in (("groups", self.groups), ("patients", self.patients)):
            if (axes := _axes(values)) != 1:
                raise HarnessError(f"The {name} have {axes} axes; give one name per sample.")
        made("by_method", self.by_method, Mapping, "a mapping from method to scores")
        for name in self.by_method:
            text("A method's name", name, "it")
        object.__setattr__(self, "higher_is_better", flag("higher_is_better", self.higher_is_better))
        object.__setattr__(self, "min_patients", _least(self.min_patients))
        order = texts("order", self.order, "the groups' names")
        known = np.array([None if pd.isna(group) else str(group) for group in self.groups], dtype=object)
        object.__setattr__(self, "groups", known)
        object.__setattr__(self, "patients", np.asarray(self.patients))
        rows = {name: _numbers(name, s) for name, s in self.by_method.items()}
        object.__setattr__(self, "by_method", rows)
        object.__setattr__(self, "order", order or tuple(sorted({g for g in known if g is not None})))
        _check(self)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods' names, in the order given."""
        return tuple(self.by_method)

    @cached_property
    def counts(self) -> dict[str, tuple[int, int]]:
        """Samples and patients of each group, and under "" of all together (unknown groups included)."""
        rows = {"": np.ones(len(self.groups), bool)} | {group: self.groups == group for group in self.order}
        return {
            name: (int(mine.sum()), len(set(self.patients[mine].tolist()))) for name, mine in rows.items()
        }

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """The groups with at least `min_patients` patients: those that gaps and ES are taken over."""
        return tuple(g for g in self.order if self.counts[g][1] >= self.min_patients)

    @cached_property
    def left_out(self) -> tuple[str, ...]:
        """The groups with too few patients to say anything."""
        return tuple(g for g in self.order if g not in self.kept)

    @cached_property
    def units(self) -> Units:
        """Return the samples gathered by patient."""
        index = {group: i for i, group in enumerate(self.kept)}
        stratum = np.array([index.get(group, len(index)) for group in self.groups])
        _, patient = np.unique(self.patients.astype(str), return_inverse=True)
        keys, unit = np.unique(patient * (len(index) + 1) + stratum, return_inverse=True)
        there = tuple(np.flatnonzero(~np.isnan(s).all(axis=1)) for s in self.by_method.values())
        sums = tuple(
            np.stack([np.bincount(unit, row, len(keys)) for row in s[seeds]])
            for s, seeds in zip(self.by_method.values(), there, strict=True)
        )
        n = len(index) + 1
        return Units(keys % n, keys // n, np.bincount(unit).astype(float), sums, there)


_ROLES = ("score", "group", "patient", "sample", "method", "seed")


def from_frame(
    frame: pd.DataFrame,
    *,
    score: str,
    group: str,
    patient: str = "patient",
    sample: str = "sample",
    method: str = "method",
    seed: str = "seed",
    **options: Any,
) -> Scores:
    """Read a tidy frame, one row a method, seed and sample, into `Scores`.

    The arguments name its columns; `options` are the further fields of `Scores`. A frame without the
    method, seed or patient column has one method ("method"), one seed, or one patient a sample. Raises
    HarnessError for a column that is missing or there twice, one that looks like a patient's id and is not
    used, a sample scored twice, or samples that a method did not score.
    """
    if not isinstance(frame, pd.DataFrame):
        raise HarnessError(f"from_frame was given a {type(frame).__name__}; give a pandas DataFrame.")
    for role, column in zip(_ROLES, (score, group, patient, sample, method, seed), strict=True):
        text(role, column, "the name of a column")
    for column in (score, group, sample, patient, method, seed):
        if list(frame.columns).count(column) > 1:
            raise HarnessError(f"The frame has two columns '{column}'; keep one.")
    for column in (score, group, sample):
        if column not in frame.columns:
            raise HarnessError(
                f"The frame has no column '{column}'.{did_you_mean(column, map(str, frame.columns))}"
            )
    _check_patient(frame, patient, sample, used=(score, group, method, seed))
    frame = frame.copy(deep=False)
    for name, value in ((method, "method"), (seed, 0), (patient, frame[sample])):
        if name not in frame.columns:
            frame[name] = value
    if not pd.api.types.is_numeric_dtype(frame[score]):
        raise HarnessError(
            f"Column '{score}' holds {frame[score].dtype} and not numbers; convert the scores to fractions."
        )
    twice = frame.duplicated([method, seed, sample])
    if twice.any():
        row = frame[twice].iloc[0]
        raise HarnessError(
            f"Sample '{row[sample]}' is there twice for method '{row[method]}', seed {row[seed]}."
        )
    for name in (group, patient):
        if (frame.groupby(sample)[name].nunique(dropna=False) > 1).any():
            raise HarnessError(f"A sample has two values in column '{name}'; give it the same in every row.")
    about = frame.drop_duplicates(sample).set_index(sample, drop=False)
    seeds = sorted(frame[seed].unique(), key=lambda one: (isinstance(one, str), one))
    by_method = {}
    for name in frame[method].unique():
        table = frame[frame[method] == name].pivot(index=seed, columns=sample, values=score)
        table = table.reindex(index=seeds, columns=about.index)
        for which, row in table[table.isna().any(axis=1) & table.notna().any(axis=1)].iterrows():
            raise HarnessError(
                f"Method '{name}', seed {which} has no score for {int(row.isna().sum())} of {len(row)} "
                f"samples ('{row.index[row.isna()][0]}' first); score each under every seed, a miss as 0."
            )
        by_method[str(name)] = table.to_numpy(float)
    return Scores(by_method, about[group].to_numpy(object), about[patient].to_numpy(), **options)


def _check_patient(frame: pd.DataFrame, patient: str, sample: str, used: Sequence[str]) -> None:
    """Raise HarnessError where patients are named in another column: intervals would be too narrow."""
    if patient in frame.columns:
        return
    for column in frame.columns:
        if column in used or column == sample or not is_patient_column(str(column)):
            continue
        if frame[sample].groupby(frame[column]).nunique().le(1).all():
            continue
        raise HarnessError(
            f"The frame has no column '{patient}', and '{column}' looks like it: give patient='{column}', or "
            f"patient='{sample}' where each sample is a patient of its own."
        )


def _axes(values: object) -> int:
    try:
        return np.ndim(values)  # type: ignore[arg-type]
    except ValueError:  # rows of different lengths
        return 2


def _least(patients: int) -> int:
    if not is_whole(patients, 1):
        raise HarnessError(f"min_patients is {shown(patients)}; give 1 or more.")
    return patients


def _numbers(name: str, scores: object) -> np.ndarray:
    try:
        values: Any = np.ma.asarray(scores) if np.ma.isMaskedArray(scores) else np.asarray(scores)
        # Half of a complex number is no score; what is masked was not scored.
        casting: Any = "safe" if values.dtype.kind == "c" else "unsafe"
        return np.atleast_2d(np.asarray(np.ma.filled(values.astype(float, casting=casting), np.nan)))
    except (TypeError, ValueError):
        raise HarnessError(
            f"Method '{name}' has scores that are not numbers or rows of different lengths; "
            "give an array of numbers [seeds, samples]."
        ) from None


def _check(scores: Scores) -> None:
    n = len(scores.groups)
    if not scores.by_method or n == 0:
        raise HarnessError("There is nothing to compare: give at least one method and one sample.")
    if len(scores.patients) != n:
        raise HarnessError(f"{n} groups but {len(scores.patients)} patients; give one of each per sample.")
    for name, rows in scores.by_method.items():
        _check_rows(name, rows, n, scores.higher_is_better)
    if pd.isna(scores.patients).any():
        raise HarnessError("A sample's patient is missing; name the patient of every sample.")
    if twice := sorted({group for group in scores.order if scores.order.count(group) > 1}):
        raise HarnessError(f"The order of groups names '{twice[0]}' twice; name each once.")
    named = {group for group in scores.groups if group is not None}
    if "" in named:
        raise HarnessError("A group's name is empty; give None where the group is unknown.")
    if not named:
        raise HarnessError("Every sample's group is unknown; give the group of at least some samples.")
    for group in sorted(named - set(scores.order)):
        raise HarnessError(
            f"Group '{group}' is not in the order of groups.{did_you_mean(group, scores.order)}"
        )


def _check_rows(name: str, rows: np.ndarray, n: int, fractions: bool) -> None:
    if rows.ndim != 2 or rows.shape[1] != n:
        raise HarnessError(f"Method '{name}' has scores of shape {rows.shape}; give [seeds, {n}].")
    gaps = np.isnan(rows)
    if (gaps.any(axis=1) != gaps.all(axis=1)).any() or gaps.all():
        raise HarnessError(
            f"Method '{name}' has NaN scores, of samples that were not scored; give every sample "
            "a score under each of its seeds, or leave the seed out (NaN throughout)."
        )
    values = rows[~gaps]
    if not np.isfinite(values).all():
        raise HarnessError(
            f"Method '{name}' has an infinite score; a missed structure scores the image diagonal."
        )
    if fractions and (values.min() < 0 or values.max() > 1):
        raise HarnessError(
            f"Method '{name}' has scores from {values.min():g} to {values.max():g}; ES is defined on "
            "fractions in [0, 1] (divide percentages by 100), and distances need higher_is_better=False."
        )
