"""A folder of images and label masks in common formats, listed by a manifest."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from harness.cohorts import grid, manifests, pixels, scaling, volumes
from harness.cohorts.cohort import RESERVED, Remark
from harness.cohorts.groups import known
from harness.cohorts.scaling import Look, Scale, ScaleOptions
from harness.cohorts.source import (
    FileOptions,
    Progress,
    Sample,
    Source,
    existing_folder,
)
from harness.cohorts.volume import Volume
from harness.errors import HarnessError

_PARTS = ("folder", "dicom", "grid", "labels", "manifests", "pixels", "scaling", "volume", "volumes")
_CODE = tuple(Path(__file__).with_name(f"{one}.py") for one in _PARTS)
_NO_ATTRIBUTES = (*manifests.REQUIRED, *RESERVED)
Millimetres = Annotated[float, Field(gt=0)]


class SliceOptions(BaseModel):
    """`slices`: which slices of a volume are samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    axis: Annotated[int, Field(ge=0, le=2)] | None = None
    """Axis of the array that slices are taken across; that of the acquisition where not given."""
    every: Annotated[int, Field(ge=1)] = 1
    """Every n-th slice, from the first."""
    training: Literal["all", "with-structure"] = "all"
    """Whether slices without any structure are left out of the training; they are tested all the same."""


class Options(FileOptions, ScaleOptions):
    """The keys of `[cohort]` for `source = "folder"`."""

    manifest: str = "manifest.csv"
    """CSV file in the folder: id, patient, image, mask, optional split, and a column per attribute."""
    fit: grid.Fit = "pad"
    """How an image that is not square becomes so: zeros at its sides, or only its centre."""
    title: str = ""
    """Name of the cohort on the board; the folder's name when not given."""
    licence: str = ""
    citation: str = ""
    spacing: Annotated[tuple[Millimetres, ...], Field(min_length=2, max_length=3)] | None = None
    """Millimetres from row to row and from column to column, or from slice to slice before them; from the
    headers of DICOM and NIfTI where not given."""
    slices: SliceOptions | None = None
    """Take slices of volumes: NIfTI, DICOM series (a folder each), pages of a TIFF, .npy of three axes."""


def open_source(options: Options, size: int, data: Path | None) -> Source:
    """Return the source: one sample a row of the manifest, paths relative to the folder.

    Images: what Pillow opens, .npy, TIFF, DICOM and NIfTI; grey, RGB, palette (`pixels.read_picture`), 8 or
    more bits on one scale (`scaling`), turned as EXIF says. Masks: the same formats but JPEG, labels by value
    or colour (`pixels.read_labels`). With `slices`, a sample for each slice of a row's volume. Empty cells
    (also NA, unknown and other spellings of it) are unknown. Raises HarnessError for a manifest that is
    missing, lacks a column or a value, has an id twice or names a file that is not there or not in the
    folder.
    """
    folder = existing_folder(options, data, "folder")
    read = _Folder(folder / options.manifest, options)
    return Source(
        code=_CODE,
        title=options.title or folder.resolve().name,
        licence=options.licence,
        citation=options.citation,
        publish_images=options.publish_images,
        samples=tuple(sample for sample, _, _ in read.samples),
        read=read.sample,
        identity={
            "name": "folder",
            "fit": options.fit,
            "pixels": options.model_dump(include=set(ScaleOptions.model_fields) | {"spacing", "slices"}),
            "manifest": hashlib.sha256(read.manifest.read_bytes()).hexdigest(),
            "files": [
                fingerprint
                for line, row in read.rows
                for fingerprint in manifests.fingerprints(read.manifest, line, row)
            ],
        },
        place=lambda row: read.place(read.samples[row][1]),
        before=read.before,
        training=options.slices.training if options.slices else "all",
    )


class _Folder:
    """Reads the samples of a manifest; the scale of their pixels is found before the first one is read."""

    def __init__(self, manifest: Path, options: Options) -> None:
        self.manifest = manifest
        self.options = options
        self.rows = manifests.read(manifest)
        for line, row in self.rows:
            manifests.check_inside(manifest, line, row)
        self.scales: dict[str, Scale] = {}
        self.samples = [sample for row in range(len(self.rows)) for sample in self._samples(row)]
        twice = [name for name, count in Counter(name for name, _, _ in self.samples).items() if count > 1]
        if twice:
            raise HarnessError(
                f"{manifest}: two slices would be called '{twice[0]}'; name the volumes otherwise."
            )

    def place(self, row: int) -> str:
        """Return what a person looks up to mend a row."""
        line, cells = self.rows[row]
        return f"{self.manifest}, line {line}, id '{cells['id']}'"

    def before(self, progress: Progress) -> list[Remark]:
        """Find the scale of the pixels, where the protocol does not give it."""
        options = self.options
        remarks = manifests.named_twice(self.rows)
        given = scaling.declared(options)
        if given is not None:
            self.scales[""] = given
        elif options.percentiles is None:
            self.scales[""], found = scaling.find(self._looks(progress, False), self._image_place)
            remarks += found
        elif options.percentiles_of != "image":
            looks, spots = self._looks(progress, True), dict[str, list[np.ndarray]]()
            for (_, row), one in zip(self.rows, looks, strict=True):
                key = row["patient"] if options.percentiles_of == "patient" else ""
                spots.setdefault(key, []).append(np.empty(0) if one.spots is None else one.spots)
            for key, values in spots.items():
                self.scales[key] = scaling.by_percentiles(
                    values, options.percentiles, f"{self.manifest} {key}"
                )
            if options.percentiles_of == "cohort":
                low, high = self.scales[""].low, self.scales[""].high
                said = (
                    f"Percentiles {options.percentiles[0]:g} and {options.percentiles[1]:g} of all images are"
                )
                remarks.append(
                    Remark("scale", f"{said} {low:g}, which is black, and {high:g}, which is white.")
                )
        return remarks

    def sample(self, index: int) -> Sample:
        """Return a sample. Raises HarnessError for files that cannot be used."""
        name, at, slice_ = self.samples[index]
        _, row = self.rows[at]
        where = {part: self._where(at, part) for part in ("image", "mask")}
        image, mask, kind, spacing = self._pair(at, slice_, where)
        grid.check_pair(image, mask, row["image"], where["mask"])
        return Sample(
            patient=row["patient"],
            image=self._scale(row, image, where["image"]).apply(image, where["image"]),
            mask=mask,
            mask_file=where["mask"],
            columns={
                key: value or None
                for key, value in row.items()
                if key not in (*manifests.REQUIRED, *RESERVED)
            },
            split=known(row.get("split")),
            mask_kind=kind,
            fit=self.options.fit,
            spacing=spacing,
            volume=row["id"] if name != row["id"] else "",
            slice=slice_,
        )

    def _samples(self, row: int) -> list[tuple[str, int, int]]:
        """Return id, row and slice of each sample of a row."""
        cells, slices = self.rows[row][1], self.options.slices
        path = self.manifest.parent / cells["image"]
        if slices is None or not volumes.is_stack(path):
            return [(cells["id"], row, 0)]
        if not path.exists():
            raise manifests.missing(self.manifest, *self.rows[row], "image", "No such file or directory")
        count = volumes.count_of(path, slices.axis, self._where(row, "image"))
        return [(f"{cells['id']}_{i:03d}", row, i) for i in range(0, count, slices.every)]

    def _where(self, row: int, part: str) -> str:
        line, cells = self.rows[row]
        return f"{self.manifest}, line {line}, {cells[part]}"

    def _image_place(self, row: int) -> str:
        return self._where(row, "image")

    def _pair(
        self, at: int, slice_: int, where: dict[str, str]
    ) -> tuple[np.ndarray, np.ndarray, str, tuple[float, float, float]]:
        """Return image, labels, the kind of the mask, and the spacing of a sample."""
        image, mask = (self.manifest.parent / self.rows[at][1][part] for part in ("image", "mask"))
        volume = self._volume(image, where["image"])
        drawn = self._volume(mask, where["mask"])
        if volume is None:
            if drawn is None:
                found, kind = pixels.read_labels(mask, where["mask"])
            else:
                found, kind = pixels.plain_labels(_one_slice(drawn, where["mask"]), where["mask"])
            return pixels.read_picture(image, where["image"]), found, kind, self._spacing(None, 0)
        axis = self._axis(volume)
        plane = _slice(volume, axis, slice_, where["image"], self.options.slices is not None)
        if drawn is None:
            if image.name.lower().endswith(volumes.NIFTI):
                raise HarnessError(
                    f"{where['mask']}: the image is NIfTI, which is turned by its header, and this mask "
                    "has none; give the mask as NIfTI too."
                )
            if (count := volume.array.shape[axis]) > 1:
                raise HarnessError(
                    f"{where['mask']}: one picture cannot be the mask of all {count} slices of its image; "
                    "give a mask of as many."
                )
            found, kind = pixels.read_labels(mask, where["mask"])
        else:
            drawn = volumes.aligned(drawn, volume, where["mask"])
            if drawn.array.shape[:3] != volume.array.shape[:3]:
                raise HarnessError(
                    f"{where['mask']}: the mask has the size {_by(drawn)} but its image "
                    f"{self.rows[at][1]['image']} has {_by(volume)}; give a mask of the image's own size."
                )
            found, kind = pixels.plain_labels(np.take(drawn.array, slice_, axis), where["mask"])
        return plane, found, kind, self._spacing(volume, axis)

    def _volume(self, path: Path, where: str) -> Volume | None:
        sliced = self.options.slices is not None
        if volumes.is_volume(path) or (sliced and volumes.is_stack(path)):
            return volumes.read_volume(path, where)
        return None

    def _axis(self, volume: Volume) -> int:
        slices = self.options.slices
        if slices is not None:
            return volume.through if slices.axis is None else slices.axis
        return int(np.argmin(volume.array.shape[:3])) if 1 in volume.array.shape[:3] else volume.through

    def _spacing(self, volume: Volume | None, axis: int) -> tuple[float, float, float]:
        every = self.options.slices.every if self.options.slices else 1
        given = self.options.spacing
        if given is not None:
            through = every * given[0] if len(given) == 3 else math.nan
            return (through, given[-2], given[-1])
        if volume is None:
            return (math.nan, math.nan, math.nan)
        rows, columns = (volume.spacing[other] for other in range(3) if other != axis)
        return (every * volume.spacing[axis], rows, columns)

    def _scale(self, row: dict[str, str], image: np.ndarray, where: str) -> Scale:
        options = self.options
        if options.percentiles is not None and options.percentiles_of == "image":
            return scaling.by_percentiles([scaling.finite(image, where).ravel()], options.percentiles, where)
        return self.scales[
            row["patient"] if options.percentiles_of == "patient" and options.percentiles else ""
        ]

    def _looks(self, progress: Progress, percentiles: bool) -> list[Look]:
        """Look at every row's image; what is 8-bit by its header is not read."""

        def one(at: int) -> Look:
            path, where = self.manifest.parent / self.rows[at][1]["image"], self._where(at, "image")
            volume = self._volume(path, where)
            if volume is None and not percentiles and pixels.is_byte_picture(path):
                return Look("bytes")
            array = pixels.read_picture(path, where) if volume is None else volume.array
            if percentiles and array.dtype in (np.uint8, np.bool_):
                array = scaling.BYTES.apply(array, where).astype(np.int16)
            return scaling.look(array, len(self.rows), where)

        looks = []
        with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 8)) as pool:
            for found in pool.map(one, range(len(self.rows))):
                looks.append(found)
                progress("Looking at the pixels", len(looks), len(self.rows))
        return looks


def _slice(volume: Volume, axis: int, at: int, where: str, sliced: bool) -> np.ndarray:
    count = volume.array.shape[axis]
    if count > 1 and not sliced:
        raise HarnessError(
            f"{where}: has {count} slices where one image is meant; declare [cohort] slices = "
            f"{{ every = 1 }}."
        )
    if at >= count:
        raise HarnessError(f"{where}: has {count} slices, not {at + 1}; some of its files are no images.")
    plane: np.ndarray = np.take(volume.array, at, axis)
    return plane


def _one_slice(volume: Volume, where: str) -> np.ndarray:
    return _slice(volume, int(np.argmin(volume.array.shape[:3])), 0, where, False)


def _by(volume: Volume) -> str:
    return " x ".join(map(str, volume.array.shape[:3]))
