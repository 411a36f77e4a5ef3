"""Pictures of the worst cases with the outlines of prediction and truth, where images may be shown."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from harness.cohorts import pixels
from harness.errors import HarnessError
from harness.predictions import files, geometry, grids
from harness.predictions.files import Case
from harness.predictions.grids import Grid
from harness.predictions.scored import Options, Pair, read_pair

_SIDE = 320
_TRUE, _PREDICTED = (0, 158, 115), (213, 94, 0)


@dataclass(frozen=True)
class Picture:
    """A case's picture as an address that holds it; what: a sentence on the case."""

    sample: str
    what: str
    data: str


def pictures(
    worst: list[dict[str, object]],
    cases: Mapping[str, tuple[Case, Case]],
    images: str,
    options: Options,
    rule: str | None,
    most: int = 24,
) -> list[Picture]:
    """Return pictures of the worst cases: each once, at the slice where prediction and truth differ most.

    images: a folder with an image a case, paired by name as predictions are. Raises HarnessError for one that
    cannot be read or is of another size.
    """
    found = files.find(images, rule)
    drawn: dict[str, Picture] = {}
    for row in worst:
        name = str(row["sample"])
        if name in drawn or name not in cases or len(drawn) >= most:
            continue
        image = _image_of(found, name)
        if image is not None:
            pair = read_pair(*cases[name], options)
            what = f"{row['attribute']}: {row['group']}, {row['structure']}"
            drawn[name] = Picture(name, what, _drawn(image, pair, files.stem_of(image)))
    return list(drawn.values())


def _image_of(found: files.Found, name: str) -> Path | None:
    """Return a case's image; of nnU-Net's, the one of the first channel."""
    for one in (name, f"{name}_0000"):
        if one in found.cases:
            return next(iter(found.cases[one].maps.values()))
    return None


def _drawn(file: Path, pair: Pair, name: str) -> str:
    if files.suffix_of(file) in (".nii", ".nii.gz", ".npy", ".npz"):
        grid = grids.read(file)
    else:
        grid = Grid(pixels.read_picture(file, str(file)), str(file), picture=True)
    array = (
        grid.array.mean(axis=2)
        if grid.array.ndim == 3 and grid.picture and pair.true.ndim == 2
        else grid.array
    )
    array = geometry._same_axes(array, pair.true.shape)
    if array.shape != pair.true.shape:
        raise HarnessError(
            f"{file}: is {array.shape}, and its truth {pair.true.shape}; give an image of its size."
        )
    grey, predicted, true = _slice(array, pair)
    window = np.percentile(grey, [1, 99])
    scaled = np.clip((grey - window[0]) / max(window[1] - window[0], 1e-9), 0, 1)
    picture = np.repeat((255 * scaled).astype(np.uint8)[..., None], 3, axis=2)
    for mask, colour in ((true > 0, _TRUE), (predicted > 0, _PREDICTED)):
        picture[_edge(mask)] = colour
    return _address(picture)


def _slice(array: np.ndarray, pair: Pair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if pair.true.ndim == 2:
        return array, pair.predicted, pair.true
    stacks = [np.moveaxis(one, pair.axis, 0) for one in (array, pair.predicted, pair.true)]
    at = int((stacks[1] != stacks[2]).sum(axis=(1, 2)).argmax())
    return stacks[0][at], stacks[1][at], stacks[2][at]


def _edge(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def _address(picture: np.ndarray) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
