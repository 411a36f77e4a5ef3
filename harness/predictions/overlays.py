"""Pictures of the worst cases with the outlines of prediction and truth, where images may be shown."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from harness.errors import HarnessError
from harness.predictions import files, geometry, grids
from harness.predictions.files import Case
from harness.predictions.ids import listed, match
from harness.predictions.scored import Options, Pair, read_pair
from harness.protocol import IGNORED

SIDE = 320
"""Pixels of a picture's longer side at most; a small one is enlarged by a whole number."""
COLOURS = {
    "the truth's": (0, 200, 140),
    "the prediction's": (255, 110, 30),
    "both in one place": (255, 240, 80),
}
_CHANNEL, _FIRST_CHANNEL = re.compile(r"_\d{4}$"), "_0000"
"""How nnU-Net names the images of a case, and the first of them."""


@dataclass(frozen=True)
class Picture:
    """A case's picture as an address that holds it; what: a sentence on the case; alt: for who cannot see."""

    sample: str
    what: str
    data: str
    alt: str


@dataclass(frozen=True)
class Images:
    """The image of each case that has one, and what is said of those that have none."""

    by_case: dict[str, Path]
    unpaired: tuple[str, ...]


def paired(images: str, rule: str | None, cases: Sequence[str]) -> Images:
    """Return the images of cases, paired by name as masks are. Raises HarnessError where none fits."""
    found = files.find(images, rule)
    by_name = {name: next(iter(case.maps.values())) for name, case in found.cases.items()}
    whole = match(list(cases), sorted(by_name), images)
    # Only what has no image of its own name: 'img_0000' is a case where cases are numbered so.
    stems = {one.removesuffix(_FIRST_CHANNEL): one for one in whole.unused if one.endswith(_FIRST_CHANNEL)}
    firsts = match(list(whole.missing), sorted(stems), images)
    pairs = whole.pairs | {name: stems[stem] for name, stem in firsts.pairs.items()}
    if not pairs:
        raise HarnessError(
            f"{images}: no image is named like a case ({listed(by_name, 1)} and {listed(cases, 1)} are the "
            "first); say with --pair-images how names are made, as in '{id}_0000.nii.gz'."
        )
    used = {stem for stem in stems if stems[stem] in pairs.values()}
    unused = [one for one in whole.unused if _CHANNEL.sub("", one) not in used]
    unpaired = [f"{name}: a case without an image" for name in firsts.missing]
    if unused:
        unpaired.append(f"{images}: {len(unused)} images are of no case ({listed(unused)})")
    unpaired += [f"{name}: a name that is none of an image" for name in found.strays]
    return Images({name: by_name[own] for name, own in pairs.items()}, tuple(unpaired))


def pictures(
    worst: Sequence[Mapping[str, object]],
    cases: Mapping[str, tuple[Case, Case]],
    images: Images,
    options: Options,
    metric: str = "dice",
    most: int = 24,
) -> list[Picture]:
    """Return pictures of the worst cases: each once, at the slice where prediction and truth differ most.

    worst: rows of `Evaluation.worst`, the structure in each is outlined. Raises HarnessError for an image
    that cannot be read, or that lies on another grid than its truth.
    """
    of_case: dict[str, list[Mapping[str, object]]] = {}
    for row in worst:
        if str(row["sample"]) in images.by_case:
            of_case.setdefault(str(row["sample"]), []).append(row)
    return [
        _picture(name, own, cases[name], images.by_case[name], options, metric)
        for name, own in list(of_case.items())[:most]
    ]


def _picture(
    name: str,
    rows: list[Mapping[str, object]],
    case: tuple[Case, Case],
    image: Path,
    options: Options,
    metric: str,
) -> Picture:
    structure = str(rows[0]["structure"])
    groups = ", ".join(dict.fromkeys(f"{row['attribute']} {row['group']}" for row in rows))
    what = f"{structure} {float(str(rows[0][metric])):.3f} ({groups})"
    pair = read_pair(*case, options)
    grey = _grey(image, next(iter(case[1].maps.values())))
    picture = drawn(grey, pair, structure)
    alt = f"Case {name} with the outlines of its true and its predicted {structure}"
    return Picture(name, what, _address(picture), alt)


def _grey(file: Path, truth: Path) -> np.ndarray:
    """Return an image on its truth's grid, without colours: float [H, W] or [A, B, C]."""
    onto, grid = grids.read(truth), grids.read_image(file)
    array = grid.array
    if array.ndim == onto.array.ndim + 1:
        first = array.shape[0] <= 4 and array.shape[1:] == onto.array.shape
        array = array[:3].mean(axis=0) if first else array[..., :3].mean(axis=-1)
    try:
        return np.asarray(np.nan_to_num(geometry.fitted(replace(grid, array=array), onto)), float)
    except HarnessError as error:
        said = str(error).partition(";")[0]
        raise HarnessError(
            f"{said}; give images on the grids of the truths, or leave --images out."
        ) from None


def drawn(grey: np.ndarray, pair: Pair, structure: str) -> np.ndarray:
    """Return an image with both outlines of a structure in `COLOURS`: uint8 [H, W, 3], `SIDE` at most.

    grey: numbers on the pair's grid.
    """
    true, predicted = (np.isin(one, pair.structures[structure]) for one in (pair.true, pair.predicted))
    predicted &= pair.true != IGNORED
    grey, predicted, true = _slice([grey, predicted, true], pair)
    low, high = np.percentile(grey, [1, 99])
    shades = (255 * np.clip((grey - low) / max(high - low, 1e-9), 0, 1)).astype(np.uint8)
    # Outlines are drawn last: scaled down, a line of one pixel would fade away.
    picture = np.repeat(_scaled(shades, Image.Resampling.BOX)[..., None], 3, axis=2)
    one, other = (
        _edge(_scaled(mask.astype(np.uint8), Image.Resampling.NEAREST) > 0) for mask in (true, predicted)
    )
    for where, colour in zip((one, other, one & other), COLOURS.values(), strict=True):
        picture[where] = colour
    return picture


def _slice(arrays: list[np.ndarray], pair: Pair) -> list[np.ndarray]:
    """Return an image, a prediction and a truth in the slice where the latter two differ most."""
    if pair.true.ndim == 3:
        stacks = [np.moveaxis(one, pair.axis, 0) for one in arrays]
        at = int((stacks[1] != stacks[2]).sum(axis=(1, 2)).argmax())
        arrays = [stack[at] for stack in stacks]
    return [geometry.as_seen(one, pair.affine, pair.axis) for one in arrays]


def _scaled(array: np.ndarray, how: Image.Resampling) -> np.ndarray:
    longer = max(array.shape)
    if longer <= SIDE:
        return array.repeat(SIDE // longer, 0).repeat(SIDE // longer, 1)
    height, width = (max(round(n * SIDE / longer), 1) for n in array.shape)
    return np.asarray(Image.fromarray(array).resize((width, height), how))


def _edge(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def _address(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
