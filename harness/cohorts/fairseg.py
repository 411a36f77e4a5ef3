"""A folder of Harvard-FairSeg `.npz` files, in either generation of keys."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from harness.arrays import Archive
from harness.cohorts import grid, pixels, scaling
from harness.cohorts.pixels import as_picture, plain_labels
from harness.cohorts.scaling import as_bytes
from harness.cohorts.source import FileOptions, Sample, Source, existing_folder, fingerprint
from harness.errors import HarnessError

_DAYS_IN_A_YEAR = 365.25  # one of the authors' loaders divides by 365, the other not at all

_GENDER = {0: "female", 1: "male"}
_ETHNICITY = {0: "non-Hispanic", 1: "Hispanic"}
_LANGUAGE = {0: "English", 1: "Spanish", 2: "other"}
_MARITAL = {0: "married or partnered", 1: "single", 2: "divorced", 3: "widowed", 4: "legally separated"}


@dataclass(frozen=True)
class _Generation:
    """Keys of one generation of files; `coded`: column to its key and what the codes mean."""

    image: str
    mask: str
    patient: str | None
    coded: dict[str, tuple[str, dict[int, str]]]
    age_unit: float

    @property
    def keys(self) -> list[str]:
        keys = [self.image, self.mask, "age", *(key for key, _ in self.coded.values())]
        return [*keys, self.patient] if self.patient else keys


def _generation(
    image: str, mask: str, patient: str | None, race: dict[int, str], ethnicity: str, age_unit: float
) -> _Generation:
    coded = {
        "race": ("race", race),
        "gender": ("gender", _GENDER),
        "ethnicity": (ethnicity, _ETHNICITY),
        "language": ("language", _LANGUAGE),
        "maritalstatus": ("maritalstatus", _MARITAL),
    }
    return _Generation(image, mask, patient, coded, age_unit)


_PUBLISHED = _generation(
    "slo_fundus", "disc_cup_mask", None, {0: "Asian", 1: "Black", 2: "White"}, "ethnicity", 1.0
)
_SCRIPTS = _generation(
    "fundus_slo", "disc_cup", "pid", {2: "Asian", 3: "Black", 7: "White"}, "hispanic", _DAYS_IN_A_YEAR
)


class Options(FileOptions):
    """The keys of `[cohort]` for `source = "fairseg"`."""

    train: Path | None = None
    """List of file names, one a line; a relative path starts in the folder. With `test`, the split."""
    test: Path | None = None
    crop: Annotated[int, Field(ge=16)] = 512
    """Side of the central square that is used; less where the image is smaller."""
    test_crop: Annotated[int, Field(ge=16)] | None = None
    """The same of the test list's images, where it differs: the scripts test on 420 what trained on 512."""
    resize: Literal["antialias", "spline"] = "antialias"
    """How that square comes to `size`: as everywhere here, or as in the scripts (`scipy.ndimage.zoom`, order
    3 for the image and 0 for the mask, which does not average what it shrinks)."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Options:
        if (self.train is None) != (self.test is None):
            raise ValueError("train and test are lists that make up one split; give both or none.")
        if self.test_crop is not None and self.test is None:
            raise ValueError("test_crop is of the images in the list 'test'; give the lists.")
        return self

    def side(self, split: str | None) -> int:
        """Return the side of the square that is cut out of an image of a split."""
        return self.test_crop if split == "test" and self.test_crop is not None else self.crop


def open_source(options: Options, size: int, data: Path | None) -> Source:
    """Return the source: SLO fundus images with rim 1 and cup 2 (or -1 and -2) and six attributes.

    Columns `race`, `gender`, `ethnicity`, `language`, `maritalstatus` in words and `age` in years; -1 is
    unknown. The generation of a file is told by its keys: as published (`slo_fundus`, ...), where a
    file is a patient, or as the authors' scripts read it (`fundus_slo`, ...), with `pid`, other
    codes of race and the age in days. Files are read without pickle. Raises HarnessError for
    a folder without files and for a split that does not cover it.
    """
    folder = existing_folder(options, data, "fairseg")
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise HarnessError(f"{folder}: no .npz file here; give the folder of the Harvard-FairSeg files.")
    split = _read_split(options, folder, {file.stem for file in files})
    return Source(
        code=tuple(map(Path, (__file__, grid.__file__, pixels.__file__, scaling.__file__))),
        title="Harvard-FairSeg",
        licence="CC BY-NC-ND 4.0",
        citation="Tian et al., FairSeg, ICLR 2024",
        publish_images=options.publish_images,
        samples=tuple(file.stem for file in files),
        read=lambda row: _read(files[row], options, size, split.get(files[row].stem)),
        identity={
            "name": "fairseg",
            "crop": options.crop,
            "split": hashlib.sha256(repr(sorted(split.items())).encode()).hexdigest(),
            "files": [fingerprint(file) for file in files],
        }
        | options.model_dump(include={"test_crop", "resize"}, exclude_defaults=True),
        place=lambda row: str(files[row]),
        values={name: tuple(words.values()) for name, (_, words) in _PUBLISHED.coded.items()},
    )


def _read_split(options: Options, folder: Path, present: set[str]) -> dict[str, str]:
    """Return sample to split from the two lists, nothing where none are given."""
    if options.train is None or options.test is None:
        return {}
    train, test = (_read_list(folder / path) for path in (options.train, options.test))
    both = sorted(train & test)
    if both:
        raise HarnessError(
            f"{folder / options.test}: '{both[0]}' is also in {options.train} ({len(both)} such names); "
            "a sample belongs to one split."
        )
    lost, unlisted = sorted((train | test) - present), sorted(present - train - test)
    if lost or unlisted:
        first = f"'{lost[0]}' is listed" if lost else f"'{unlisted[0]}.npz' is in the folder"
        raise HarnessError(
            f"{folder}: the split {options.train} ({len(train)}) and {options.test} ({len(test)}) does not "
            f"cover the {len(present)} files: {len(lost)} listed without a file, {len(unlisted)} files in "
            f"neither list (first: {first}); complete the folder, or give lists that fit it."
        )
    return dict.fromkeys(train, "train") | dict.fromkeys(test, "test")


def _read_list(path: Path) -> set[str]:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise HarnessError(
            f"{path}: {reason}; give the list of names as 'train' and 'test' in [cohort]."
        ) from None
    return {line.removesuffix(".npz") for line in lines}


def _read(file: Path, options: Options, size: int, split: str | None) -> Sample:
    arrays = _load(file)
    generation = _generation_of(set(arrays), file)
    named = f"{file}, key '{generation.image}'"
    image = as_bytes(as_picture(arrays[generation.image], named), named)
    where = f"{file}, key '{generation.mask}'"
    mask = np.abs(plain_labels(arrays[generation.mask], where)[0])
    grid.check_pair(image, mask, f"'{generation.image}'", where)
    side = min(options.side(split), *mask.shape)
    image, mask = grid.centre_crop(image, side), grid.centre_crop(mask, side)
    if options.resize == "spline" and side != size:
        image, mask = _zoomed(image, size / side, 3), _zoomed(mask, size / side, 0)
    return Sample(
        patient=_patient(arrays, generation, file),
        image=image,
        mask=mask,
        mask_file=where,
        columns=_columns(arrays, generation, file),
        split=split,
    )


def _zoomed(array: np.ndarray, factor: float, order: int) -> np.ndarray:
    """Return a square [H, H, ...] as the scripts' `zoom` resizes it; a spline may swing out of the 8 bits."""
    from scipy import ndimage  # here, because what is refused is refused before it is imported

    factors = [factor, factor] + [1.0] * (array.ndim - 2)
    limits = np.iinfo(array.dtype)
    resized: np.ndarray = ndimage.zoom(array.astype(np.float64), factors, order=order)
    whole: np.ndarray = np.rint(resized).clip(limits.min, limits.max).astype(array.dtype)
    return whole


def _load(file: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file; objects, which would need pickle, are refused."""
    key = ""
    arrays = {}
    try:
        with Archive(file) as packed:
            for key in packed.sizes:
                arrays[key] = packed[key]
    except (OSError, ValueError, EOFError) as error:
        at = f", key '{key}'" if key else ""
        raise HarnessError(
            f"{file}{at}: cannot be read ({error}); the file is damaged or incomplete, copy it again."
        ) from None
    return arrays


def _generation_of(keys: set[str], file: Path) -> _Generation:
    found = [g for g in (_PUBLISHED, _SCRIPTS) if {g.image, g.mask} & keys]
    if len(found) != 1:
        what = "keys of both generations" if found else "no fundus image"
        raise HarnessError(
            f"{file}: has {what}; a Harvard-FairSeg file has either '{_PUBLISHED.image}' and "
            f"'{_PUBLISHED.mask}' or '{_SCRIPTS.image}' and '{_SCRIPTS.mask}'."
        )
    missing = [key for key in found[0].keys if key not in keys]
    if missing:
        raise HarnessError(
            f"{file}: the key '{missing[0]}' is missing (there are {', '.join(sorted(keys))}); "
            "get the file again from the data's owners."
        )
    return found[0]


def _patient(arrays: dict[str, np.ndarray], generation: _Generation, file: Path) -> str:
    if generation.patient is None:
        return file.stem
    return str(_scalar(arrays, generation.patient, file))


def _columns(arrays: dict[str, np.ndarray], generation: _Generation, file: Path) -> dict[str, str | None]:
    columns = {
        name: _word(_number(arrays, key, file), words, f"{file}, key '{key}'")
        for name, (key, words) in generation.coded.items()
    }
    age = _number(arrays, "age", file)
    return columns | {"age": None if age is None else repr(age / generation.age_unit)}


def _word(code: float | None, words: dict[int, str], where: str) -> str | None:
    if code is None:
        return None
    if code not in words:
        known = ", ".join(f"{number} {word}" for number, word in words.items())
        raise HarnessError(
            f"{where}: the code {code:g} is not one of {known} or -1 (unknown); mend the file."
        )
    return words[int(code)]


def _number(arrays: dict[str, np.ndarray], key: str, file: Path) -> float | None:
    """Return a value as a number, None for unknown: -1 or not a number."""
    value = _scalar(arrays, key, file)
    try:
        number = float(value)
    except ValueError:
        raise HarnessError(f"{file}, key '{key}': {value!r} is not a number; mend the file.") from None
    return None if np.isnan(number) or number == -1 else number


def _scalar(arrays: dict[str, np.ndarray], key: str, file: Path) -> Any:
    array = arrays[key]
    if array.size != 1:
        raise HarnessError(
            f"{file}, key '{key}': holds {array.size} values where one belongs; mend the file."
        )
    return array.item()
