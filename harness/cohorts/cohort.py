"""The cohort: images, masks and one row per sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

SPLITS = ("train", "validation", "test")
RESERVED = ("sample", "patient", "split")
"""Columns of `subjects` that are no attribute."""


@dataclass(frozen=True)
class Remark:
    """Something about a cohort that its owner has to know, found as it was read.

    kind: one word; message: a sentence; samples: those it concerns; spoils: whether a ranking cannot be
    trusted before it is mended; fix: what to write in the protocol, a line of TOML, "" where the data are to
    be mended.
    """

    kind: str
    message: str
    samples: tuple[str, ...] = ()
    spoils: bool = False
    fix: str = ""


@dataclass(frozen=True)
class Cohort:
    """Samples of one source on one pixel grid, split and grouped as a protocol says.

    images: uint8 [N, S, S, 3], memory-mapped; masks: uint8 [N, S, S], class indices (0 is
    background, 255 not annotated), memory-mapped; subjects: one row per sample, in the order of the images,
    with the columns `sample` (unique), `patient`, `split` and one per attribute of the protocol, a
    group's name or missing for unknown; groups: attribute to its group names; digest: SHA-256
    of images, masks, samples, patients and splits (not of the attributes); stored: the same
    without the splits; areas: int64 [N, classes], pixels of each class; places: where the sample lies, one
    row each: `y`, `x`, `z` mm from one pixel or slice to the next (missing where not known), `volume` and
    `slice`; remarks: what is to be known of it; training: "with-structure" where slices without any are not
    trained on.
    """

    title: str
    licence: str
    citation: str
    publish_images: bool
    images: np.ndarray
    masks: np.ndarray
    subjects: pd.DataFrame
    groups: dict[str, tuple[str, ...]]
    digest: str
    stored: str = ""
    areas: np.ndarray | None = None
    places: pd.DataFrame | None = None
    remarks: tuple[Remark, ...] = ()
    training: Literal["all", "with-structure"] = "all"

    def rows(self, split: str) -> np.ndarray:
        """Return the row numbers of a split, ascending: int64 [n]."""
        return np.flatnonzero(self.subjects["split"].to_numpy() == split)

    @property
    def spacing(self) -> np.ndarray | None:
        """Millimetres of a grid's pixel, float64 [N, 2] (rows, columns); None where not known."""
        known = None if self.places is None else self.places[["y", "x"]].to_numpy(np.float64)
        return None if known is None or np.isnan(known).any() else known

    def codes(self, attribute: str) -> np.ndarray:
        """Return each sample's group as an index into `groups[attribute]`, -1 unknown: int64 [N]."""
        column = pd.Categorical(self.subjects[attribute], categories=list(self.groups[attribute]))
        return column.codes.astype(np.int64)
