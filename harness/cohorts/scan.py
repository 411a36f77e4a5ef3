"""Look at a folder that nobody has described: which file is whose mask, what is in it, which columns."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from harness import arrays
from harness.cohorts.groups import known
from harness.errors import HarnessError

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".npy", ".dcm", ".nii", ".nii.gz")
TABLES = (".csv", ".tsv")
MOST_READ = 200
"""Masks of which the values are read: enough to see what there is, and seconds at the most."""
MOST_VALUES = 12
MOST_GROUPS = 8

_MASK = re.compile(
    r"(?:^|[^a-z])(masks?|segs?|segmentations?|labels?|annotations?|gts?|ground ?truths?|rois?|manual\d?)"
    r"(?:[^a-z]|$)"
)
_IMAGE = re.compile(r"(?:^|[^a-z])(images?|imgs?|photos?|scans?|originals?)(?:[^a-z]|$)")
_PATIENT = re.compile(r"^(patient|subject|case|pat|pid|mrn)[ _-]?(id|no|nr|num|number|name|key)?$")
_ID = re.compile(r"^(id|image|images|file|filename|file ?name|name|sample|image[ _-]?id|scan|slice|path)$")
_PARTS = re.compile(
    r"^(.+?)[ _.-]+(?:s|slice|img|image|z|t|f|frame|od|os|left|right|l|r)?\d*$", re.IGNORECASE
)


@dataclass(frozen=True)
class Value:
    """What stands in masks: a value or colour, as a protocol writes it, with how many masks and pixels."""

    text: str
    masks: int
    pixels: float
    """Share of all pixels read."""


@dataclass(frozen=True)
class Column:
    """A column of the table: its values with their numbers of rows, most first, and what it looks like.

    kind: "groups", "number", or why it is no attribute.
    """

    name: str
    kind: str
    values: tuple[tuple[str, int], ...] = ()
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True)
class Scan:
    """What is in a folder.

    rows: of the manifest to be written, empty where one is there; alone: files without a partner; values:
    of the masks read, `read` of them; unread: why a mask's values are not known; table: where the columns
    are from; patient: what the patient's name was taken from.
    """

    folder: Path
    manifest: bool
    rows: tuple[dict[str, str], ...]
    alone: tuple[str, ...]
    values: tuple[Value, ...]
    read: int
    unread: str
    sizes: tuple[tuple[int, int], ...]
    table: str
    patient: str
    several: str
    columns: tuple[Column, ...] = field(default=())


def scan(folder: Path) -> Scan:
    """Look at a folder's files, the values in its masks and the columns of its table.

    Raises HarnessError where there is no folder, or nothing in it of which one could be an image and one its
    mask.
    """
    if not folder.is_dir():
        raise HarnessError(f"{folder}: not a folder; give the folder with images, masks and a table.")
    manifest = folder / "manifest.csv"
    if manifest.is_file():
        rows, table, patient = _table(manifest), manifest.name, "the column 'patient'"
        alone: list[str] = []
        lacking = [column for column in ("id", "patient", "image", "mask") if column not in (rows or [{}])[0]]
        if lacking:
            raise HarnessError(
                f"{manifest}: the column '{lacking[0]}' is missing; a manifest has id, patient, image, mask "
                "and a column per attribute. Mend it, or move it away for one to be written from the files."
            )
    else:
        rows, alone = _paired(folder)
        rows, table, patient = _joined(folder, rows)
    values, read, unread = _values(folder, [row["mask"] for row in rows])
    return Scan(
        folder=folder,
        manifest=manifest.is_file(),
        rows=tuple(rows),
        alone=tuple(alone),
        values=values,
        read=read,
        unread=unread,
        sizes=_sizes(folder, [row["image"] for row in rows]),
        table=table,
        patient=patient,
        several=_several(rows, patient),
        columns=tuple(_columns(rows)),
    )


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file() and not _hidden(path, folder))
    return sorted(path for path in found if _suffix(path) in IMAGES)


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(_suffix(path))]


def _paired(folder: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return a row for each image with its mask, and the files that have no partner."""
    files = _files(folder)
    masks = [path for path in files if _MASK.search(_words(path, folder))]
    images = [path for path in files if path not in set(masks)]
    if not images or not masks:
        what = "images" if not images else "masks"
        raise HarnessError(
            f"{folder}: no {what} are told from the others among {len(files)} image files; put masks in a "
            "folder 'masks', or end their names on '_mask'."
        )
    by_key: defaultdict[str, list[Path]] = defaultdict(list)
    for path in masks:
        by_key[_key(path, folder)].append(path)
    rows: list[dict[str, str]] = []
    taken: set[Path] = set()
    for path in images:
        own = by_key.get(_key(path, folder), [])
        if len(own) == 1:
            taken.update((path, own[0]))
            image, mask = (str(one.relative_to(folder).as_posix()) for one in (path, own[0]))
            rows.append({"id": "", "patient": "", "image": image, "mask": mask})
    if not rows:
        raise HarnessError(
            f"{folder}: {len(images)} images and {len(masks)} masks, and no two of them go by the same name; "
            f"'{images[0].name}' and '{masks[0].name}' are the first. Write a manifest.csv: id, patient, "
            "image, mask and a column per attribute."
        )
    for row, name in zip(rows, _ids([row["image"] for row in rows]), strict=True):
        row["id"] = name
    return rows, [str(path.relative_to(folder)) for path in files if path not in taken]


def _words(path: Path, folder: Path) -> str:
    """Return folders and name in lower case, a blank between camelCase words."""
    text = "/".join((*path.relative_to(folder).parts[:-1], _stem(path)))
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()


def _key(path: Path, folder: Path) -> str:
    """Return what an image and its mask have in common: folders and name without words for either."""
    words = _IMAGE.sub(" ", _MASK.sub(" ", re.sub(r"[^a-z0-9]+", "  ", _words(path, folder))))
    return " ".join(words.split())


def _ids(images: Sequence[str]) -> list[str]:
    """Return a unique id for each image: its name, with its folder where two have the same."""
    stems = [_stem(Path(image)) for image in images]
    if len(set(stems)) == len(stems):
        return stems
    return [re.sub(r"[/\\]", "-", image[: len(image) - len(_suffix(Path(image)))]) for image in images]


def _table(file: Path) -> list[dict[str, str]]:
    """Return a table's rows; raises HarnessError where it cannot be read."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"{file}: cannot be read as text in UTF-8 ({error}); save it as CSV.") from None
    first = text.partition("\n")[0]
    separator = max((",", ";", "\t"), key=first.count)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise HarnessError(f"{file}: not a table ({error}); save it as CSV.") from None
    return [{key.strip(): (value or "").strip() for key, value in row.items() if key} for row in rows]


def _joined(folder: Path, rows: list[dict[str, str]]) -> tuple[list[dict[str, str]], str, str]:
    """Return the rows with the columns of the table that names them, its name, and whence the patient is."""
    names = [{row["id"].lower(), Path(row["image"]).name.lower(), row["image"].lower()} for row in rows]
    best: tuple[int, str, str, list[dict[str, str]]] = (0, "", "", [])
    for file in sorted(path for path in folder.rglob("*") if path.suffix.lower() in TABLES):
        table = _table(file)
        for column in table[0] if table else ():
            there = {row[column].lower() for row in table}
            best = max(
                best, (sum(bool(own & there) for own in names), str(file.relative_to(folder)), column, table),
                key=lambda one: one[0],
            )  # fmt: skip
    found, name, column, table = best
    by_name = {row[column].lower(): row for row in table} if found else {}
    joined = []
    for row, own in zip(rows, names, strict=True):
        about = next((by_name[one] for one in own if one in by_name), {})
        joined.append(row | {key: value for key, value in about.items() if key not in (*row, column)})
    return _with_patients(joined, name)


def _with_patients(rows: list[dict[str, str]], table: str) -> tuple[list[dict[str, str]], str, str]:
    columns = dict.fromkeys(key for row in rows for key in row)
    whole = [{key: row.get(key, "") for key in columns} for row in rows]
    named = next((key for key in columns if key != "patient" and _PATIENT.match(key.lower())), "")
    for row in whole:
        row["patient"] = row.pop(named, "") or row["id"] if named else row["id"]
    return whole, table, f"the column '{named}'" if named else ""


def _several(rows: Sequence[Mapping[str, str]], patient: str) -> str:
    """Return an example of names that look like several files of a patient, where nothing names patients."""
    if patient:
        return ""
    parts = [(match[1], row["id"]) for row in rows if (match := _PARTS.match(row["id"]))]
    counts = Counter(begin for begin, _ in parts)
    begin, count = counts.most_common(1)[0] if counts else ("", 0)
    if count < 2 or len(counts) < 2:
        return ""
    return " and ".join(f"'{name}'" for name in [name for own, name in parts if own == begin][:2])


def _values(folder: Path, masks: Sequence[str]) -> tuple[tuple[Value, ...], int, str]:
    """Return what stands in masks spread over the folder, how many were read, and why one was not."""
    chosen = (
        [masks[i] for i in np.unique(np.linspace(0, len(masks) - 1, MOST_READ).astype(int))] if masks else []
    )
    there: Counter[str] = Counter()
    pixels: Counter[str] = Counter()
    unread, read = "", 0
    for name in chosen:
        try:
            counts = _counted(folder / name)
        except (OSError, ValueError, SyntaxError) as error:
            unread = unread or f"{name}: {error}"
            continue
        read += 1
        there.update(counts.keys())
        pixels.update(counts)
    total = sum(pixels.values())
    order = sorted(there, key=lambda text: (text.startswith('"'), float(text) if text[0] != '"' else 0, text))
    return tuple(Value(text, there[text], pixels[text] / total) for text in order), read, unread


def _counted(file: Path) -> dict[str, int]:
    """Return the values of a mask as a protocol writes them, colours as "#rrggbb", with their pixels."""
    if _suffix(file) == ".npy":
        array = arrays.load(file)
    elif _suffix(file) in (".dcm", ".nii", ".nii.gz"):
        raise ValueError("values of volumes are not looked at here; open one in a viewer")
    else:
        with Image.open(file) as opened:
            image = opened.convert("RGB") if opened.mode in ("P", "RGBA") else opened
            array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] == 3:
        colours, counts = np.unique(array.reshape(-1, 3), axis=0, return_counts=True)
        texts = [str(c[0]) if c[0] == c[1] == c[2] else f'"#{c[0]:02x}{c[1]:02x}{c[2]:02x}"' for c in colours]
    elif array.ndim == 2 and np.isfinite(array).all():
        values, counts = np.unique(array, return_counts=True)
        texts = [str(int(value)) if value == int(value) else f"{float(value):g}" for value in values]
    else:
        raise ValueError(f"an array of shape {array.shape} is no mask of one channel of numbers")
    return dict(zip(texts, (int(count) for count in counts), strict=True))


def _sizes(folder: Path, images: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return width and height of images spread over the folder, those whose header tells."""
    chosen = [images[i] for i in np.unique(np.linspace(0, len(images) - 1, 50).astype(int))] if images else []
    found = []
    for name in chosen:
        try:
            if _suffix(folder / name) == ".npy":
                shape = arrays.mapped(folder / name).shape
                found.append((int(shape[1]), int(shape[0])))
            else:
                with Image.open(folder / name) as opened:
                    found.append(opened.size)
        except (OSError, ValueError, IndexError, SyntaxError):
            continue
    return tuple(found)


def _columns(rows: Sequence[Mapping[str, str]]) -> Iterator[Column]:
    own = ("id", "patient", "image", "mask", "split")
    for name in dict.fromkeys(key for row in rows for key in row if key not in own):
        values = [value for row in rows if (value := known(row.get(name))) is not None]
        yield _column(name, values, len(rows))


def _column(name: str, values: list[str], rows: int) -> Column:
    counts = tuple(Counter(values).most_common())
    if not values:
        return Column(name, "it is empty")
    if len(counts) == 1:
        return Column(name, f"it is '{counts[0][0]}' throughout")
    if _PATIENT.match(name.lower()) or _ID.match(name.lower()):
        return Column(name, "it looks like a name or a number of a file or a person")
    if 2 <= len(counts) <= MOST_GROUPS:
        return Column(name, "groups", counts)
    numbers = [_number(value) for value in values]
    if all(number is not None for number in numbers):
        return Column(name, "number", numbers=tuple(sorted(n for n in numbers if n is not None)))
    return Column(name, f"it has {len(counts)} values in {rows} rows")


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
