"""A structure's errors in its own coordinates: from its centre, in units of its size."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from harness.predictions import geometry
from harness.predictions.scored import Pair
from harness.protocol import IGNORED

SIDE = 24
REACH = 1.75
"""How far a map reaches from the centre, in radii of a disc of the structure's area."""


@dataclass
class ErrorMaps:
    """Gathers each case's map of errors, float32 [SIDE, SIDE], of structures that are there.

    unplaced: cases whose header does not say how they lie: theirs are as they are stored.
    """

    maps: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    unplaced: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def see(self, name: str, pair: Pair) -> None:
        """Take in a pair: a map for each structure that its truth has."""
        known = pair.true != IGNORED
        if not geometry.placed(pair.affine, pair.axis):
            self.unplaced.add(name)
        for structure, classes in pair.structures.items():
            true = np.isin(pair.true, classes)
            if true.any():
                wrong = (np.isin(pair.predicted, classes) != true) & known
                # Two scanners store the same slice along other axes: one place is then one place.
                found = geometry.as_seen(_map(true, wrong, pair.axis), pair.affine, pair.axis)
                with self.lock:
                    self.maps[name, structure] = found

    def of(self, structure: str, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the maps of those cases that have the structure, and which these are, bool [cases]."""
        there = np.array([(name, structure) in self.maps for name in names], bool)
        own = [self.maps[name, structure] for name, kept in zip(names, there, strict=True) if kept]
        return np.stack(own) if own else np.empty((0, SIDE, SIDE), np.float32), there


def _map(true: np.ndarray, wrong: np.ndarray, axis: int) -> np.ndarray:
    """Return the share of error at each place; of a volume, over the slices that have the structure."""
    if true.ndim == 3:
        true, wrong = (np.moveaxis(one, axis, 0) for one in (true, wrong))
        slices = true.any(axis=(1, 2))
        area, outline, errors = (
            true[slices].sum() / slices.sum(),
            true[slices].any(axis=0),
            wrong[slices].mean(axis=0),
        )
    else:
        area, outline, errors = true.sum(), true, wrong.astype(float)
    centre = [
        float(np.average(np.arange(n), weights=outline.sum(axis=1 - i))) for i, n in enumerate(outline.shape)
    ]
    radius = max(float(np.sqrt(area / np.pi)), 0.5)
    steps = (np.arange(SIDE) + 0.5) / SIDE * 2 * REACH - REACH
    at = [np.rint(middle + steps * radius).astype(int) for middle in centre]
    inside = [(one >= 0) & (one < n) for one, n in zip(at, outline.shape, strict=True)]
    found = np.zeros((SIDE, SIDE), np.float32)
    grid = np.ix_(at[0][inside[0]], at[1][inside[1]])
    found[np.ix_(*[np.flatnonzero(one) for one in inside])] = errors[grid]
    return found
