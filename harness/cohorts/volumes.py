"""Read NIfTI, DICOM and stacks of pages as arrays with their spacing; nothing else of a header is kept.

pydicom, nibabel and tifffile are extras of the package, named where one is missing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness import arrays
from harness.cohorts import dicom
from harness.cohorts.pixels import missing, read_array, read_tiff
from harness.cohorts.volume import NEAR, Volume, files_of
from harness.errors import HarnessError

NIFTI = (".nii", ".nii.gz", ".hdr")
DICOM = (".dcm", ".dicom", ".ima")
_STACKS = (".tif", ".tiff", ".npy")
_KEPT = 4  # volumes at a time: an image and its mask, of the one that is read and the one that comes


def is_volume(path: Path) -> bool:
    """Tell by its name whether a file is NIfTI or DICOM, or whether it is a folder: a DICOM series."""
    name = path.name.lower()
    # A scanner's files often have no suffix, or a number for one.
    bare = path.suffix == "" or path.suffix[1:].isdigit()
    return path.is_dir() or name.endswith(NIFTI) or name.endswith(DICOM) or (bare and dicom.is_dicom(path))


def is_stack(path: Path) -> bool:
    """Tell by its name whether a file may hold several slices."""
    return is_volume(path) or path.name.lower().endswith(_STACKS)


def count_of(path: Path, axis: int | None, where: str) -> int:
    """Return how many slices a volume has along an axis (None: the one it was acquired along), from headers.

    Raises HarnessError.
    """
    if path.name.lower().endswith(NIFTI):
        shape, through = _as_stack(_nifti_shape(path, where), where), 2
    elif path.name.lower().endswith(".npy"):
        shape, through = _as_stack(_array_shape(path, where), where), 0
    elif path.name.lower().endswith((".tif", ".tiff")):
        shape, through = _as_stack(_tiff_shape(path, where), where), 0
    else:
        shape, through = dicom.shape(path, where), 0
    return int(shape[through if axis is None else axis])


def read_volume(path: Path, where: str) -> Volume:
    """Return a volume; the last few stay in memory, because it is asked for slice by slice.

    NIfTI is turned to the closest of right-anterior-superior axes, a DICOM series is sorted along its normal
    and rescaled to its units (Hounsfield), MONOCHROME1 turned to bright on dark. Raises HarnessError for what
    cannot be read, and for series that are not one stack.
    """
    key = (str(path.resolve()), tuple(one.stat().st_mtime_ns for one in files_of(path)))
    return _cached(key, lambda: _read(path, where))


def aligned(mask: Volume, image: Volume, where: str) -> Volume:
    """Return the mask on its image's axes: turned and flipped where both headers say how.

    Raises HarnessError where the two are not of one grid.
    """
    if mask.affine is None or image.affine is None:
        return mask
    turn = np.linalg.solve(image.affine, mask.affine)
    axes = np.rint(turn[:3, :3])
    exact = np.abs(turn[:3, :3] - axes).max() < NEAR * 10
    if (
        not exact
        or not np.array_equal(np.abs(axes).sum(axis=0), np.ones(3))
        or not np.array_equal(np.abs(axes).sum(axis=1), np.ones(3))
    ):
        raise HarnessError(
            f"{where}: lies on another grid than its image, by the two headers; resample the mask to the "
            "image."
        )
    order = [int(np.flatnonzero(row)[0]) for row in axes]  # image axis -> mask axis
    array = np.moveaxis(mask.array, order, range(3))
    affine = mask.affine.copy()
    affine[:, :3] = mask.affine[:, order]
    for axis in range(3):
        if axes[axis, order[axis]] < 0:
            affine[:, 3] += affine[:, axis] * (array.shape[axis] - 1)
            affine[:, axis] *= -1
            array = np.flip(array, axis)
    if array.shape[:3] == image.array.shape[:3]:
        apart = np.linalg.solve(image.affine, affine)[:3, 3]
        if np.abs(apart).max() > 0.1:
            raise HarnessError(
                f"{where}: lies {np.abs(apart).max():.1f} voxels away from its image, by the two headers; "
                "resample "
                "the mask to the image."
            )
    spacing = tuple(mask.spacing[axis] for axis in order)
    return Volume(array, (spacing[0], spacing[1], spacing[2]), image.through, affine)


def _array_shape(path: Path, where: str) -> tuple[int, ...]:
    """Return the shape of an array on disk. Raises HarnessError."""
    try:
        return tuple(arrays.mapped(path).shape)
    except (OSError, ValueError, EOFError) as error:
        raise HarnessError(f"{where}: cannot be read as an image ({error}); replace the file.") from None


class _Shelf:
    """The volumes that were read last, one thread reading each."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.kept: OrderedDict[Any, tuple[threading.Lock, list[Volume]]] = OrderedDict()

    def get(self, key: Any, read: Callable[[], Volume]) -> Volume:
        with self.lock:
            own, found = self.kept.setdefault(key, (threading.Lock(), []))
            self.kept.move_to_end(key)
            while len(self.kept) > _KEPT:
                self.kept.popitem(last=False)
        with own:
            if not found:
                found.append(read())
            return found[0]


_SHELF = _Shelf()


def _cached(key: Any, read: Callable[[], Volume]) -> Volume:
    return _SHELF.get(key, read)


def _as_stack(shape: tuple[int, ...], where: str) -> tuple[int, ...]:
    if len(shape) == 2:
        return (1, *shape)
    if len(shape) >= 3 and shape[2] > 0 and len(shape) > 3 and set(shape[3:]) == {1}:
        return shape[:3]
    if len(shape) in (3, 4):
        if len(shape) == 4 and shape[3] not in (1, 3):
            raise HarnessError(
                f"{where}: has the shape {shape}; save the one volume [A, B, C] that is meant."
            )
        return shape
    raise HarnessError(f"{where}: has the shape {shape}; a volume has three axes.")


def _read(path: Path, where: str) -> Volume:
    name = path.name.lower()
    if name.endswith(NIFTI):
        return _read_nifti(path, where)
    if path.is_dir() or name.endswith(DICOM):
        return dicom.read(path, where)
    array = read_array(path, where) if name.endswith(".npy") else read_tiff(path, where)
    shape = _as_stack(array.shape, where)
    return Volume(array.reshape(shape), (np.nan, np.nan, np.nan), 0)


def _tiff_shape(path: Path, where: str) -> tuple[int, ...]:
    try:
        with Image.open(path) as opened:
            return (getattr(opened, "n_frames", 1), opened.height, opened.width)
    except (OSError, ValueError, SyntaxError):
        return tuple(read_tiff(path, where).shape)


def _nifti(path: Path, where: str) -> Any:
    try:
        import nibabel
    except ImportError:
        raise missing(where, "NIfTI", "nibabel", "nifti") from None
    try:
        return nibabel.load(path)
    except Exception as error:  # noqa: BLE001 - a damaged header raises a dozen types
        raise HarnessError(
            f"{where}: cannot be read as NIfTI ({type(error).__name__}); replace the file."
        ) from None


def _nifti_shape(path: Path, where: str) -> tuple[int, ...]:
    """Return the shape that a NIfTI volume has once it is turned."""
    opened = _nifti(path, where)
    from nibabel.orientations import io_orientation

    shape = tuple(opened.shape) + (1,) * (3 - len(opened.shape))
    order = np.argsort(io_orientation(opened.affine)[:, 0])
    return (*(int(shape[axis]) for axis in order), *shape[3:])


def _read_nifti(path: Path, where: str) -> Volume:
    stored = _nifti(path, where)
    import nibabel

    try:
        opened = nibabel.as_closest_canonical(stored)
        array = np.asanyarray(opened.dataobj)
    except Exception as error:  # noqa: BLE001
        raise HarnessError(
            f"{where}: cannot be read as NIfTI ({type(error).__name__}); the file is damaged, replace it."
        ) from None
    if array.dtype.names:
        array = np.stack([array[name] for name in array.dtype.names[:3]], axis=-1)
    if array.ndim == 2:
        array = array[..., None]
    shape = _as_stack(array.shape, where)
    zooms = [float(one) for one in opened.header.get_zooms()[:3]] + [np.nan] * 3
    known = opened.header.get_xyzt_units()[0] if hasattr(opened.header, "get_xyzt_units") else "mm"
    unit = {"mm": 1.0, "meter": 1000.0, "micron": 0.001}.get(known, 1.0)
    affine = np.diag([unit, unit, unit, 1.0]) @ np.asarray(opened.affine, float)
    return Volume(array.reshape(shape), (zooms[0] * unit, zooms[1] * unit, zooms[2] * unit), 2, affine)
