"""A picture of a few samples with the outlines of their structures, to see that a cohort was read right."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError
from harness.store import files

_OUTLINES = np.array([[0, 158, 115], [230, 159, 0], [86, 180, 233], [204, 121, 167]], dtype=np.uint8)


def write_thumbnails(cohort: Cohort, path: Path, columns: int = 6, rows: int = 4) -> None:
    """Write a PNG of samples spread over the cohort, each class outlined in its own colour.

    Raises HarnessError where the file cannot be written.
    """
    chosen = np.unique(np.linspace(0, len(cohort.subjects) - 1, columns * rows).astype(int))
    tiles = [outlined(cohort.images[row], cohort.masks[row]) for row in chosen]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    lines = [np.concatenate(tiles[at : at + columns], axis=1) for at in range(0, len(tiles), columns)]
    drawn = io.BytesIO()
    Image.fromarray(np.concatenate(lines)).save(drawn, format="PNG")
    try:
        files.write(path, drawn.getvalue())
    except OSError as error:
        raise HarnessError(
            f"{path}: {error.strerror or error}; give another file for the thumbnails."
        ) from None


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the image uint8 [S, S, 3] with the pixels painted where the class changes."""
    painted = np.array(image)
    padded = np.pad(mask, 1, mode="edge")
    inner = np.minimum.reduce([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    edge = mask > inner
    painted[edge] = _OUTLINES[(mask[edge] - 1) % len(_OUTLINES)]
    return painted
