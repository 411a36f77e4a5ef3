"""A folder of images and label masks in common formats, listed by a manifest."""

from __future__ import annotations

import csv
import hashlib
import struct
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from harness.cohorts import grid
from harness.cohorts.cohort import RESERVED
from harness.cohorts.groups import known
from harness.cohorts.source import FileOptions, Sample, Source, existing_folder, fingerprint
from harness.errors import HarnessError, did_you_mean

_REQUIRED = ("id", "patient", "image", "mask")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


class Options(FileOptions):
    """The keys of `[cohort]` for `source = "folder"`."""

    manifest: str = "manifest.csv"
    """CSV file in the folder: id, patient, image, mask, optional split, and a column per attribute."""
    fit: grid.Fit = "pad"
    """How an image that is not square becomes so: zeros at its sides, or only its centre."""
    title: str = ""
    """Name of the cohort on the board; the folder's name when not given."""
    licence: str = ""
    citation: str = ""


def open_source(options: Options, size: int, data: Path | None) -> Source:
    """Return the source: one sample a row of the manifest, paths relative to the folder.

    Images: what Pillow opens, and .npy; grey, RGB, RGBA (alpha is dropped) or palette, 8 or more
    bits (see `grid.to_uint8`), turned as EXIF says. Masks: the same formats, one channel of labels (a
    palette's indices, 0 and 1 for one bit). Empty cells (also NA, nan, null, unknown) are unknown.
    Raises HarnessError for a manifest that is missing, lacks a column or a value, has an id twice
    or names a file that is not there.
    """
    folder = existing_folder(options, data, "folder")
    manifest = folder / options.manifest
    rows = _read_manifest(manifest)
    return Source(
        code=(Path(__file__),),
        title=options.title or folder.resolve().name,
        licence=options.licence,
        citation=options.citation,
        publish_images=options.publish_images,
        samples=tuple(row["id"] for _, row in rows),
        read=lambda row: _read(manifest, *rows[row], fit=options.fit),
        identity={
            "name": "folder",
            "fit": options.fit,
            "manifest": hashlib.sha256(manifest.read_bytes()).hexdigest(),
            "files": [
                _fingerprint(manifest, line, row, part) for line, row in rows for part in ("image", "mask")
            ],
        },
        place=lambda row: f"{manifest}, line {rows[row][0]}, id '{rows[row][1]['id']}'",
    )


def _read_manifest(manifest: Path) -> list[tuple[int, dict[str, str]]]:
    """Return line number and cells of every row, checked."""
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            _check_separator(manifest, file.readline())
            file.seek(0)
            reader = csv.DictReader(file, strict=True)
            _check_header(manifest, list(reader.fieldnames or []))
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise HarnessError(
            f"{manifest}: there is no such file; the source 'folder' needs a manifest."
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HarnessError(f"{manifest}: not a CSV file in UTF-8 ({error}); save it as one.") from None
    seen: dict[str, int] = {}
    for line, row in rows:
        _check_row(f"{manifest}, line {line}", row, seen, line)
    return rows


def _check_separator(manifest: Path, header: str) -> None:
    """Raise HarnessError for a table with something else than commas between its cells."""
    for separator, name in _SEPARATORS.items():
        apart = {cell.strip(' "\r\n') for cell in header.split(separator)}
        if set(_REQUIRED) <= apart:
            raise HarnessError(
                f"{manifest}: its cells have {name} between them; save it with commas (in a spreadsheet: "
                "CSV, comma delimited)."
            )


def _check_header(manifest: Path, header: list[str]) -> None:
    for column in _REQUIRED:
        if column not in header:
            raise HarnessError(
                f"{manifest}: the column '{column}' is missing.{did_you_mean(column, header)} "
                f"A manifest has {', '.join(_REQUIRED)} and a column per attribute."
            )
    twice = [column for column, count in Counter(header).items() if count > 1]
    if twice:
        raise HarnessError(f"{manifest}: the column '{twice[0]}' stands twice; name each column once.")


def _check_row(where: str, row: dict[str, str], seen: dict[str, int], line: int) -> None:
    if None in row or None in row.values():
        raise HarnessError(
            f"{where}: has more or fewer cells than the header; quote cells that hold a comma.{_id(row)}"
        )
    for column in _REQUIRED:
        row[column] = row[column].strip()
        if not row[column]:
            raise HarnessError(f"{where}: '{column}' is empty; every sample needs one.{_id(row)}")
    if row["id"] in seen:
        raise HarnessError(
            f"{where}: the id '{row['id']}' is already in line {seen[row['id']]}; ids are unique."
        )
    seen[row["id"]] = line


def _id(row: dict[str, str]) -> str:
    return f" The row's id is '{row['id']}'." if row.get("id") else ""


def _fingerprint(manifest: Path, line: int, row: dict[str, str], part: str) -> list[object]:
    try:
        return fingerprint(manifest.parent / row[part])
    except OSError as error:
        raise HarnessError(
            f"{manifest}, line {line}: the {part} '{row[part]}' cannot be found ({error.strerror}); "
            f"paths are relative to the manifest's folder.{_id(row)}"
        ) from None


def _read(manifest: Path, line: int, row: dict[str, str], fit: grid.Fit) -> Sample:
    where = {part: f"{manifest}, line {line}, {row[part]}" for part in ("image", "mask")}
    image = grid.to_image(
        _pixels(manifest.parent / row["image"], where["image"], labels=False), where["image"]
    )
    mask = grid.to_labels(_pixels(manifest.parent / row["mask"], where["mask"], labels=True), where["mask"])
    grid.check_pair(image, mask, row["image"], where["mask"])
    return Sample(
        patient=row["patient"],
        image=grid.square(image, fit),
        mask=grid.square(mask, fit),
        mask_file=where["mask"],
        columns={name: known(value) for name, value in row.items() if name not in (*_REQUIRED, *RESERVED)},
        split=known(row.get("split")),
    )


def _pixels(file: Path, where: str, labels: bool) -> np.ndarray:
    """Return an image file as an array; of a palette the indices for labels, else the colours."""
    try:
        if file.suffix.lower() == ".npy":
            return np.asarray(np.load(file, allow_pickle=False))
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            return np.asarray(image.convert(_mode(image.mode, labels)))
    except (OSError, ValueError, EOFError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise HarnessError(f"{where}: cannot be read as an image ({error}); replace the file.") from None


def _mode(mode: str, labels: bool) -> str:
    """Return the Pillow mode to read a file in: its own where that is grey or RGB, without alpha."""
    if mode == "P" and labels:
        return mode
    if mode in ("1", "L", "F") or mode.startswith("I"):
        return mode
    return "L" if mode in ("LA", "La") else "RGB"
