"""Read the pixels of one picture or mask file, and refuse what can be read in two ways."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from harness import arrays
from harness.errors import HarnessError
from harness.protocol import colour_label

_TIFF = (".tif", ".tiff")
_FAILURES = (OSError, ValueError, EOFError, SyntaxError, struct.error, Image.DecompressionBombError)
_PHOTOMETRIC = 262  # the TIFF tag
_MANY = 8
"""Colours that an error names at most."""


def read_picture(file: Path, where: str) -> np.ndarray:
    """Return an image as it is in its file, any numeric type, [H, W] or [H, W, 3].

    What Pillow opens (turned as EXIF says, a palette as its colours), .npy, and through tifffile what Pillow
    does not know of TIFF. A constant alpha channel is dropped. Raises HarnessError, naming `where`, for what
    cannot be read, several pages, and a picture that is in the alpha channel.
    """
    if file.suffix.lower() == ".npy":
        return as_picture(read_array(file, where), where)
    try:
        with Image.open(file) as opened:
            _check_one_page(opened, where)
            if not _is_deep_colour(opened):
                image = ImageOps.exif_transpose(opened)
                return as_picture(np.asarray(image.convert(_picture_mode(image))), where)
    except HarnessError:
        raise
    except _FAILURES as error:
        if file.suffix.lower() not in _TIFF:
            raise _unreadable(where, error) from None
    if file.suffix.lower() in _TIFF:
        return as_picture(read_tiff(file, where), where)
    raise HarnessError(
        f"{where}: a colour image of 16 bits a channel, which would be read as 8; save it as .tif or .npy."
    )


def read_labels(file: Path, where: str) -> tuple[np.ndarray, str]:
    """Return a mask as int64 [H, W], and its kind where it has no plain values: "palette", "colour".

    A grey pixel is its level and another colour `colour_label` of it, whether the file has channels or a
    palette, whose indices are never used: they differ between files of the same colours. Raises HarnessError,
    naming `where`, as `read_picture` does, for JPEG, labels that are not whole, and two channels.
    """
    if file.suffix.lower() == ".npy":
        return plain_labels(read_array(file, where), where)
    try:
        with Image.open(file) as opened:
            _check_one_page(opened, where)
            _check_lossless(opened, where)
            if not _is_deep_colour(opened):
                return _opened_labels(ImageOps.exif_transpose(opened), where)
    except HarnessError:
        raise
    except _FAILURES as error:
        if file.suffix.lower() not in _TIFF:
            raise _unreadable(where, error) from None
    if file.suffix.lower() in _TIFF:
        return plain_labels(read_tiff(file, where), where)
    raise HarnessError(f"{where}: a colour image of 16 bits a channel, not a label mask; save one of labels.")


def is_byte_picture(file: Path) -> bool:
    """Tell from a file's header alone that its pixels are 8-bit or fewer; False where only reading tells."""
    if file.suffix.lower() == ".npy":
        try:
            return bool(arrays.mapped(file).dtype in (np.uint8, np.bool_))
        except (OSError, ValueError, EOFError):
            return False
    try:
        with Image.open(file) as opened:
            return opened.mode != "F" and not opened.mode.startswith("I") and not _is_deep_colour(opened)
    except _FAILURES:
        return False


def read_array(file: Path, where: str) -> np.ndarray:
    """Return the array in a .npy file. Raises HarnessError."""
    try:
        return arrays.load(file)
    except _FAILURES as error:
        raise _unreadable(where, error) from None


def read_tiff(file: Path, where: str) -> np.ndarray:
    """Return the pages of a TIFF through tifffile, [H, W, ...] where it is one. Raises HarnessError."""
    try:
        import tifffile
    except ImportError:
        raise missing(where, "this TIFF", "tifffile", "tiff") from None
    try:
        with tifffile.TiffFile(file) as opened:
            series, white = len(opened.series), int(opened.pages.first.photometric) == 0
            array = np.asarray(opened.asarray())
    except Exception as error:  # noqa: BLE001 - tifffile and its codecs raise a dozen types
        raise _unreadable(where, error) from None
    if white:
        raise _inverted(where)
    if series > 1:
        raise HarnessError(f"{where}: its pages differ in size or kind; save the one that is meant.")
    return array


def missing(where: str, what: str, package: str, extra: str) -> HarnessError:
    """Return the error for a format whose package is not installed."""
    return HarnessError(
        f"{where}: {what} is read by {package}, which is not installed; "
        f"pip install 'equity-leaderboard[{extra}]' or {package}."
    )


def plain_labels(array: np.ndarray, where: str) -> tuple[np.ndarray, str]:
    """Return an array of labels or of colours, [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], as labels.

    Raises HarnessError for any other shape and for labels that are not whole numbers.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        return _whole(array, where), ""
    if array.ndim == 3 and array.shape[2] == 2:
        raise HarnessError(
            f"{where}: a mask of two channels can be read in two ways; save one channel of labels (0, 1, "
            "2 ...)."
        )
    if array.ndim != 3 or array.shape[2] not in (3, 4):
        raise HarnessError(f"{where}: a mask has height and width, this one has the shape {array.shape}.")
    colours = _whole(array, where)
    return _coloured(colours[..., :3], colours[..., 3] if array.shape[2] == 4 else None, where)


def undeclared(label: str, declared: str, kind: str, colours: list[str], where: str) -> HarnessError:
    """Return the error for a mask with a label that the protocol does not have."""
    if kind:
        named = ", ".join(colours[:_MANY]) + (
            f" and {len(colours) - _MANY} more" if len(colours) > _MANY else ""
        )
        what = (
            "a palette image, whose indices are no labels"
            if kind == "palette"
            else "a colour image, not a label mask"
        )
        return HarnessError(
            f"{where}: {what}; save one channel of labels (0, 1, 2 ...), or name the colours in the protocol "
            f"as values: the mask has {named} (declared: {declared})."
        )
    return HarnessError(
        f"{where}: the mask has the label {label}, which no structure declares "
        f"(declared: {declared}); add it to a structure of the protocol "
        "or mend the mask."
    )


def _opened_labels(image: Image.Image, where: str) -> tuple[np.ndarray, str]:
    if image.mode == "P":
        return _palette(image, where)
    if image.mode in ("1", "L", "F") or image.mode.startswith("I"):
        return _whole(np.asarray(image), where), ""
    if image.mode in ("LA", "La"):
        grey, alpha = np.moveaxis(np.asarray(image.convert("LA")), -1, 0)
        return _coloured(np.repeat(grey[..., None], 3, axis=2).astype(np.int64), alpha, where)
    if image.mode in ("RGBA", "RGBa", "PA"):
        rgba = np.asarray(image.convert("RGBA")).astype(np.int64)
        return _coloured(rgba[..., :3], rgba[..., 3], where)
    return _coloured(np.asarray(image.convert("RGB")).astype(np.int64), None, where)


def _palette(image: Image.Image, where: str) -> tuple[np.ndarray, str]:
    palette = np.array(image.getpalette("RGB") or [], np.int64).reshape(-1, 3)
    indices = np.asarray(image)
    used = np.unique(indices)
    if used.max(initial=0) >= len(palette):
        raise HarnessError(f"{where}: a palette image with pixels of no colour; save one channel of labels.")
    if len(np.unique(palette[used], axis=0)) < len(used):
        raise HarnessError(
            f"{where}: a palette image in which two labels have one colour; save one channel of labels."
        )
    labels, kind = _coloured(palette[indices], None, where)
    return labels, "palette" if kind or not np.array_equal(palette[used][:, 0], used) else ""


def _coloured(colours: np.ndarray, alpha: np.ndarray | None, where: str) -> tuple[np.ndarray, str]:
    """Return int64 [H, W] of colours, int64 [H, W, 3], and "colour" where not all are grey."""
    grey = (colours == colours[..., :1]).all(axis=2)
    if not grey.all() and (colours.min() < 0 or colours.max() > 255):
        raise HarnessError(
            f"{where}: a colour has channels from 0 to 255; save one channel of labels (0, 1, 2 ...)."
        )
    red, green, blue = np.moveaxis(colours, -1, 0)
    labels = np.where(grey, red, colour_label(0, 0, 0) + (red << 16) + (green << 8) + blue)
    if alpha is not None:
        _check_alpha(labels, alpha, where, "mask")
    return labels, "" if grey.all() else "colour"


def _check_alpha(labels: np.ndarray, alpha: np.ndarray, where: str, what: str) -> None:
    """Raise HarnessError where alpha says something that the colours do not."""
    pairs = np.unique(np.stack([labels.ravel(), alpha.astype(np.int64).ravel()]), axis=1)
    if len(np.unique(pairs[0])) < pairs.shape[1]:
        raise HarnessError(
            f"{where}: the {what} has an alpha channel that differs where its colours do not; which one is "
            f"the {what}? Save it without alpha."
        )


def _whole(array: np.ndarray, where: str) -> np.ndarray:
    if array.dtype.kind not in "buif":
        raise HarnessError(f"{where}: pixels of type {array.dtype} are no labels; give whole numbers.")
    with np.errstate(invalid="ignore"):
        labels = array.astype(np.int64)
    if (labels != array).any():
        raise HarnessError(
            f"{where}: labels are whole numbers, this mask has others (a soft or resampled mask?)."
        )
    return labels


def as_picture(array: np.ndarray, where: str) -> np.ndarray:
    """Return [H, W] or [H, W, 3]. Raises HarnessError for others, and a picture in alpha."""
    if array.ndim == 3 and array.shape[2] == 1:
        return array[..., 0]
    if array.ndim == 3 and array.shape[2] == 4:
        _check_seen(array[..., :3], array[..., 3], where)
        return array[..., :3]
    if array.ndim == 3 and array.shape[2] == 2:
        _check_seen(array[..., :1], array[..., 1], where)
        return array[..., 0]
    if array.ndim != 2 and array.shape[2:] != (3,):
        raise HarnessError(
            f"{where}: an image has the shape (height, width) or (height, width, 3), this one {array.shape}."
        )
    return array


def _check_seen(colours: np.ndarray, alpha: np.ndarray, where: str) -> None:
    flat = (colours == colours[:1, :1]).all()
    if flat and (alpha != alpha[:1, :1]).any():
        raise HarnessError(f"{where}: the picture is in its alpha channel; save it without alpha.")


def _picture_mode(image: Image.Image) -> str:
    """Return the Pillow mode to read a picture in: its own where that is grey or RGB."""
    mode = image.mode
    if mode in ("1", "L", "F", "LA", "RGB", "RGBA") or mode.startswith("I"):
        return mode
    if mode == "P" and "transparency" not in image.info:
        return "RGB"
    return {"La": "LA", "P": "RGBA", "PA": "RGBA", "RGBa": "RGBA"}.get(mode, "RGB")


def _is_deep_colour(opened: Image.Image) -> bool:
    """Whether Pillow would cut channels of 16 bits to 8, which it does without a word."""
    deep = any(";16" in str(part) for tile in getattr(opened, "tile", ()) for part in tile[3:])
    return deep and not opened.mode.startswith("I")


def _check_lossless(opened: Image.Image, where: str) -> None:
    if opened.format in ("JPEG", "MPO"):
        raise HarnessError(
            f"{where}: a mask saved as JPEG, which changes labels near every edge; save masks as .png."
        )


def _check_one_page(opened: Image.Image, where: str) -> None:
    # A camera's MPO holds its preview as a second picture.
    tags = getattr(opened, "tag_v2", {})
    if tags.get(_PHOTOMETRIC) == 0 and (opened.mode == "F" or opened.mode.startswith("I")):
        raise _inverted(where)
    pages = getattr(opened, "n_frames", 1)
    if pages > 1 and opened.format != "MPO":
        raise HarnessError(
            f"{where}: has {pages} pages where one image is meant; save the one, or declare [cohort] slices."
        )


def _inverted(where: str) -> HarnessError:
    # Pillow turns 8 bits of this kind over, and no more than 8.
    return HarnessError(
        f"{where}: a TIFF in which 0 is white (PhotometricInterpretation 0); save it with 0 as black."
    )


def _unreadable(where: str, error: Exception) -> HarnessError:
    return HarnessError(f"{where}: cannot be read as an image ({error}); replace the file.")
