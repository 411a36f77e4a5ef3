"""Bring a prediction onto its truth's grid: turned where both headers say how, else refused or resampled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.cohorts.volume import Volume
from harness.cohorts.volumes import aligned
from harness.errors import HarnessError
from harness.predictions.grids import Grid

RESAMPLE = ("nearest",)


def fitted(prediction: Grid, truth: Grid, resample: str | None = None) -> np.ndarray:
    """Return a prediction's values on its truth's grid: [H, W] or [A, B, C], as the truth is stored.

    Two NIfTI headers that differ by turned or flipped axes alone are of one grid. Without a header an array
    is taken to be stored as its partner is. resample: "nearest" takes each voxel's nearest one, by the
    headers where both have one, else by the share of the picture. Raises HarnessError where the grids
    differ.
    """
    _check_formats(prediction, truth)
    array = _same_axes(prediction.array, truth.array.shape)
    headers = prediction.affine is not None and truth.affine is not None
    if not headers:
        if array.shape == truth.array.shape:
            return array
        if resample is None:
            raise _sizes(prediction, truth)
        return _by_share(array, truth.array.shape)
    try:
        turned = aligned(_volume(replace(prediction, array=array)), _volume(truth), prediction.file)
        if turned.array.shape == truth.array.shape and _agree(turned, truth):
            return turned.array
    except HarnessError:
        pass
    if resample is None:
        raise _grids(prediction, truth)
    return _by_headers(replace(prediction, array=array), truth)


def axes_of_slices(truth: Grid) -> int:
    """Return the axis across which a volume was acquired: the one nearest to head and feet, or the first."""
    if truth.affine is None:
        return 0
    steps = np.abs(truth.affine[:3, :3] / np.linalg.norm(truth.affine[:3, :3], axis=0))
    return int(np.argmax(steps[2]))


def as_seen(slices: np.ndarray, affine: np.ndarray | None, through: int) -> np.ndarray:
    """Return slices, [..., H, W], as a reader of images knows them; without a header as they are stored.

    With one rows go from front to back and columns from the patient's right to the left. `through`: the axis
    of the volume that the slices were taken across.
    """
    if affine is None or not placed(affine, through):
        return slices
    rest = [axis for axis in range(3) if axis != through]
    worlds = [_world(affine, axis) for axis in rest]
    if worlds[0] == 0:
        slices, rest = np.swapaxes(slices, -1, -2), rest[::-1]
    for place, axis in zip((-2, -1), rest, strict=True):
        # Both headers' axes grow to the right and to the front: a picture's grow the other way.
        if affine[_world(affine, axis), axis] > 0:
            slices = np.flip(slices, place)
    return slices


def placed(affine: np.ndarray | None, through: int) -> bool:
    """Tell whether a header says where front and right are in a slice."""
    if affine is None:
        return False
    return sorted(_world(affine, axis) for axis in range(3) if axis != through) == [0, 1]


def _world(affine: np.ndarray, axis: int) -> int:
    return int(np.abs(affine[:3, axis]).argmax())


def _check_formats(prediction: Grid, truth: Grid) -> None:
    """Raise HarnessError for a picture beside a NIfTI: its rows run along y there, and along x here."""
    for one, other in ((prediction, truth), (truth, prediction)):
        if one.picture and other.affine is not None:
            raise HarnessError(
                f"{one.file}: a picture, and {other.file} is NIfTI, so nobody can tell which way round it "
                f"lies; "
                "save both in one format."
            )


def _volume(grid: Grid) -> Volume:
    spacing = grid.spacing or (np.nan, np.nan, np.nan)
    return Volume(grid.array, (spacing[0], spacing[1], spacing[2]), 2, grid.affine)


def _same_axes(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array with axes of one, which some writers add or leave out, as its partner has them."""
    if array.ndim == len(shape):
        return array
    plain = [one for one in array.shape if one != 1]
    if plain == [one for one in shape if one != 1]:
        return array.reshape(shape)
    return array


def _agree(turned: Volume, truth: Grid) -> bool:
    """Whether the two grids' corners lie within a tenth of a voxel of each other."""
    if turned.affine is None or truth.affine is None:
        return True
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in truth.array.shape])).reshape(3, -1)
    corners = np.vstack([ends, np.ones(ends.shape[1])])
    apart = np.linalg.solve(truth.affine, (turned.affine - truth.affine) @ corners)[:3]
    return bool(np.abs(apart).max() <= 0.1)


def _sizes(prediction: Grid, truth: Grid) -> HarnessError:
    one, other = (" x ".join(map(str, grid.array.shape)) for grid in (prediction, truth))
    turned = sorted(prediction.array.shape) == sorted(truth.array.shape)
    hint = " (turned axes?)" if turned and prediction.array.ndim == truth.array.ndim else ""
    return HarnessError(
        f"{prediction.file}: is {one}, and its truth {truth.file} is {other}{hint}; save it at the truth's "
        "size, or give --resample nearest."
    )


def _grids(prediction: Grid, truth: Grid) -> HarnessError:
    if prediction.affine is None or truth.affine is None:
        raise ValueError("grids are compared by their headers")
    if prediction.array.ndim != truth.array.ndim or prediction.array.size != truth.array.size:
        return _sizes(prediction, truth)
    one, other = (
        np.linalg.norm(g.affine[:3, :3], axis=0) for g in (prediction, truth) if g.affine is not None
    )
    if not np.allclose(sorted(one), sorted(other), rtol=1e-3):
        what = f"voxels of {_by(one)} mm, its truth of {_by(other)} mm"
    else:
        away = np.linalg.norm(_centre(prediction) - _centre(truth))
        what = f"another place or direction by its header (centres {away:.1f} mm apart)"
    return HarnessError(
        f"{prediction.file}: has {what} ({truth.file}); write it with the truth's header, or give --resample "
        "nearest if the header is right."
    )


def _by(values: np.ndarray) -> str:
    return " x ".join(f"{one:g}" for one in np.round(values, 4))


def _centre(grid: Grid) -> np.ndarray:
    middle = np.append((np.array(grid.array.shape[:3]) - 1) / 2, 1)
    return np.asarray((grid.affine @ middle)[:3]) if grid.affine is not None else middle[:3]


def _by_share(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.ndim != len(shape):
        raise HarnessError(
            f"An array of shape {array.shape} cannot be resampled to {shape}; their axes differ."
        )
    for axis, (old, new) in enumerate(zip(array.shape, shape, strict=True)):
        at = ((np.arange(new) + 0.5) * old / new).astype(int).clip(max=old - 1)
        array = np.take(array, at, axis)
    return array


def _by_headers(prediction: Grid, truth: Grid) -> np.ndarray:
    """Return each voxel's nearest value by both headers, slice by slice; 0 beyond the prediction."""
    if prediction.affine is None or truth.affine is None or prediction.array.ndim != 3:
        raise _sizes(prediction, truth)
    to = np.linalg.solve(prediction.affine, truth.affine)
    found = np.zeros(truth.array.shape, prediction.array.dtype)
    rows, columns = (np.arange(n) for n in truth.array.shape[1:])
    j, k = np.meshgrid(rows, columns, indexing="ij")
    for i in range(truth.array.shape[0]):
        at = [np.rint(to[a, 0] * i + to[a, 1] * j + to[a, 2] * k + to[a, 3]).astype(int) for a in range(3)]
        inside = np.ones(j.shape, bool)
        for axis, n in enumerate(prediction.array.shape):
            inside &= (at[axis] >= 0) & (at[axis] < n)
        found[i][inside] = prediction.array[tuple(one[inside] for one in at)]
    return found
