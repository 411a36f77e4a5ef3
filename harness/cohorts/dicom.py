"""Read DICOM: one file, or a folder with the files of one series.

Of a header no more is read than what says how its pixels lie and what they measure.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.cohorts.pixels import missing
from harness.cohorts.volume import NEAR, Volume, files_of
from harness.errors import HarnessError

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


def read(path: Path, where: str) -> Volume:
    """Return the volume of a file, or of a folder with one series. Raises HarnessError."""
    files = [one for one in files_of(path) if not path.is_dir() or is_dicom(one)]
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


def is_dicom(file: Path) -> bool:
    """Tell by its first bytes whether a file is DICOM."""
    try:
        with file.open("rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError:
        return False


def shape(path: Path, where: str) -> tuple[int, int, int]:
    """Return slices, rows and columns of a file or a series; no pixel is read. Raises HarnessError."""
    files = [one for one in files_of(path) if not path.is_dir() or is_dicom(one)]
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
    if np.abs(turns - turns[0]).max() > NEAR:
        raise HarnessError(f"{where}: slices of different orientations; a localiser among them? Take it out.")
    normal = _normal(headers[0])
    places = np.array([np.asarray(one.ImagePositionPatient, float) @ normal for one in headers])
    order = np.argsort(places, kind="stable")
    steps = np.diff(places[order])
    if len(steps) and steps.min() < NEAR:
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
