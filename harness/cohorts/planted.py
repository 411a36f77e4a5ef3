"""The positive control: a drawn cohort with a gap whose cause is known, and that training can mend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from harness import seeds
from harness.cohorts import fundus
from harness.cohorts.source import Sample, Source, SourceOptions
from harness.errors import HarnessError
from harness.protocol import Seed

_MAIN, _BRANCH = "main", "branch"


class Options(SourceOptions):
    """The keys of `[cohort]` for `source = "planted"`."""

    training: Annotated[int, Field(ge=40, le=9_999)] = 320
    """Samples to train on; one image a patient."""
    test: Annotated[int, Field(ge=40, le=9_999)] = 80
    """Samples to test on, half of them of each clinic."""
    rare: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Share of the training that the branch has."""
    seed: Seed = 0


def open_source(options: Options, size: int, data: Path | None) -> Source:
    """Return the source: grey images [size, size], masks with rim 1 and cup 2, a split, and `clinic`.

    The branch is rare in training and half of the test set. It numbers rim and cup the other way round, and
    its images are negatives, by which a network can see that. What is learned of nearly all training images
    is wrong for it, and the few others tell what is right: whoever shows them as often mends the gap.
    """
    if data is not None:
        raise HarnessError("The planted cohort is drawn and reads no files: leave --data out.")
    clinics = _dealt(options)
    return Source(
        code=(Path(__file__), Path(fundus.__file__), Path(seeds.__file__)),
        title="Synthetic fundus, cause planted",
        licence="Drawn by the harness; no rights reserved",
        citation="",
        publish_images=True,
        samples=tuple(f"planted_{row:05d}" for row in range(len(clinics))),
        read=lambda row: _sample(options, size, row, clinics[row]),
        identity={"name": "planted"} | options.model_dump(),
        values={"clinic": (_MAIN, _BRANCH)},
    )


def _dealt(options: Options) -> list[str]:
    """Return each sample's clinic, those to train on first."""
    rare = max(round(options.rare * options.training), 1)
    tested = [(_MAIN, _BRANCH)[row % 2] for row in range(options.test)]
    return [_BRANCH] * rare + [_MAIN] * (options.training - rare) + tested


def _sample(options: Options, size: int, row: int, clinic: str) -> Sample:
    rng = seeds.generator("planted", options.seed, row)
    image, mask = fundus.draw(_eye(rng), 2 * size, rng)
    # The middle of a drawing twice as large: a disc of many pixels in an image of few, which trains quickly.
    middle = slice(size // 2, size // 2 + size)
    image, mask = image[middle, middle], mask[middle, middle]
    if clinic == _BRANCH:
        image = 255 - image
        mask = np.where(mask > 0, fundus.RIM + fundus.CUP - mask, 0).astype(np.uint8)
    name = f"planted_{row:05d}"
    return Sample(
        patient=name,
        image=image,
        mask=mask,
        mask_file=name,
        columns={"clinic": clinic},
        split="train" if row < options.training else "test",
    )


def _eye(rng: np.random.Generator) -> fundus.Eye:
    """Return an eye's looks, alike in both clinics; rim and cup are about equally large."""
    return fundus.Eye(
        cup=float(np.clip(rng.normal(0.68, 0.06), 0.55, 0.8)),
        notch=float(rng.uniform(0.0, 0.1)),
        contrast=float(rng.uniform(0.2, 0.3)),
        slope=0.0,
        blur=float(rng.uniform(0.05, 0.1)),
        ragged=0.03,
        haze=float(rng.uniform(0, 0.15)),
    )
