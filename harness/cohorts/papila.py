"""PAPILA (Kovalyk et al., 2022): contours by experts and tables by eye become masks and a manifest."""

from __future__ import annotations

import csv
import io
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from harness.cohorts.source import Progress
from harness.errors import HarnessError
from harness.store import files

MANIFEST = "manifest.csv"
RIM, CUP = 1, 2

_IMAGE = re.compile(r"(?:.*/)?FundusImages/(RET(\d{3})(OD|OS))\.jpg")
_SEX = {"0": "male", "1": "female"}
_DIAGNOSIS = {"0": "healthy", "1": "glaucoma", "2": "suspect"}
_COLUMNS = ("id", "patient", "image", "mask", "eye", "age", "gender", "diagnosis")


def lay_out(packed: zipfile.ZipFile, folder: Path, progress: Progress) -> None:
    """Write images, masks and manifest.csv into a folder that is still aside.

    Masks are the first expert's: 2 within the contour of the cup, 1 within that of the disc, 0 elsewhere.
    Age, sex and diagnosis are from the table of each eye; what it leaves open is unknown. Raises HarnessError
    where the archive is not PAPILA's.
    """
    names = packed.namelist()
    images = {match[1]: (name, match[2], match[3]) for name in names if (match := _IMAGE.fullmatch(name))}
    if not images:
        raise HarnessError("The archive has no FundusImages/RET001OD.jpg and the like: it is not PAPILA's.")
    people = {eye: _people(packed, names, eye) for eye in ("OD", "OS")}
    rows = []
    for done, (key, (name, patient, eye)) in enumerate(sorted(images.items()), start=1):
        with packed.open(name) as given, files.stream(folder / f"{key}.jpg") as file:
            shutil.copyfileobj(given, file)
        with Image.open(folder / f"{key}.jpg") as image:
            size = image.size
        contours = {part: _contour(packed, names, key, part) for part in ("disc", "cup")}
        png = io.BytesIO()
        Image.fromarray(_mask(size, contours["disc"], contours["cup"])).save(png, "png")
        files.put(folder / f"{key}_mask.png", png.getvalue())
        about = people[eye].get(patient, {})
        told = [about.get(column, "") for column in ("age", "gender", "diagnosis")]
        rows.append([key, patient, f"{key}.jpg", f"{key}_mask.png", eye, *told])
        progress("Images laid out", done, len(images))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([_COLUMNS, *rows])
    files.put(folder / MANIFEST, table.getvalue().encode())


def _mask(size: tuple[int, int], disc: np.ndarray, cup: np.ndarray) -> np.ndarray:
    """Return the labels within two contours, uint8 [H, W]; contours: float [N, 2], x and y in pixels."""
    drawn = Image.new("L", size, 0)
    pen = ImageDraw.Draw(drawn)
    for contour, label in ((disc, RIM), (cup, CUP)):
        pen.polygon([(float(x), float(y)) for x, y in contour], fill=label)
    labels = np.array(drawn)
    # What an expert drew of the cup beyond the disc is no cup.
    only = Image.new("L", size, 0)
    ImageDraw.Draw(only).polygon([(float(x), float(y)) for x, y in disc], fill=1)
    return np.where(np.array(only) > 0, labels, 0).astype(np.uint8)


def _contour(packed: zipfile.ZipFile, names: list[str], key: str, part: str) -> np.ndarray:
    wanted = f"ExpertsSegmentations/Contours/{key}_{part}_exp1.txt"
    name = _member(names, wanted)
    try:
        points = np.loadtxt(io.StringIO(packed.read(name).decode()))
    except (ValueError, UnicodeDecodeError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise HarnessError(f"{name}: not a contour, three or more lines of x and y.")
    return points


def _people(packed: zipfile.ZipFile, names: list[str], eye: str) -> dict[str, dict[str, str]]:
    """Return patient (three digits) to age, gender and diagnosis, as the table of an eye has them."""
    # Here and not above: of all cohorts this one alone is a spreadsheet.
    from openpyxl import load_workbook

    name = _member(names, f"ClinicalData/patient_data_{eye.lower()}.xlsx")
    sheet = load_workbook(io.BytesIO(packed.read(name)), read_only=True, data_only=True).active
    found = {}
    for row in sheet.iter_rows(values_only=True) if sheet is not None else ():
        # Titles over several lines come first; a patient is "#002".
        if row and isinstance(row[0], str) and (match := re.fullmatch(r"#\s*(\d+)", row[0].strip())):
            age, sex, diagnosis = (_number(cell) for cell in row[1:4])
            found[f"{int(match[1]):03d}"] = {
                "age": age,
                "gender": _SEX.get(sex, ""),
                "diagnosis": _DIAGNOSIS.get(diagnosis, ""),
            }
    if not found:
        raise HarnessError(f"{name}: no row begins with a patient like '#002': it is not PAPILA's table.")
    return found


def _number(cell: object) -> str:
    """Return a cell's whole number as text, "" for any other cell."""
    if isinstance(cell, int | float) and not isinstance(cell, bool) and cell == int(cell):
        return str(int(cell))
    return ""


def _member(names: list[str], wanted: str) -> str:
    """Return the member of an archive that ends so, whatever folder the archive puts around all of them."""
    for name in names:
        if name == wanted or name.endswith(f"/{wanted}"):
            return name
    raise HarnessError(f"The archive has no {wanted}: it is not PAPILA's, or not all of it.")
