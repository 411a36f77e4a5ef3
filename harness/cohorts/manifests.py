"""The manifest of a folder of images: its rows, checked, and the files that they name."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

from harness.cohorts.cohort import Remark
from harness.cohorts.source import fingerprint, regular
from harness.cohorts.volume import files_of
from harness.errors import HarnessError, did_you_mean

REQUIRED = ("id", "patient", "image", "mask")


_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def read(manifest: Path) -> list[tuple[int, dict[str, str]]]:
    """Return line number and cells of every row, checked. Raises HarnessError."""
    try:
        with regular(manifest).open(encoding="utf-8-sig", newline="") as file:
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


def fingerprints(manifest: Path, line: int, row: dict[str, str]) -> list[list[object]]:
    """Return the fingerprint of each file that a row names. Raises HarnessError where one is missing."""
    found: list[list[object]] = []
    for part in ("image", "mask"):
        path = manifest.parent / row[part]
        try:
            own = [fingerprint(file) for file in files_of(path)]
        except OSError as error:
            raise missing(manifest, line, row, part, str(error.strerror)) from None
        if not own:
            raise missing(manifest, line, row, part, "an empty folder")
        found += own
    return found


def missing(manifest: Path, line: int, row: dict[str, str], part: str, why: str) -> HarnessError:
    """Return the error that a row's image or mask cannot be found."""
    slashes = " Write it with / between folders." if "\\" in row[part] else ""
    return HarnessError(
        f"{manifest}, line {line}: the {part} '{row[part]}' cannot be found ({why}); "
        f"paths are relative to the manifest's folder.{slashes}{_id(row)}"
    )


def check_inside(manifest: Path, line: int, row: dict[str, str]) -> None:
    """Raise HarnessError for a path that leads out of the folder; links in it may."""
    folder = os.path.abspath(manifest.parent)
    for part in ("image", "mask"):
        path = os.path.normpath(os.path.join(folder, row[part]))
        if path != folder and not path.startswith(folder + os.sep):
            raise HarnessError(
                f"{manifest}, line {line}: the {part} '{row[part]}' leads out of the folder; copy or link "
                "the file "
                f"into it.{_id(row)}"
            )


def named_twice(rows: list[tuple[int, dict[str, str]]]) -> list[Remark]:
    """Say which rows name the image of an earlier one."""
    first: dict[str, tuple[int, str]] = {}
    twice: list[tuple[int, int, str]] = []
    for line, row in rows:
        path = os.path.normpath(row["image"])
        if path in first:
            twice.append((first[path][0], line, row["id"]))
        else:
            first[path] = (line, row["id"])
    if not twice:
        return []
    message = (
        f"{len(twice)} rows of the manifest name an image that another names too (lines {twice[0][0]} and "
        f"{twice[0][1]} first): keep one row an image."
    )
    return [Remark("twice", message, tuple(sample for _, _, sample in twice), spoils=True)]


def _check_separator(manifest: Path, header: str) -> None:
    """Raise HarnessError for a table with something else than commas between its cells."""
    for separator, name in _SEPARATORS.items():
        apart = {cell.strip(' "\r\n') for cell in header.split(separator)}
        if set(REQUIRED) <= apart:
            raise HarnessError(
                f"{manifest}: its cells have {name} between them; save it with commas (in a spreadsheet: "
                "CSV, comma delimited)."
            )


def _check_header(manifest: Path, header: list[str]) -> None:
    for column in REQUIRED:
        if column not in header:
            raise HarnessError(
                f"{manifest}: the column '{column}' is missing.{did_you_mean(column, header)} "
                f"A manifest has {', '.join(REQUIRED)} and a column per attribute."
            )
    twice = [column for column, count in Counter(header).items() if count > 1]
    if twice:
        raise HarnessError(f"{manifest}: the column '{twice[0]}' stands twice; name each column once.")


def _check_row(where: str, row: dict[str, str], seen: dict[str, int], line: int) -> None:
    if None in row or None in row.values():
        raise HarnessError(
            f"{where}: has more or fewer cells than the header; quote cells that hold a comma.{_id(row)}"
        )
    for column in REQUIRED:
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
