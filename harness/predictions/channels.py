"""Arrays with a channel for each label: one-hot maps, maps of structures that overlap, and probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from harness.errors import HarnessError
from harness.predictions.coding import Coding, over_each_other
from harness.predictions.geometry import fitted
from harness.predictions.grids import Grid

_SUMS_TO_ONE = 2e-2
_LOOSE = 1e-3
"""By how much a probability may lie beyond 0 or 1: of what was saved with few bits."""


@dataclass(frozen=True)
class Soft:
    """What a model said of each pixel: probability, float [K, ...], on its truth's grid.

    exclusive: whether the channels are the background and the labels in ascending order, which add up to 1;
    else they are the structures in theirs; of: structure to its channels.
    """

    probability: np.ndarray
    exclusive: bool
    of: dict[str, tuple[int, ...]]


def has_channels(grid: Grid, truth: Grid, coding: Coding) -> bool:
    """Tell whether a prediction has several channels beside its truth's axes, or is one probability."""
    if grid.array.ndim == truth.array.ndim + 1:
        count = grid.array.shape[-1 if grid.channels_last else 0]
        return count > 1 or _is_probability(grid.array, coding)
    return grid.array.ndim == truth.array.ndim and _is_probability(grid.array, coding)


def _is_probability(array: np.ndarray, coding: Coding) -> bool:
    """Tell whether an array without channels can only be the probability of one structure."""
    one = len(coding.structures) == 1 and _is_soft(array)
    return one and bool(array.min() >= -_LOOSE and array.max() <= 1 + _LOOSE)


def first(grid: Grid, truth: Grid, resample: str | None) -> np.ndarray:
    """Return the channels on the truth's grid, [K, ...]. Raises HarnessError as `fitted` does."""
    array = grid.array
    if array.ndim == truth.array.ndim:
        return fitted(grid, truth, resample)[None]
    axis = array.ndim - 1 if grid.channels_last else 0
    parts = [np.take(array, c, axis) for c in range(array.shape[axis])]
    return np.stack([fitted(replace(grid, array=part), truth, resample) for part in parts])


def of_network(grid: Grid, truth: Grid, resample: str | None) -> np.ndarray:
    """Return nnU-Net's probabilities on the truth's grid: stored [K, z, y, x], where NIfTI has x, y, z."""
    array = grid.array
    if truth.affine is not None and array.ndim == 4:
        array = array.transpose(0, 3, 2, 1)
    elif truth.affine is None and array.ndim == 4 and array.shape[1] == 1 and truth.array.ndim == 2:
        array = array[:, 0]
    return first(replace(grid, array=array), truth, resample)


def soft(channels: np.ndarray, coding: Coding, where: str) -> Soft:
    """Return what channels of probabilities mean. Raises HarnessError where nobody can tell."""
    if np.isnan(channels).any():
        raise HarnessError(f"{where}: holds NaN, which is no probability; save the model's output again.")
    low, high = float(channels.min()), float(channels.max())
    if low < -_LOOSE or high > 1 + _LOOSE:
        raise HarnessError(
            f"{where}: has values from {low:g} to {high:g}: logits? Save probabilities (softmax or sigmoid)."
        )
    count, structures = len(channels), len(coding.structures)
    if count == len(coding.labels) + 1 and _adds_up(channels):
        _check_consecutive(coding, where)
        return Soft(channels, True, coding.classes)
    if count == structures:
        return Soft(channels, False, {name: (i,) for i, name in enumerate(coding.structures)})
    raise HarnessError(
        f"{where}: has {count} channels, where {len(coding.labels) + 1} (background and labels, adding up to "
        f"1) or {structures} (one a structure) are meant by {coding.told}."
    )


def decided(found: Soft) -> np.ndarray:
    """Return the likeliest class of each pixel, or channel by channel whether it is at least one half."""
    if found.exclusive:
        return np.asarray(found.probability.argmax(axis=0).astype(np.uint8))
    return np.asarray(found.probability >= 0.5)


def hard(channels: np.ndarray, coding: Coding, where: str) -> tuple[np.ndarray, bool]:
    """Return classes, or sets of structures (True), of channels of 0 and 1. Raises HarnessError."""
    values = channels != 0
    if ((channels != 0) & (channels != 1) & (channels != 255)).any():
        raise HarnessError(f"{where}: channels hold 0 and 1 (one-hot) or probabilities; this has others.")
    if len(channels) == len(coding.labels) + 1 and (values.sum(axis=0) == 1).all():
        _check_consecutive(coding, where)
        return values.argmax(axis=0).astype(np.uint8), False
    if len(channels) == len(coding.structures):
        return over_each_other(dict(zip(coding.structures, values, strict=True)), where), True
    if len(channels) == len(coding.labels) + 1:
        raise HarnessError(
            f"{where}: one-hot channels have one 1 a pixel, and here some have none or several; give one "
            f"channel a structure ({len(coding.structures)}) or mend the file."
        )
    raise HarnessError(
        f"{where}: has {len(channels)} channels, where {len(coding.labels) + 1} (background and labels) or "
        f"{len(coding.structures)} (one a structure) are meant by {coding.told}."
    )


def is_soft(channels: np.ndarray) -> bool:
    """Tell whether channels hold more than whole numbers."""
    return _is_soft(channels)


def _is_soft(array: np.ndarray) -> bool:
    if array.dtype.kind != "f":
        return False
    flat = array.ravel()
    # A look at a part first: labels saved as floats are common, and large. NaN is no whole number either.
    sparse = flat[:: max(1, len(flat) // 4096)]
    return any(bool((part != np.rint(part)).any()) for part in (sparse, flat))


def _adds_up(channels: np.ndarray) -> bool:
    return bool(np.abs(channels.sum(axis=0, dtype=np.float64) - 1).max() < _SUMS_TO_ONE)


def _check_consecutive(coding: Coding, where: str) -> None:
    """Raise HarnessError where a channel's number is no label."""
    if coding.labels != tuple(range(1, len(coding.labels) + 1)) or coding.background != (0,):
        raise HarnessError(
            f"{where}: channel k stands for label k, and the labels are {coding.declared}; save label maps."
        )
