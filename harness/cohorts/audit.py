"""Look for what would spoil any ranking on a cohort: leaks between splits, wrong labels, drift."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import chi2_contingency

from harness.cohorts.cohort import SPLITS, Cohort, Remark
from harness.multiplicity import holm
from harness.protocol import Protocol

Check = str
"""The kind of a finding: one of those here, or of a remark that was made as the cohort was read."""

_SIDE = 16  # a difference hash has 16 x 16 bits
_DIFFERENT = 0.08  # share of bits that may differ in a candidate
_SAME = 0.98  # correlation of two thumbnails from which on they show the same image
_ALPHA = 0.05
_BATCH = 256


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, as a sentence; `samples` are those it concerns.

    spoils: whether a ranking on this cohort cannot be trusted before it is mended; the others
    are to be looked at.
    """

    check: Check
    spoils: bool
    message: str
    samples: tuple[str, ...]


def audit(cohort: Cohort, protocol: Protocol) -> list[Finding]:
    """Return what is wrong with a cohort, nothing for a sound one.

    A patient in two splits; the same image, but for noise, size or encoding, in two splits; samples
    without any label; structures whose labels look swapped; groups whose shares differ between splits.
    """
    checks: list[Callable[[Cohort, Protocol], Iterator[Finding]]] = [
        _patients_in_two_splits,
        _images_in_two_splits,
        _empty_masks,
        _swapped_labels,
        _drift,
    ]
    said = [Finding(one.kind, one.spoils, _with_fix(one), one.samples) for one in cohort.remarks]
    return said + [finding for check in checks for finding in check(cohort, protocol)]


def _with_fix(remark: Remark) -> str:
    return f"{remark.message} Write: {remark.fix}" if remark.fix else remark.message


def _patients_in_two_splits(cohort: Cohort, protocol: Protocol) -> Iterator[Finding]:
    for patient, rows in cohort.subjects.groupby("patient"):
        splits = [split for split in SPLITS if (rows["split"] == split).any()]
        if len(splits) > 1:
            message = f"The patient '{patient}' is in {' and '.join(splits)}: put all samples in one split."
            yield Finding("patient", True, message, tuple(rows["sample"]))


def _images_in_two_splits(cohort: Cohort, protocol: Protocol) -> Iterator[Finding]:
    """Find pairs by a difference hash, each then confirmed by the correlation of its thumbnails."""
    splits, names = (cohort.subjects[column].to_numpy() for column in ("split", "sample"))
    thumbnails = np.stack([_thumbnail(image) for image in cohort.images])
    bits = np.sign(np.diff(thumbnails, axis=2)).reshape(len(thumbnails), -1).astype(np.float32)
    for rows in np.array_split(np.arange(len(bits)), -(-len(bits) // _BATCH)):
        # A bit is +1 or -1, and 0 on level ground (black margins), which speaks neither for nor against.
        alike = bits[rows] @ bits.T >= (1 - 2 * _DIFFERENT) * np.abs(bits[rows]).sum(axis=1, keepdims=True)
        alike &= (splits[rows, None] != splits) & (rows[:, None] < np.arange(len(bits)))
        for one, other in zip(rows[np.nonzero(alike)[0]], np.nonzero(alike)[1], strict=True):
            if _correlation(thumbnails[[one, other]]) >= _SAME:
                message = (
                    f"'{names[one]}' ({splits[one]}) and '{names[other]}' ({splits[other]}) show nearly "
                    "the same image: keep one, or put both in one split."
                )
                yield Finding("duplicate", True, message, (names[one], names[other]))


def _thumbnail(image: np.ndarray) -> np.ndarray:
    grey = Image.fromarray(np.asarray(image)).convert("L")
    return np.asarray(grey.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), dtype=np.float64)


def _correlation(pair: np.ndarray) -> float:
    one, other = (image - image.mean() for image in pair)
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / scale if scale else 1.0


def _empty_masks(cohort: Cohort, protocol: Protocol) -> Iterator[Finding]:
    lost = {sample for one in cohort.remarks if one.kind == "resize" for sample in one.samples}
    empty = np.array([not mask.any() for mask in cohort.masks])
    empty &= ~cohort.subjects["sample"].isin(lost).to_numpy(bool)
    if empty.any():
        samples = tuple(cohort.subjects["sample"][empty])
        message = (
            f"{len(samples)} of {len(empty)} masks are empty (first: '{samples[0]}'): make sure that nothing "
            "is there to be segmented."
        )
        yield Finding("empty", False, message, samples)


def _swapped_labels(cohort: Cohort, protocol: Protocol) -> Iterator[Finding]:
    """Find samples in which a structure that lies inside another lies around the rest of it.

    Which of two parts is the inner one follows from most of the samples; a cup is always inside its disc.
    """
    for inner, outer in permutations(protocol.structures, 2):
        part, whole = (set(protocol.classes(name)) for name in (inner, outer))
        if not part < whole:
            continue
        swapped = np.array([_is_outside(mask, part, whole) for mask in cohort.masks])
        if swapped.any() and (inner == "cup" or swapped.mean() < 0.5):
            samples = tuple(cohort.subjects["sample"][swapped])
            message = (
                f"In {len(samples)} of {len(swapped)} masks '{inner}' lies around the rest of '{outer}' "
                f"instead of inside (first: '{samples[0]}'): are labels swapped?"
            )
            yield Finding("swapped", True, message, samples)


def _is_outside(mask: np.ndarray, part: set[int], whole: set[int]) -> bool:
    """Whether the part has more of the whole's outline than the rest has."""
    table = np.isin(np.arange(256), list(whole))
    outside = np.pad(~table[mask], 1, constant_values=True)
    beside = outside[:-2, 1:-1] | outside[2:, 1:-1] | outside[1:-1, :-2] | outside[1:-1, 2:]
    outline = mask[beside & table[mask]]
    return 2 * int(np.isin(outline, list(part)).sum()) > len(outline)


def _drift(cohort: Cohort, protocol: Protocol) -> Iterator[Finding]:
    """Test whether groups, unknown being one, have the same shares of patients in each split."""
    patients = cohort.subjects.drop_duplicates("patient")
    tables = {
        name: pd.crosstab(patients[name].where(patients[name].notna(), "unknown"), patients["split"])
        for name in protocol.attributes
    }
    tables = {name: table for name, table in tables.items() if min(table.shape) > 1}
    p = holm(np.array([chi2_contingency(table).pvalue for table in tables.values()]))
    for (name, table), adjusted in zip(tables.items(), p, strict=True):
        if adjusted < _ALPHA:
            share = table / table.sum()
            row = int((share.max(axis=1) - share.min(axis=1)).argmax())
            shares = ", ".join(
                f"{share[split].iloc[row]:.0%} of {split}" for split in SPLITS if split in share
            )
            message = (
                f"The attribute '{name}' is not the same in all splits (chi-square, p = {adjusted:.2g} after "
                f"Holm): '{share.index[row]}' is {shares}."
            )
            yield Finding("drift", False, message, ())
