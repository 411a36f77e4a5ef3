"""The cohort: images, masks and one row per sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

SPLITS = ("train", "validation", "test")
RESERVED = ("sample", "patient", "split")
"""Columns of `subjects` that are no attribute."""


@dataclass(frozen=True)
class Cohort:
    """Samples of one source on one pixel grid, split and grouped as a protocol says.

    images: uint8 [N, S, S, 3], memory-mapped; masks: uint8 [N, S, S], class indices (0 is
    background), memory-mapped; subjects: one row per sample, in the order of the images, with
    the columns `sample` (unique), `patient`, `split` and one per attribute of the protocol, a
    group's name or missing for unknown; groups: attribute to its group names; digest: SHA-256
    of images, masks, samples, patients and splits (not of the attributes); stored: the same
    without the splits.
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

    def rows(self, split: str) -> np.ndarray:
        """Return the row numbers of a split, ascending: int64 [n]."""
        return np.flatnonzero(self.subjects["split"].to_numpy() == split)

    def codes(self, attribute: str) -> np.ndarray:
        """Return each sample's group as an index into `groups[attribute]`, -1 unknown: int64 [N]."""
        column = pd.Categorical(self.subjects[attribute], categories=list(self.groups[attribute]))
        return column.codes.astype(np.int64)
