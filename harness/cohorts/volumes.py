"""Read NIfTI, DICOM and stacks of pages as arrays with their spacing; nothing else of a header is kept.

pydicom, nibabel and tifffile are extras of the package, named where one is missing.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness import arrays
from harness.cohorts.pixels import missing, read_array, read_tiff
from harness.errors import HarnessError

NIFTI = (".nii", ".nii.gz", ".hdr")
DICOM = (".dcm", ".dicom", ".ima")
_STACKS = (".tif", ".tiff", ".npy")
_NEAR = 1e-3
"""Share of a voxel, or of a direction's length, by which two grids may differ and be one."""
_KEPT = 4  # volumes at a time: an image and its mask, of the one that is read and the one that comes

# All that is ever read of a DICOM file: no name, number, date or place of a person is among them.
_TAGS = [
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
    "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "PixelData", "FloatPixelData",
    "DoubleFloatPixelData", "RescaleSlope", "RescaleIntercept", "PixelSpacing", "ImagerPixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient",
    "InstanceNumber", "SeriesInstanceUID", "PixelPaddingValue",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
]  # fmt: skip


@dataclass(frozen=True)
class Volume:
    """A stack of slices, or one slice.

    array: numbers [A, B, C] or [A, B, C, 3]; spacing: mm along the first three axes, NaN where the file does
    not say; through: the axis along which it was acquired, that slices are taken across; affine: float64
    [4, 4], voxel to mm in the patient (right, anterior, superior), None where the file has none.
    """

    array: np.ndarray
    spacing: tuple[float, float, float]
    through: int
    affine: np.ndarray | None = None


def is_volume(path: Path) -> bool:
    """Tell by its name whether a file is NIfTI or DICOM, or whether it is a folder: a DICOM series."""
    name = path.name.lower()
    # A scanner's files often have no suffix, or a number for one.
    bare = path.suffix == "" or path.suffix[1:].isdigit()
    return path.is_dir() or name.endswith(NIFTI) or name.endswith(DICOM) or (bare and _is_dicom(path))


def is_stack(path: Path) -> bool:
    """Tell by its name whether a file may hold several slices."""
    return is_volume(path) or path.name.lower().endswith(_STACKS)


def files_of(path: Path) -> list[Path]:
    """Return the files that a volume is read from, by name."""
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))


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
        shape, through = _dicom_shape(path, where), 0
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
    exact = np.abs(turn[:3, :3] - axes).max() < _NEAR * 10
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
        return _read_dicom(path, where)
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


def _read_dicom(path: Path, where: str) -> Volume:
    files = [one for one in files_of(path) if not path.is_dir() or _is_dicom(one)]
    headers = [found for one in files if (found := _header(one, where, path.is_dir())) is not None]
    if not headers:
        raise HarnessError(f"{where}: no DICOM image here; give the folder of one series.")
    if len(headers) < len(files):
        raise HarnessError(
            f"{where}: {len(files) - len(headers)} of its {len(files)} DICOM files are no images; take "
            "them out."
        )
    if len({str(getattr(one, "SeriesInstanceUID", "")) for one in headers}) > 1:
        raise HarnessError(f"{where}: files of several DICOM series; give each series a folder of its own.")
    if len(headers) == 1:
        return _one_file(headers[0], where)
    return _series(headers, where)


def _is_dicom(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _dicom_shape(path: Path, where: str) -> tuple[int, int, int]:
    files = [one for one in files_of(path) if not path.is_dir() or _is_dicom(one)]
    headers = [found for one in files[:1] if (found := _header(one, where, path.is_dir(), pixels=False))]
    if not headers:
        raise HarnessError(f"{where}: no DICOM image here; give the folder of one series.")
    frames = int(getattr(headers[0], "NumberOfFrames", 1) or 1)
    return (frames if len(files) == 1 else len(files), int(headers[0].Rows), int(headers[0].Columns))


def _header(file: Path, where: str, in_folder: bool, pixels: bool = True) -> Any:
    """Return a DICOM file's tags of `_TAGS`; None for another file in a folder. Raises HarnessError.

    What pydicom says of a file may quote it, so nothing of that is passed on.
    """
    try:
        import pydicom
        from pydicom.errors import InvalidDicomError
    except ImportError:
        raise missing(where, "DICOM", "pydicom", "dicom") from None
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    warnings.filterwarnings("ignore", module=r"pydicom\b")
    import logging

    logging.getLogger("pydicom").disabled = True
    try:
        found = pydicom.dcmread(file, specific_tags=_TAGS, stop_before_pixels=not pixels)
    except InvalidDicomError:
        if in_folder:
            return None
        raise HarnessError(f"{where}: not a DICOM file; replace it.") from None
    except Exception as error:  # noqa: BLE001
        raise HarnessError(
            f"{where}: cannot be read as DICOM ({type(error).__name__}); the file is damaged, replace it."
        ) from None
    there = not pixels or any(one in found for one in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    return found if "Rows" in found and there else None


def _pixels(header: Any, where: str) -> np.ndarray:
    """Return a file's pixels in their units, [H, W], [F, H, W] or with a last axis of 3 colours."""
    from pydicom.pixels.processing import apply_color_lut, convert_color_space

    try:
        pixels = np.asarray(header.pixel_array)
        kind = str(header.PhotometricInterpretation)
        if kind == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, header)
        elif kind.startswith("YBR") and pixels.shape[-1] == 3:
            pixels = convert_color_space(pixels, kind, "RGB")
    except (ImportError, RuntimeError, NotImplementedError):
        syntax = str(getattr(getattr(header.file_meta, "TransferSyntaxUID", ""), "name", "compressed"))
        raise HarnessError(
            f"{where}: its pixels are {syntax}, which needs a decoder; pip install pylibjpeg "
            "pylibjpeg-libjpeg "
            "pylibjpeg-openjpeg."
        ) from None
    except Exception as error:  # noqa: BLE001
        raise HarnessError(
            f"{where}: its pixels cannot be read ({type(error).__name__}); the file is damaged, replace it."
        ) from None
    if kind == "MONOCHROME1":  # black is the highest value that the bits can hold
        signed = bool(getattr(header, "PixelRepresentation", 0))
        pixels = ((-1 if signed else 2 ** int(header.BitsStored) - 1) - pixels.astype(np.int64)).astype(
            pixels.dtype
        )
    slope, intercept = (
        float(getattr(header, f"Rescale{key}", d)) for key, d in (("Slope", 1), ("Intercept", 0))
    )
    if (slope, intercept) != (1.0, 0.0):
        units = pixels.astype(np.float64) * slope + intercept
        pixels = units.astype(np.int32 if slope == 1 and intercept % 1 == 0 else np.float32)
    return pixels


def _one_file(header: Any, where: str) -> Volume:
    pixels = _pixels(header, where)
    frames = int(getattr(header, "NumberOfFrames", 1) or 1)
    if frames == 1:
        pixels = (
            pixels.reshape(1, *pixels.shape) if pixels.shape[:2] == (header.Rows, header.Columns) else pixels
        )
    rows, columns = _in_plane(header)
    through = float(getattr(header, "SpacingBetweenSlices", np.nan) or np.nan) if frames > 1 else np.nan
    position = getattr(header, "ImagePositionPatient", None)
    affine = None
    if frames == 1 and position is not None and "ImageOrientationPatient" in header:
        affine = _affine(
            header,
            np.asarray(position, float),
            _normal(header) * float(getattr(header, "SliceThickness", 1) or 1),
        )
    return Volume(pixels, (through, rows, columns), 0, affine)


def _series(headers: Sequence[Any], where: str) -> Volume:
    if any(int(getattr(one, "NumberOfFrames", 1) or 1) > 1 for one in headers):
        raise HarnessError(
            f"{where}: several DICOM files of several frames each; give each a row of its own."
        )
    if len({(one.Rows, one.Columns) for one in headers}) > 1:
        raise HarnessError(f"{where}: slices of different sizes; a localiser among them? Take it out.")
    placed = all("ImagePositionPatient" in one and "ImageOrientationPatient" in one for one in headers)
    if not placed:
        numbers = [int(getattr(one, "InstanceNumber", 0) or 0) for one in headers]
        if len(set(numbers)) < len(numbers):
            raise HarnessError(
                f"{where}: slices have neither a position nor a number each, so their order is not known."
            )
        order = np.argsort(numbers, kind="stable")
        array = np.stack([_pixels(headers[i], where) for i in order])
        return Volume(array, (np.nan, *_in_plane(headers[0])), 0)
    turns = np.array([np.asarray(one.ImageOrientationPatient, float) for one in headers])
    if np.abs(turns - turns[0]).max() > _NEAR:
        raise HarnessError(f"{where}: slices of different orientations; a localiser among them? Take it out.")
    normal = _normal(headers[0])
    places = np.array([np.asarray(one.ImagePositionPatient, float) @ normal for one in headers])
    order = np.argsort(places, kind="stable")
    steps = np.diff(places[order])
    if len(steps) and steps.min() < _NEAR:
        raise HarnessError(f"{where}: two slices at one place (several echoes or times?); keep one of each.")
    if len(steps) and steps.max() - steps.min() > 0.1 * float(np.median(steps)):
        raise HarnessError(
            f"{where}: slices {steps.min():.2f} to {steps.max():.2f} mm apart; one is missing, or they "
            "are of "
            "two series. Complete the series."
        )
    array = np.stack([_pixels(headers[i], where) for i in order])
    apart = float(steps.mean())
    first = headers[int(order[0])]
    affine = _affine(first, np.asarray(first.ImagePositionPatient, float), normal * apart)
    return Volume(array, (apart, *_in_plane(first)), 0, affine)


def _in_plane(header: Any) -> tuple[float, float]:
    given = getattr(header, "PixelSpacing", None) or getattr(header, "ImagerPixelSpacing", None)
    return (np.nan, np.nan) if not given else (float(given[0]), float(given[1]))


def _normal(header: Any) -> np.ndarray:
    across, down = np.asarray(header.ImageOrientationPatient, float).reshape(2, 3)
    return np.cross(across, down)


def _affine(header: Any, position: np.ndarray, step: np.ndarray) -> np.ndarray | None:
    """Return [slice, row, column] to mm (right, anterior, superior; DICOM's are left, posterior)."""
    across, down = np.asarray(header.ImageOrientationPatient, float).reshape(2, 3)
    rows, columns = _in_plane(header)
    made = np.eye(4)
    made[:3, 0], made[:3, 1], made[:3, 2], made[:3, 3] = step, down * rows, across * columns, position
    return None if np.isnan(made).any() else np.diag([-1.0, -1.0, 1.0, 1.0]) @ made
