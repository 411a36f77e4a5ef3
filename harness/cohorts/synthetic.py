"""The embedded default: a drawn cohort with Harvard-FairSeg's groups, and a known disparity or none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from harness import seeds
from harness.cohorts import fundus
from harness.cohorts.source import Sample, Source, SourceOptions
from harness.errors import HarnessError
from harness.protocol import Seed

# Shares of groups in a public 5,000-row summary of Harvard-FairSeg, None being unknown.
_RACE = {"White": 0.802, "Black": 0.122, "Asian": 0.076}
_GENDER = {"female": 0.583, "male": 0.417}
_MARITAL = {
    "married or partnered": 0.579,
    "single": 0.279,
    "divorced": 0.066,
    "widowed": 0.045,
    None: 0.023,
    "legally separated": 0.007,
}
_GLAUCOMA = 0.628
_GLAUCOMA_BY_RACE = {"White": 0.60, "Black": 0.73, "Asian": 0.76}
_AGE_BY_RACE = {"White": 59.5, "Black": 55.7, "Asian": 54.7}
_ENGLISH_BY_RACE = {"White": 0.95, "Black": 0.89, "Asian": 0.78}
_HISPANIC_BY_RACE = {"White": 0.042, "Black": 0.026, "Asian": 0.005}
_OTHER_LANGUAGES = {"other": 0.048, "Spanish": 0.015, None: 0.008}  # of those who do not speak English

# How much harder a group's eyes are at shift = 1, on a scale where 1 halves the cup's contrast.
_HARDER = {"Black": 1.0, "Asian": 0.7, "male": 0.25}

_VALUES = {
    "race": tuple(_RACE),
    "gender": tuple(_GENDER),
    "ethnicity": ("Hispanic", "non-Hispanic"),
    "language": ("English", "Spanish", "other"),
    "maritalstatus": tuple(name for name in _MARITAL if name),
}


class Options(SourceOptions):
    """The keys of `[cohort]` for `source = "synthetic"`."""

    samples: Annotated[int, Field(ge=1, le=99_999)] = 1000
    """One image a patient. The first n samples are the same whatever their number."""
    shift: Annotated[float, Field(ge=0, le=2)] = 1.0
    """How much harder some groups are; at 0 no image depends on any attribute."""
    seed: Seed = 0


def open_source(options: Options, size: int, data: Path | None) -> Source:
    """Return the source: grey images [size, size], masks with rim 1 and cup 2, and six attributes.

    `race`, `gender`, `ethnicity`, `language`, `maritalstatus` and `age` (whole years) come in
    the proportions of Harvard-FairSeg, with its unknowns and with what goes by race there: glaucoma
    (which enlarges the cup), age, English, Hispanic. Two things tie images to attributes, both
    in proportion to `shift`: the difference in glaucoma between races, and a fainter, softer, more
    ragged cup in Black, Asian and (less) male patients. At 0 neither is left, so on
    that null cohort every image, disease included, is independent of every attribute.
    """
    if data is not None:
        raise HarnessError(
            "The synthetic cohort is drawn and reads no files: leave --data out, or take a protocol whose "
            "cohort source is 'fairseg' or 'folder'."
        )
    return Source(
        code=(Path(__file__), Path(fundus.__file__), Path(seeds.__file__)),
        title=f"Synthetic fundus, shift {options.shift:g}",
        licence="Drawn by the harness; no rights reserved",
        citation="",
        publish_images=True,
        samples=tuple(f"synthetic_{row:05d}" for row in range(options.samples)),
        read=lambda row: _sample(options, size, row),
        identity={"name": "synthetic"} | options.model_dump(),
        values=_VALUES,
    )


def _sample(options: Options, size: int, row: int) -> Sample:
    rng = seeds.generator("synthetic", options.seed, row)
    columns, glaucoma = _person(options, row, rng)
    burden = options.shift * sum(_HARDER.get(str(columns[name]), 0) for name in ("race", "gender"))
    image, mask = fundus.draw(_eye(glaucoma, burden, rng), size, rng)
    name = f"synthetic_{row:05d}"
    return Sample(patient=name, image=image, mask=mask, mask_file=name, columns=columns)


def _person(options: Options, row: int, rng: np.random.Generator) -> tuple[dict[str, str | None], bool]:
    """Return a patient's attributes and whether it has glaucoma.

    Groups follow low-discrepancy sequences (multiples of square roots of primes), so that
    also a small cohort has the right share of each; a row's do not depend on the cohort's size.
    """
    start = seeds.generator("synthetic people", options.seed).random(5)
    race_at, gender_at, ethnicity_at, language_at, marital_at = (
        (begin + row * math.sqrt(prime)) % 1 for begin, prime in zip(start, (2, 3, 5, 7, 11), strict=True)
    )
    race = str(_pick(_RACE, race_at))
    hispanic, english = _HISPANIC_BY_RACE[race], _ENGLISH_BY_RACE[race]
    rest = sum(_OTHER_LANGUAGES.values())
    languages = {"English": english} | {k: (1 - english) * v / rest for k, v in _OTHER_LANGUAGES.items()}
    ethnicities = {"Hispanic": hispanic, None: 0.062, "non-Hispanic": 1 - hispanic - 0.062}
    columns = {
        "race": race,
        "gender": _pick(_GENDER, gender_at),
        "ethnicity": _pick(ethnicities, ethnicity_at),
        "language": _pick(languages, language_at),
        "maritalstatus": _pick(_MARITAL, marital_at),
        "age": str(round(min(max(rng.normal(_AGE_BY_RACE[race], 16.2), 12), 96))),
    }
    risk = _GLAUCOMA + min(options.shift, 1) * (_GLAUCOMA_BY_RACE[race] - _GLAUCOMA)
    return columns, bool(rng.random() < risk)


def _pick(shares: dict[str | None, float] | dict[str, float], at: float) -> str | None:
    """Return the value that a number in [0, 1) falls on when the shares are laid end to end."""
    at *= sum(shares.values())
    for value, share in shares.items():
        if at < share:
            return value
        at -= share
    return value


def _eye(glaucoma: bool, burden: float, rng: np.random.Generator) -> fundus.Eye:
    """Return an eye's looks; `burden` makes the cup faint, sloping and ragged, not larger or smaller."""
    cup = rng.normal(0.66, 0.08) if glaucoma else rng.normal(0.5, 0.07)
    return fundus.Eye(
        cup=float(min(max(cup, 0.35), 0.85)),
        notch=float(rng.uniform(0.04, 0.14) if glaucoma else rng.uniform(0, 0.05)),
        contrast=float(rng.uniform(0.18, 0.3) * 2 ** (-burden)),
        slope=float(rng.uniform(0, 0.03) + 0.1 * burden),
        blur=float(rng.uniform(0.08, 0.2) * (1 + burden)),
        ragged=float(0.03 * (1 + burden)),
        haze=float(rng.uniform(0, 0.15)),
    )
