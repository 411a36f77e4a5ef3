"""One volume: an array, its spacing and where it lies in the patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

NEAR = 1e-3
"""Share of a voxel, or of a direction's length, by which two grids may differ and be one."""


@dataclass(frozen=True)
class Volume:
    """A stack of slices, or one slice.

    array: numbers [A, B, C] or [A, B, C, 3]; spacing: mm along the first three axes, NaN where the file does
    not say; through: the axis along which it was acquired, that slices are taken across; affine: float64
    [4, 4], voxel to mm in the patient (right, anterior, superior), None where the file has none.
    """

    array: np.ndarray
    spacing: tuple[float, float, float]
    through: int
    affine: np.ndarray | None = None


def files_of(path: Path) -> list[Path]:
    """Return the files that a volume is read from, by name."""
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
