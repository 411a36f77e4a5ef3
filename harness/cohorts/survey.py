"""One look at every sample of a cohort: what the audit and its page are made of, in a single pass."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from PIL import Image

from harness.cohorts.cohort import Cohort
from harness.protocol import Protocol

SIDE = 16
"""A thumbnail has SIDE rows of SIDE + 1 pixels, so that a difference hash has SIDE x SIDE bits."""

_BLOCK = 128  # samples that a thread takes at a time


@dataclass(frozen=True)
class Survey:
    """What was seen of N samples, in the cohort's order.

    thumbnails: uint8 [N, SIDE, SIDE + 1], grey; brightness: float32 [N], mean grey level, 0 to 255; constant:
    bool [N], images of one grey; pixels: int64 [N, C], of each class of the masks, 0 the background; nested:
    pairs of structures (inner, outer) of which one is part of the other, and outside: bool [N, P], whether
    the inner one lies around the rest of the outer one.
    """

    thumbnails: np.ndarray
    brightness: np.ndarray
    constant: np.ndarray
    pixels: np.ndarray
    nested: tuple[tuple[str, str], ...]
    outside: np.ndarray

    def size(self, protocol: Protocol, structure: str) -> np.ndarray:
        """Return the structure's pixels in each sample: int64 [N]."""
        return np.asarray(self.pixels[:, list(protocol.classes(structure))].sum(axis=1))

    @property
    def empty(self) -> np.ndarray:
        """Whether a sample has no structure at all: bool [N]."""
        return np.asarray(self.pixels[:, 1:].sum(axis=1) == 0)


def survey(
    cohort: Cohort, protocol: Protocol, say: Callable[[int, int], None] = lambda done, total: None
) -> Survey:
    """Look at every image and mask once, on all cores; `say` is told how many of how many are seen."""
    count = len(cohort.subjects)
    nested = tuple(
        (inner, outer)
        for inner, outer in permutations(protocol.structures, 2)
        if set(protocol.classes(inner)) < set(protocol.classes(outer))
    )
    found = Survey(
        thumbnails=np.zeros((count, SIDE, SIDE + 1), np.uint8),
        brightness=np.zeros(count, np.float32),
        constant=np.zeros(count, bool),
        pixels=np.zeros((count, protocol.n_classes), np.int64),
        nested=nested,
        outside=np.zeros((count, len(nested)), bool),
    )
    tables = [tuple(_member(protocol, name) for name in pair) for pair in nested]

    def look(start: int) -> int:
        stop = min(start + _BLOCK, count)
        for row in range(start, stop):
            _look(found, row, cohort.images[row], cohort.masks[row], tables)
        return stop - start

    seen = 0
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 8)) as pool:
        for some in pool.map(look, range(0, count, _BLOCK)):
            seen += some
            say(seen, count)
    return found


def _member(protocol: Protocol, structure: str) -> np.ndarray:
    """Return which of 256 classes a structure has: bool [256]."""
    return np.isin(np.arange(256), protocol.classes(structure))


def _look(
    found: Survey, row: int, image: np.ndarray, mask: np.ndarray, tables: list[tuple[np.ndarray, ...]]
) -> None:
    grey = Image.fromarray(np.asarray(image)).convert("L")
    low, high = grey.getextrema()
    found.constant[row] = low == high
    found.brightness[row] = float(np.asarray(grey).mean())
    found.thumbnails[row] = np.asarray(grey.resize((SIDE + 1, SIDE), Image.Resampling.BOX))
    classes = found.pixels.shape[1]
    found.pixels[row] = np.bincount(np.asarray(mask).ravel(), minlength=classes)[:classes]
    for pair, (part, whole) in enumerate(tables):
        found.outside[row, pair] = _is_outside(mask, part, whole)


def _is_outside(mask: np.ndarray, part: np.ndarray, whole: np.ndarray) -> bool:
    """Whether the part has more of the whole's outline than the rest has."""
    inside = whole[mask]
    outside = np.pad(~inside, 1, constant_values=True)
    beside = outside[:-2, 1:-1] | outside[2:, 1:-1] | outside[1:-1, :-2] | outside[1:-1, 2:]
    outline = mask[beside & inside]
    return 2 * int(part[outline].sum()) > len(outline)
