"""Score predicted label maps against the truth: one row a sample and structure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.errors import HarnessError
from harness.metrics.overlap import overlap, vertical_cup_disc_ratio
from harness.metrics.structure import score_structure, scores_of
from harness.metrics.surface import TOLERANCE, pooled
from harness.protocol import IGNORED
from harness.store import FALSE_POSITIVE_AREA, SCORES


@dataclass(frozen=True)
class Layout:
    """What is scored as one, and how far apart its pixels are.

    units: the name of what each sample belongs to [N], in which samples of one follow each other anywhere;
    volumes: the volume that each is a slice of [N], "" for none; slices: which one [N]; spacing: mm from one
    slice, row and column to the next, float64 [N, 3], None for pixels.
    """

    units: Sequence[str]
    volumes: Sequence[str]
    slices: Sequence[int]
    spacing: np.ndarray | None = None


def score(
    labels: np.ndarray,
    truth: np.ndarray,
    samples: Sequence[str],
    structures: Mapping[str, tuple[int, ...]],
    layout: Layout | None = None,
    tolerance: float = TOLERANCE,
) -> pd.DataFrame:
    """Return the columns of `SCORES`, samples in their order and structures in theirs.

    labels, truth: uint8 [N, H, W], class indices, 0 is background, and in the truth IGNORED is neither
    structure nor background, whatever was predicted there; structures: name to the class
    indices that make it up. The vertical cup-to-disc ratio's error is on the rows of `disc` where the
    protocol has both `cup` and `disc`: |predicted - true|, 1 where just one of the two has a disc.
    With a layout, its units are scored instead of samples, in the order in which they first come. Where some
    truth is empty there is a column more, FALSE_POSITIVE_AREA. Raises HarnessError where shapes or names do
    not fit.
    """
    _check(labels, truth, samples, structures)
    layout = layout or Layout(samples, [""] * len(samples), [0] * len(samples))
    members: dict[str, list[int]] = {}
    for row, unit in enumerate(layout.units):
        members.setdefault(str(unit), []).append(row)
    rows = [
        {"sample": unit, **row}
        for unit, own in members.items()
        for row in _score_unit(_stacks(labels, truth, own, layout), structures, tolerance)
    ]
    frame = pd.DataFrame(rows, columns=[*SCORES, FALSE_POSITIVE_AREA, _THERE])
    there = frame.pop(_THERE).to_numpy(bool)
    if there.all():
        frame = frame.drop(columns=FALSE_POSITIVE_AREA)
    numbers = [name for name in frame.columns if name not in ("sample", "structure", "missed")]
    return frame.astype({"sample": str, "structure": str, "missed": bool} | dict.fromkeys(numbers, float))


_THERE = "there"
_Stack = tuple[np.ndarray, np.ndarray, "tuple[float, ...] | None"]
"""Predicted and true classes, [H, W] or [D, H, W], and their spacing."""


def _stacks(labels: np.ndarray, truth: np.ndarray, rows: list[int], layout: Layout) -> list[_Stack]:
    """Return what the rows of a unit are: one volume where they are its slices, else each by itself."""
    rows = sorted(rows, key=lambda row: (layout.volumes[row], layout.slices[row]))
    spacing = layout.spacing
    steps = np.diff([layout.slices[row] for row in rows])
    whole = len({layout.volumes[row] for row in rows}) == 1 and layout.volumes[rows[0]] != ""
    if len(rows) > 1 and whole and spacing is not None and (steps == steps[0]).all():
        apart = spacing[rows[0]]
        if not np.isnan(apart).any():
            return [_clean(labels[rows], truth[rows], tuple(apart))]
    found = (None if spacing is None else tuple(spacing[row, 1:]) for row in rows)
    return [_clean(labels[row], truth[row], own) for row, own in zip(rows, found, strict=True)]


def _clean(predicted: np.ndarray, true: np.ndarray, spacing: tuple[float, ...] | None) -> _Stack:
    ignored = true == IGNORED
    if not ignored.any():
        return predicted, true, spacing
    return np.where(ignored, 0, predicted), np.where(ignored, 0, true), spacing


def _score_unit(
    stacks: list[_Stack], structures: Mapping[str, tuple[int, ...]], tolerance: float
) -> list[dict[str, str | float]]:
    rows = []
    for name, classes in structures.items():
        pairs = [(_mask(p, classes), _mask(t, classes), spacing) for p, t, spacing in stacks]
        alone = len(pairs) == 1
        if alone:
            found = score_structure(*pairs[0], tolerance)
        else:
            both = [overlap(p, t) for p, t, _ in pairs]
            common, union = (sum(part) for part in zip(*both, strict=True))
            found = scores_of(common, union, pooled(pairs), tolerance)
        error = math.nan
        if name == "disc" and "cup" in structures and alone and pairs[0][0].ndim == 2:
            cup = (_mask(stacks[0][0], structures["cup"]), _mask(stacks[0][1], structures["cup"]))
            error = _ratio_error(cup, pairs[0][:2])
        there = any(t.any() for _, t, _ in pairs)
        area = sum(np.count_nonzero(p & ~t) * (1.0 if s is None else s[-1] * s[-2]) for p, t, s in pairs)
        rows.append(
            {"structure": name, **found, "vcdr_error": error, FALSE_POSITIVE_AREA: area, _THERE: there}
        )
    return rows


def _mask(labels: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    mask: np.ndarray = labels == classes[0]
    for index in classes[1:]:
        mask |= labels == index
    return mask


def _ratio_error(cup: tuple[np.ndarray, np.ndarray], disc: tuple[np.ndarray, np.ndarray]) -> float:
    predicted, true = (vertical_cup_disc_ratio(c, d) for c, d in zip(cup, disc, strict=True))
    if math.isnan(predicted) or math.isnan(true):
        return 0.0 if math.isnan(predicted) and math.isnan(true) else 1.0
    return abs(predicted - true)


def _check(
    labels: np.ndarray, truth: np.ndarray, samples: Sequence[str], structures: Mapping[str, tuple[int, ...]]
) -> None:
    if labels.ndim != 3 or labels.shape != truth.shape or len(samples) != len(labels):
        raise HarnessError(
            f"Predictions of shape {labels.shape} do not fit truths of shape {truth.shape} and "
            f"{len(samples)} samples; give class indices [N, H, W] of both, and N samples."
        )
    if len(set(samples)) != len(samples):
        twice = next(sample for sample in samples if list(samples).count(sample) > 1)
        raise HarnessError(f"Sample '{twice}' is there twice; each sample is scored once.")
    for name, classes in structures.items():
        if not classes:
            raise HarnessError(f"Structure '{name}' has no class; give the class indices that make it up.")
