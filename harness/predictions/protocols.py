"""Predictions of a protocol's test samples: read onto its grid, one for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.cohorts.grid import resize_mask, square
from harness.errors import HarnessError
from harness.predictions import channels, coding, files, grids
from harness.predictions.coding import Coding
from harness.predictions.grids import Grid
from harness.predictions.ids import listed, match
from harness.predictions.scored import Pair
from harness.predictions.suspicion import Suspicion

if TYPE_CHECKING:
    from harness.cohorts.cohort import Cohort
    from harness.predictions.make import Given
    from harness.protocol import Protocol


def predicted(place: str, given: Given, protocol: Protocol, cohort: Cohort) -> tuple[np.ndarray, list[str]]:
    """Return the predictions of the test samples in their order, uint8 class indices [n, S, S], and notes.

    A folder with a file for each test sample, of the protocol's labels, on its grid or with `resample` of the
    picture's own size; or the predictions.npz of a record, of its class indices. Raises HarnessError where a
    sample has none.
    """
    samples = cohort.subjects["sample"].to_numpy()[cohort.rows("test")].astype(str).tolist()
    if Path(place).is_file() and place.endswith(".npz"):
        return _of_record(Path(place), samples, protocol), []
    found = files.find(place, given.pair)
    matched = match(samples, sorted(found.cases), place)
    if matched.missing and found.tail:
        found = found.whole()
        matched = match(samples, sorted(found.cases), place)
    if matched.missing:
        raise HarnessError(
            f"{place}: {len(matched.missing)} of {len(samples)} test samples of '{protocol.name}' have no "
            f"prediction ({listed(matched.missing)}); a protocol is scored on all of them."
        )
    names = coding.of_protocol(protocol)
    relabel = coding.relabelled(given.relabel) if given.relabel else {}
    fit = str(protocol.cohort.options.get("fit", "pad")) if given.resample else ""
    labels = [
        _one(found.cases[matched.pairs[sample]], names, relabel, protocol.cohort.size, fit)
        for sample in samples
    ]
    likely = _check_likely(labels, samples, cohort, protocol, place, relabelled=bool(relabel))
    notes = [*found.notes, *likely]
    if matched.loosely:
        one, other = matched.loosely[0]
        notes.append(
            f"{len(matched.loosely)} names were matched without case, zeros and separators ('{other}' and "
            f"'{one}')."
        )
    if matched.unused:
        notes.append(f"{len(matched.unused)} predictions are of no test sample ({listed(matched.unused)}).")
    return np.stack(labels), notes


def _check_likely(
    labels: Sequence[np.ndarray],
    samples: Sequence[str],
    cohort: Cohort,
    protocol: Protocol,
    place: str,
    *,
    relabelled: bool,
) -> tuple[str, ...]:
    """Return what may be wrong. Raises HarnessError for what fits the masks only turned or renamed."""
    seen = Suspicion.of(samples, protocol.label_values)
    structures = {name: protocol.classes(name) for name in protocol.structures}
    for name, row, predicted in zip(samples, cohort.rows("test"), labels, strict=True):
        seen.see(name, Pair(predicted, np.asarray(cohort.masks[row]), structures, None))
    return seen.check(place, relabelled)


def _one(case: files.Case, names: Coding, relabel: dict[int, int], size: int, fit: str) -> np.ndarray:
    if set(case.maps) != {""}:
        raise HarnessError(f"The case '{case.id}': a protocol's predictions are label maps, one file each.")
    grid = grids.read(case.maps[""])
    if grid.affine is not None:
        raise HarnessError(
            f"{grid.file}: NIfTI, whose first axis runs from left to right, and the protocol's grid has rows "
            "first; save PNG, TIFF or .npy as the harness's images lie."
        )
    blank = Grid(np.zeros((size, size), np.uint8), f"the grid of {size} x {size}")
    if channels.has_channels(grid, blank, names):
        codes = _of_channels(grid, names)
    else:
        labels = coding.apply(relabel, grids.whole(grid))
        codes = names.codes(
            labels.reshape([n for n in labels.shape if n > 1] or [1, 1]), grid.file, grid.kind
        )
    if codes.shape == (size, size):
        return codes
    if not fit or codes.ndim != 2:
        raise HarnessError(
            f"{grid.file}: is {' x '.join(map(str, codes.shape))}, and the protocol's grid {size} x {size}; "
            "predict on its grid, or give --resample nearest."
        )
    return resize_mask(square(codes, "crop" if fit == "crop" else "pad"), size)


def _of_channels(grid: Grid, names: Coding) -> np.ndarray:
    array = np.moveaxis(grid.array, -1, 0) if grid.channels_last and grid.array.ndim == 3 else grid.array
    array = array[None] if array.ndim == 2 else array
    if channels.is_soft(array):
        soft = channels.soft(array, names, grid.file)
        if soft.exclusive:
            return channels.decided(soft)
        raise HarnessError(
            f"{grid.file}: a protocol takes labels, or probabilities of background and labels."
        )
    codes, sets = channels.hard(array, names, grid.file)
    if sets and len(names.structures) > 1:
        raise HarnessError(f"{grid.file}: a protocol takes labels, or one-hot channels with the background.")
    return codes


def _of_record(file: Path, samples: list[str], protocol: Protocol) -> np.ndarray:
    files.check_regular(file)
    from harness.store import formats

    with formats.reading(file, "give the predictions.npz of a record, or a folder of label maps"):
        names, labels = formats.parse_arrays(file.read_bytes(), "samples", "labels")
    if names.tolist() != samples:
        raise HarnessError(
            f"{file}: its samples are not the test samples of '{protocol.name}' in their order."
        )
    size = protocol.cohort.size
    if (
        labels.dtype != np.uint8
        or labels.shape[1:] != (size, size)
        or labels.max(initial=0) >= protocol.n_classes
    ):
        raise HarnessError(f"{file}: its labels are not class indices of '{protocol.name}' on its grid.")
    return np.asarray(labels)
