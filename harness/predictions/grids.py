"""Read one file of labels or probabilities as it is stored, with what its header says of its grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import arrays
from harness.arrays import Archive
from harness.cohorts import pixels
from harness.errors import HarnessError
from harness.predictions.files import check_regular, suffix_of

MOST_VALUES = 1 << 30
"""Values of one array: more is no picture of a patient, whatever a header declares."""
_ARRAYS = ("probabilities", "softmax", "seg", "segmentation", "labels", "mask", "pred", "prediction", "arr_0")
"""Names of what is meant in an .npz of several arrays, the likeliest first."""


@dataclass(frozen=True)
class Grid:
    """An array as its file stores it.

    array: numbers [H, W], [A, B, C], and with channels one axis more: first in .npy and .npz, last in NIfTI.
    affine: float64 [4, 4], voxel to mm (right, anterior, superior), None without a header; spacing: mm along
    the axes, None where not known; kind: "palette" or "colour" where the values are no plain labels; picture:
    whether the format has rows and columns, and no axes of space.
    """

    array: np.ndarray
    file: str
    affine: np.ndarray | None = None
    spacing: tuple[float, ...] | None = None
    kind: str = ""
    channels_last: bool = False
    picture: bool = False


def read(file: Path) -> Grid:
    """Return what a file holds. Raises HarnessError, one sentence, for what cannot be read in one way."""
    check_regular(file)
    suffix, where = suffix_of(file), str(file)
    if suffix in (".nii", ".nii.gz"):
        return _nifti(file, where)
    if suffix == ".npy":
        return Grid(numbers(_npy(file, where), where), where)
    if suffix == ".npz":
        return Grid(numbers(_npz(file, where), where), where)
    if suffix in (".tif", ".tiff") and (pages := _pages(file, where)) is not None:
        return Grid(pages, where, picture=True)
    labels, kind = pixels.read_labels(file, where)
    return Grid(labels, where, kind=kind, picture=True)


def read_image(file: Path) -> Grid:
    """Return what an image holds, with its colours as an axis more. Raises HarnessError as `read` does."""
    if suffix_of(file) in (".nii", ".nii.gz", ".npy", ".npz"):
        return read(file)
    check_regular(file)
    pages = _pages(file, str(file)) if suffix_of(file) in (".tif", ".tiff") else None
    array = pixels.read_picture(file, str(file)) if pages is None else pages
    return Grid(array, str(file), picture=True)


def whole(grid: Grid) -> np.ndarray:
    """Return the labels of a grid without channels as whole numbers. Raises HarnessError for others."""
    array = grid.array
    if array.dtype.kind == "b":
        return array.astype(np.uint8)  # as an index, a bool would choose and not look up
    if array.dtype.kind in "ui":
        return array
    if np.isnan(array).any():
        raise HarnessError(f"{grid.file}: holds NaN, which is no label; save whole numbers.")
    rounded: np.ndarray = np.rint(array)
    if not np.isfinite(rounded).all() or (rounded != array).any():
        raise HarnessError(
            f"{grid.file}: labels are whole numbers, and this has others (a soft or resampled mask?); save "
            "labels, or probabilities with a channel for each label."
        )
    return rounded.astype(np.int64)


def check_size(shape: tuple[int, ...], where: str) -> None:
    """Raise HarnessError for an array that no memory is meant to hold, or that holds nothing."""
    if math.prod(shape) > MOST_VALUES:
        raise HarnessError(
            f"{where}: declares {' x '.join(map(str, shape))} values, more than {MOST_VALUES:,}; the file is "
            "damaged, or no label map."
        )
    if math.prod(shape) == 0 or not shape:
        raise HarnessError(f"{where}: holds nothing (its shape is {shape}); replace the file.")


def _nifti(file: Path, where: str) -> Grid:
    opened = _opened(file, where)
    check_size(tuple(int(one) for one in opened.shape), where)
    _check_there(file, opened, where)
    return of_image(opened, where)


def of_image(opened: Any, where: str) -> Grid:
    """Return a nibabel image as a grid. Raises HarnessError for a damaged one, or one without geometry."""
    affine = np.asarray(opened.affine, float)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise HarnessError(f"{where}: its header places no voxel (a singular affine); mend its geometry.")
    try:
        array = np.asanyarray(opened.dataobj)
    except Exception as error:  # noqa: BLE001 - damaged data raise a dozen types
        raise HarnessError(
            f"{where}: cannot be read as NIfTI ({type(error).__name__}); the file is damaged, replace it."
        ) from None
    known = opened.header.get_xyzt_units()[0] if hasattr(opened.header, "get_xyzt_units") else "mm"
    unit = {"meter": 1000.0, "micron": 0.001}.get(known, 1.0)
    scaled = np.diag([unit, unit, unit, 1.0]) @ affine
    spacing = tuple(float(one) for one in np.sqrt((scaled[:3, :3] ** 2).sum(axis=0)))
    return Grid(_three(numbers(array, where), where), where, scaled, spacing, channels_last=True)


def _opened(file: Path, where: str) -> Any:
    try:
        import nibabel
    except ImportError:
        raise pixels.missing(where, "NIfTI", "nibabel", "nifti") from None
    try:
        return nibabel.load(file)
    except Exception as error:  # noqa: BLE001 - a damaged header raises a dozen types
        raise HarnessError(
            f"{where}: cannot be read as NIfTI ({type(error).__name__}); replace the file."
        ) from None


def _check_there(file: Path, opened: Any, where: str) -> None:
    """Raise HarnessError where an uncompressed file is shorter than its header declares."""
    if file.name.lower().endswith(".nii"):
        declared = math.prod(opened.shape) * opened.get_data_dtype().itemsize
        if file.stat().st_size < declared:
            raise HarnessError(
                f"{where}: its header declares {declared:,} bytes, and the file has "
                f"{file.stat().st_size:,}; it is cut off, copy it again."
            )


def _three(array: np.ndarray, where: str) -> np.ndarray:
    """Return [A, B, C] or, with channels, [A, B, C, N]; axes of one that stand between are left out."""
    if array.ndim < 3:
        return array.reshape((*array.shape, 1, 1)[:3])
    if array.ndim == 5 and array.shape[3] == 1:
        array = array[:, :, :, 0]
    if array.ndim == 4 and array.shape[3] == 1:
        return array[..., 0]
    if array.ndim > 4:
        raise HarnessError(f"{where}: has the shape {array.shape}; save one volume, or one of channels.")
    return array


def _npy(file: Path, where: str) -> np.ndarray:
    try:
        mapped = arrays.mapped(file)
    except (OSError, ValueError, EOFError) as error:
        raise HarnessError(f"{where}: cannot be read as .npy ({error}); replace the file.") from None
    check_size(mapped.shape, where)
    return np.asarray(mapped)


def _npz(file: Path, where: str) -> np.ndarray:
    try:
        with Archive(file) as found:
            for size in found.sizes.values():
                if size > 8 * MOST_VALUES:
                    raise HarnessError(f"{where}: unpacks to {size:,} bytes; no label map does.")
            names = list(found.sizes)
            name = next((one for one in _ARRAYS if one in names), names[0] if len(names) == 1 else None)
            if name is None:
                raise HarnessError(
                    f"{where}: holds {', '.join(names) or 'nothing'}; call the array that is meant 'labels' "
                    "or 'probabilities'."
                )
            array = found[name]
    except (OSError, ValueError, EOFError) as error:
        raise HarnessError(f"{where}: cannot be read as .npz ({error}); replace the file.") from None
    check_size(array.shape, where)
    return array


def _pages(file: Path, where: str) -> np.ndarray | None:
    """Return the pages of a TIFF of several as [D, H, W]; None for one page, which Pillow reads."""
    from PIL import Image

    try:
        with Image.open(file) as opened:
            pages = getattr(opened, "n_frames", 1)
            check_size((pages, opened.height, opened.width), where)
            if pages == 1:
                return None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return numbers(pixels.read_tiff(file, where), where)


def numbers(array: np.ndarray, where: str) -> np.ndarray:
    """Return an array of numbers. Raises HarnessError for one of something else."""
    if array.dtype.kind not in "buif":
        raise HarnessError(f"{where}: holds values of type {array.dtype}, which are no labels.")
    return array
