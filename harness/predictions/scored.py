"""Score pairs of files one by one, so that memory holds a few of them whatever their number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from harness.errors import HarnessError
from harness.metrics.score import Layout, score
from harness.metrics.surface import TOLERANCE
from harness.predictions import channels, coding, geometry, grids
from harness.predictions.calibration import calibration_of
from harness.predictions.channels import Soft
from harness.predictions.coding import Coding
from harness.predictions.files import Case
from harness.predictions.grids import Grid
from harness.protocol import IGNORED
from harness.store import FALSE_POSITIVE_AREA, SCORES

Progress = Callable[[int, int], None]
_MOST_AT_ONCE = 8
_DISAGREE = 0.01
"""Share of the pixels in which a label map may differ from the probabilities that it was made of."""


@dataclass(frozen=True)
class Options:
    """How files are read and scored; relabel: a label of the predictions to that of the truth."""

    coding: Coding
    resample: str | None = None
    relabel: Mapping[int, int] = field(default_factory=dict)
    tolerance: float = TOLERANCE
    spacing: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Pair:
    """A prediction and its truth on one grid.

    predicted, true: uint8 [H, W] or [A, B, C], classes, or sets of structures where these overlap;
    structures: name to what of these makes it up; spacing: mm along the axes; soft: what the model said,
    where known.
    """

    predicted: np.ndarray
    true: np.ndarray
    structures: dict[str, tuple[int, ...]]
    spacing: tuple[float, ...] | None
    soft: Soft | None = None
    axis: int = 0
    """Across which slices follow each other."""
    affine: np.ndarray | None = None
    """Of the grid, voxel to mm (right, anterior, superior), where a header says it."""


@dataclass(frozen=True)
class Scored:
    """One case's scores, and its calibration where there are probabilities."""

    scores: pd.DataFrame
    calibration: pd.DataFrame


def score_all(
    cases: Mapping[str, tuple[Case, Case]],
    options: Options,
    progress: Progress = lambda done, total: None,
    look: Callable[[str, Pair], None] = lambda name, pair: None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the scores of pairs of prediction and truth by case, and their calibration.

    Scores have the columns of `SCORES` and `size`, the structure's true size in pixels or voxels; `look` is
    shown each pair while it is in memory. Raises HarnessError for the first pair that cannot be scored.
    """

    def one(name: str) -> Scored:
        pair = read_pair(*cases[name], options)
        look(name, pair)
        return score_pair(name, pair, options.tolerance)

    return _together(_mapped(one, list(cases), progress))


def _mapped(one: Callable[[str], Scored], names: list[str], progress: Progress) -> Iterable[Scored]:
    """Yield what `one` returns, a few at a time: what reads and counts lets other threads go on."""
    at_once = min(os.cpu_count() or 1, _MOST_AT_ONCE)
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for start in range(0, len(names), at_once):
                yield from pool.map(one, names[start : start + at_once])
                progress(min(start + at_once, len(names)), len(names))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _together(found: Iterable[Scored]) -> tuple[pd.DataFrame, pd.DataFrame]:
    every = list(found)
    scores = together([one.scores for one in every])
    calibrated = [one.calibration for one in every if len(one.calibration)]
    columns = ["sample", "structure", "brier", "ece", "pixels"]
    return scores, pd.concat(calibrated, ignore_index=True) if calibrated else pd.DataFrame(columns=columns)


def together(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the cases' scores as one frame; without FALSE_POSITIVE_AREA where no truth is empty."""
    scores = pd.concat(frames, ignore_index=True)
    return scores.drop(columns=FALSE_POSITIVE_AREA) if (scores["size"] > 0).all() else scores


def read_pair(prediction: Case, truth: Case, options: Options) -> Pair:
    """Return a case's prediction and truth. Raises HarnessError for what does not fit together."""
    if set(truth.maps) == {""}:
        grid = grids.read(truth.maps[""])
        true = options.coding.codes(grids.whole(grid), grid.file, grid.kind)
        sets = False
    else:
        grid, masks = _by_structure(truth, None, options)
        true, sets = coding.over_each_other(masks, grid.file), True
    return fit_pair(prediction, grid, true, sets, options)


def fit_pair(prediction: Case | Grid, grid: Grid, true: np.ndarray, sets: bool, options: Options) -> Pair:
    """Return a prediction beside a truth that is read: `true` are classes, or with `sets` sets."""
    if true.ndim not in (2, 3):
        raise HarnessError(f"{grid.file}: has the shape {true.shape}; a truth has two axes or three.")
    soft: Soft | None = None
    if isinstance(prediction, Case) and set(prediction.maps) != {""}:
        _, masks = _by_structure(prediction, grid, options)
        predicted, as_sets = coding.over_each_other(masks, grid.file), True
    else:
        given = grids.read(prediction.maps[""]) if isinstance(prediction, Case) else prediction
        predicted, as_sets, soft = _classes(given, grid, options)
        if isinstance(prediction, Case) and prediction.soft is not None:
            soft = _beside(prediction.soft, predicted, grid, options)
    return _pair(predicted, true, as_sets, sets, soft, grid, options)


def _pair(
    predicted: np.ndarray,
    true: np.ndarray,
    as_sets: bool,
    sets: bool,
    soft: Soft | None,
    grid: Grid,
    options: Options,
) -> Pair:
    structures = options.coding.classes
    if as_sets or sets:
        predicted = predicted if as_sets else coding.as_sets(predicted, options.coding)
        true = true if sets else coding.as_sets(true, options.coding)
        present = np.flatnonzero(np.bincount(predicted.ravel(), minlength=256)
                                 + np.bincount(true.ravel(), minlength=256))  # fmt: skip
        structures = coding.classes_of_sets(list(structures), present)
    spacing = options.spacing or grid.spacing
    if spacing is not None and len(spacing) != true.ndim:
        raise HarnessError(
            f"{grid.file}: has {true.ndim} axes, and {len(spacing)} spacings are given; give one for each."
        )
    through = geometry.axes_of_slices(grid)
    return Pair(predicted, true, structures, spacing, soft, through, grid.affine)


def _classes(given: Grid, truth: Grid, options: Options) -> tuple[np.ndarray, bool, Soft | None]:
    """Return a prediction's classes or sets, which of both, and its probabilities where it holds them."""
    names = options.coding
    if not channels.has_channels(given, truth, names):
        labels = coding.apply(options.relabel, grids.whole(given))
        fitted = geometry.fitted(_with(given, labels), truth, options.resample)
        return names.codes(fitted, given.file, given.kind), False, None
    values = channels.first(given, truth, options.resample)
    if not channels.is_soft(values):
        return (*channels.hard(values, names, given.file), None)
    soft = channels.soft(values, names, given.file)
    chosen = channels.decided(soft)
    if soft.exclusive:
        return chosen, False, soft
    masks = dict(zip(names.structures, chosen, strict=True))
    return coding.over_each_other(masks, given.file), True, soft


def _with(given: Grid, labels: np.ndarray) -> Grid:
    return Grid(
        labels, given.file, given.affine, given.spacing, given.kind, given.channels_last, given.picture
    )


def _beside(file: Path, predicted: np.ndarray, truth: Grid, options: Options) -> Soft:
    """Return the probabilities that lie beside a label map. Raises HarnessError where the two disagree."""
    grid = grids.read(file)
    if not grid.array.dtype.kind == "f":
        raise HarnessError(f"{file}: lies beside a label map and holds no probabilities; take it out.")
    soft = channels.soft(channels.of_network(grid, truth, options.resample), options.coding, str(file))
    if soft.exclusive:
        off = float((channels.decided(soft) != predicted).mean())
        if off > _DISAGREE:
            raise HarnessError(
                f"{file}: its likeliest labels differ from the label map beside it in {100 * off:.0f}% of "
                f"the "
                "pixels; are its axes turned, or is it of another model?"
            )
    return soft


def _by_structure(case: Case, onto: Grid | None, options: Options) -> tuple[Grid, dict[str, np.ndarray]]:
    """Return a mask for each structure from files of their own, and the grid that they are on."""
    names = list(options.coding.structures)
    lacking = [name for name in names if name not in case.maps]
    strange = [name for name in case.maps if name not in names]
    if lacking or strange:
        what = f"has no file of '{lacking[0]}'" if lacking else f"has a file of '{strange[0]}', no structure"
        raise HarnessError(
            f"The case '{case.id}' {what}; each has one file a structure ({', '.join(names)})."
        )
    masks: dict[str, np.ndarray] = {}
    for name in names:
        grid = grids.read(case.maps[name])
        onto = onto or grid
        values = geometry.fitted(_with(grid, grids.whole(grid)), onto, options.resample)
        if len(np.unique(values)) > 2:
            raise HarnessError(f"{grid.file}: a file of one structure holds 0 and one other value.")
        masks[name] = values != 0
    if onto is None:
        raise HarnessError(f"The case '{case.id}' has no file.")
    return onto, masks


def score_pair(name: str, pair: Pair, tolerance: float = TOLERANCE) -> Scored:
    """Return a pair's scores, as a protocol scores the same classes: `harness.metrics.score`."""
    axis = pair.axis if pair.true.ndim == 3 else 0
    labels, truth = (_stack(one, axis) for one in (pair.predicted, pair.true))
    n = len(truth)
    # A volume of one slice is scored as that slice, in its own plane.
    apart = None if pair.spacing is None else _apart(pair.spacing, axis, pair.true.ndim, n)
    layout = Layout([name] * n, [name] * n, list(range(n)), apart)
    names = [f"{name} {i}" for i in range(n)]
    frame = score(labels, truth, names, pair.structures, layout, tolerance)
    frame = frame.assign(**_sizes(labels, truth, pair, apart))
    columns = [*SCORES, FALSE_POSITIVE_AREA, "size"]
    return Scored(frame[columns], calibration_of(name, pair.true, pair.structures, pair.soft))


def _stack(classes: np.ndarray, axis: int) -> np.ndarray:
    return classes[None] if classes.ndim == 2 else np.ascontiguousarray(np.moveaxis(classes, axis, 0))


def _apart(spacing: tuple[float, ...], axis: int, dimensions: int, n: int) -> np.ndarray:
    """Return mm from one slice, row and column to the next, for each slice: float64 [N, 3]."""
    if dimensions == 2:
        return np.array([[np.nan, *spacing]])
    rest = [spacing[other] for other in range(3) if other != axis]
    return np.tile(np.array([spacing[axis], *rest], float), (n, 1))


def _sizes(
    labels: np.ndarray, truth: np.ndarray, pair: Pair, apart: np.ndarray | None
) -> dict[str, list[float]]:
    area = 1.0 if apart is None else float(apart[0, 1] * apart[0, 2])
    sizes, outside = [], []
    for classes in pair.structures.values():
        true, found = np.isin(truth, classes), np.isin(labels, classes)
        found &= truth != IGNORED
        sizes.append(float(np.count_nonzero(true)))
        outside.append(float(np.count_nonzero(found & ~true) * area))
    return {"size": sizes, FALSE_POSITIVE_AREA: outside}
