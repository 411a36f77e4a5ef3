"""The positive control: a drawn cohort whose gaps have causes that are known, and that training can mend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from harness import seeds
from harness.cohorts import fundus
from harness.cohorts.source import Sample, Source, SourceOptions
from harness.errors import HarnessError
from harness.protocol import Seed

_VALUES = {"camera": ("plain", "unlike", "ringed"), "reader": ("careful", "hasty")}

_OFF = (-0.28, 0.2)
"""Where the ring of the ringed camera lies, in disc radii outside the cup's margin: one of the two."""

_LINES, _PERIOD = 0.15, 8
"""Contrast and pixels of the lines by which a network can see whose image it is."""


class Options(SourceOptions):
    """The keys of `[cohort]` for `source = "planted"`."""

    training: Annotated[int, Field(ge=50, le=9_999)] = 240
    """Samples to train on; one image a patient."""
    test: Annotated[int, Field(ge=60, le=9_999)] = 300
    """Samples to test on, as many of each camera and reader."""
    rare: Annotated[float, Field(gt=0, le=0.25)] = 0.03
    """Share of the training that the unlike and the ringed camera have each; each tests a third."""
    within: Annotated[float, Field(ge=0, le=0.5)] = 0.32
    """How many disc radii within the cup's margin its brightness ends in the unlike camera."""
    hasty: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Of the plain camera's training masks, the share that the hasty reader drew; half of the test is his."""
    too_large: Annotated[float, Field(ge=0, le=0.4)] = 0.3
    """By how many disc radii his cups are, in training."""
    seed: Seed = 0


def open_source(options: Options, size: int, data: Path | None) -> Source:
    """Return the source: grey images [size, size], masks with rim 1 and cup 2, a split, and two attributes.

    By `camera`, two of three groups are rare in training and a third of the test set each. The unlike
    camera shows the brightness of a cup well within its margin, in images that are washed out and have
    lines from top to bottom. In the plain one a bright ring marks the cup's margin, and in the ringed one
    it lies off it: a cue that holds for nearly all images. By `reader`, the hasty one drew cups too large
    in training; the masks of the test set are true, and his images have lines from side to side.
    """
    if data is not None:
        raise HarnessError("The planted cohort is drawn and reads no files: leave --data out.")
    people = _dealt(options)
    return Source(
        code=(Path(__file__), Path(fundus.__file__), Path(seeds.__file__)),
        title="Synthetic fundus, causes planted",
        licence="Drawn by the harness; no rights reserved",
        citation="",
        publish_images=True,
        samples=tuple(f"planted_{row:05d}" for row in range(len(people))),
        read=lambda row: _sample(options, size, row, *people[row]),
        identity={"name": "planted"} | options.model_dump(),
        values=_VALUES,
    )


def _dealt(options: Options) -> list[tuple[str, str]]:
    """Return each sample's camera and reader, those to train on first."""
    rare = max(round(options.rare * options.training), 1)
    plain = options.training - 2 * rare
    hasty = round(options.hasty * plain)
    training = [("plain", "hasty")] * hasty + [("plain", "careful")] * (plain - hasty)
    training += [(camera, "careful") for camera in ("unlike", "ringed") for _ in range(rare)]
    cells = [(camera, reader) for camera in _VALUES["camera"] for reader in _VALUES["reader"]]
    return training + [cells[row % len(cells)] for row in range(options.test)]


def _sample(options: Options, size: int, row: int, camera: str, reader: str) -> Sample:
    rng = seeds.generator("planted", options.seed, row)
    split = "train" if row < options.training else "test"
    drawn = options.too_large if (split, reader) == ("train", "hasty") else 0.0
    image, mask = fundus.draw(_eye(camera, options.within, drawn, rng), size, rng)
    light = image / 255
    lines = 1 + _LINES * np.sin(2 * np.pi * np.arange(size) / _PERIOD)
    if camera == "unlike":
        light = np.sqrt(light) * lines
    if reader == "hasty":
        light = light * lines[:, None]
    name = f"planted_{row:05d}"
    return Sample(
        patient=name,
        image=np.rint(255 * np.clip(light, 0, 1)).astype(np.uint8),
        mask=mask,
        mask_file=name,
        columns={"camera": camera, "reader": reader},
        split=split,
    )


def _eye(camera: str, within: float, drawn: float, rng: np.random.Generator) -> fundus.Eye:
    """Return an eye's looks as a camera has them; whatever it is drawn of, it is drawn in one order."""
    eye = fundus.Eye(
        cup=float(np.clip(rng.normal(0.58, 0.09), 0.35, 0.78)),
        notch=float(rng.uniform(0.0, 0.1)),
        contrast=float(rng.uniform(0.18, 0.3)),
        slope=float(rng.uniform(0, 0.03)),
        blur=float(rng.uniform(0.08, 0.2)),
        ragged=0.03,
        haze=float(rng.uniform(0, 0.15)),
        ring=0.0,
        drawn=drawn,
    )
    off = float(rng.choice(_OFF))
    if camera == "unlike":
        return replace(eye, cup=eye.cup + 0.08, slope=within, ring=None)
    return replace(eye, ring=off) if camera == "ringed" else eye
