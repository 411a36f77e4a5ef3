"""Pair predictions with truths and score them: what becomes of two folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from harness.errors import HarnessError
from harness.predictions import coding, files, grids
from harness.predictions.aligned import ErrorMaps
from harness.predictions.coding import Coding
from harness.predictions.files import Case, Found
from harness.predictions.ids import listed, match
from harness.predictions.scored import Options, Pair, Progress, score_all
from harness.predictions.suspicion import Suspicion

_LOOKED_FOR_LABELS = 40
"""Truths in which labels are looked for where nobody names them; the others may have no further one."""


@dataclass(frozen=True)
class Paired:
    """Predictions beside truths, by the truth's id in ascending order.

    unpaired: predictions without truth, and truths without prediction: files that are scored nowhere.
    """

    cases: dict[str, tuple[Case, Case]]
    unpaired: tuple[str, ...]
    notes: tuple[str, ...]
    tail: str = ""
    """What all names of both end in: whether it is a part of the ids, a table tells."""


@dataclass(frozen=True)
class Gathered:
    """Scores and calibration of one set of predictions, by case; see `score_all`."""

    scores: pd.DataFrame
    calibration: pd.DataFrame
    paired: Paired
    errors: ErrorMaps
    notes: tuple[str, ...] = ()

    @property
    def said(self) -> tuple[str, ...]:
        """What is to be said of how the files were read, and of what may be wrong with them."""
        return self.paired.notes + self.notes


def paired(predictions: Found, truths: Found) -> Paired:
    """Return what belongs together. Raises HarnessError where no prediction has a truth."""
    predictions, truths = _with_tails(predictions, truths)
    found = match(sorted(predictions.cases), sorted(truths.cases), truths.place)
    if not found.pairs:
        raise HarnessError(
            f"{predictions.place}: no name fits one in {truths.place} ({listed(predictions.cases, 1)} and "
            f"{listed(truths.cases, 1)} are the first); say with --pair and --pair-truth how names are "
            f"made, as "
            "in '{id}_pred.nii.gz'."
        )
    by_truth = {truth: (predictions.cases[own], truths.cases[truth]) for own, truth in found.pairs.items()}
    notes = [*predictions.notes, *truths.notes]
    if found.loosely:
        one, other = found.loosely[0]
        notes.append(
            f"{len(found.loosely)} names were matched without case, zeros and separators ('{one}' and "
            f"'{other}')."
        )
    unpaired = [f"{name}: a prediction without a truth" for name in found.missing]
    unpaired += [f"{name}: a truth without a prediction" for name in found.unused]
    unpaired += [f"{name}: a name that is none of a case" for name in (*predictions.strays, *truths.strays)]
    tail = truths.tail if truths.tail == predictions.tail else ""
    return Paired(dict(sorted(by_truth.items())), tuple(unpaired), tuple(notes), tail)


def _with_tails(predictions: Found, truths: Found) -> tuple[Found, Found]:
    """Return both with the endings that fit: where all predictions are of left eyes, '_left' is in the id."""
    if predictions.tail == truths.tail:
        return predictions, truths
    ways = [(predictions, truths), (predictions.whole(), truths), (predictions, truths.whole())]
    return max(ways, key=lambda way: len(way[0].cases.keys() & way[1].cases.keys()))


def coding_for(given: str | None, predictions: Sequence[str], truths: Found) -> Coding:
    """Return what labels mean: as given, as nnU-Net's dataset.json has it, or each label of the truths."""
    if given is not None:
        return coding.of_text(given)
    folders = [Path(one) for one in predictions if Path(one).is_dir()]
    place = Path(truths.place)
    dataset = coding.beside(*folders[:1], *([place] if place.is_dir() else []))
    if dataset is not None:
        return coding.of_dataset(dataset)
    names = [name for case in truths.cases.values() for name in case.maps if name]
    if names:
        return Coding({name: (i,) for i, name in enumerate(dict.fromkeys(names), start=1)})
    return coding.discovered(_labels(truths), truths.place)


def _labels(truths: Found) -> list[int]:
    cases = [truths.cases[name] for name in sorted(truths.cases)]
    at = np.unique(np.linspace(0, len(cases) - 1, min(_LOOKED_FOR_LABELS, len(cases))).astype(int))
    found: set[int] = set()
    for i in at:
        grid = grids.read(cases[i].maps[""])
        found |= set(np.unique(grids.whole(grid)).tolist())
        if grid.kind:
            raise HarnessError(
                f"{grid.file}: a colour image; save one channel of labels (0, 1, 2 ...), or name what "
                f"colours "
                "mean in a protocol's [labels]."
            )
        if any(one < 0 for one in found):
            raise HarnessError(f"{grid.file}: has the label {min(found)}; labels are whole numbers from 0.")
    return sorted(found)


def gathered(found: Paired, options: Options, place: str, progress: Progress) -> Gathered:
    """Return the scores of paired files. Raises HarnessError for what cannot be scored, or not be right."""
    seen, errors = Suspicion.of(list(found.cases), options.coding.labels), ErrorMaps()

    def look(name: str, pair: Pair) -> None:
        seen.see(name, pair)
        errors.see(name, pair)

    scores, calibration = score_all(found.cases, options, progress, look)
    notes = seen.check(place, relabelled=bool(options.relabel))
    return Gathered(scores, calibration, found, errors, notes)


def folders(
    predictions: Sequence[str], truth: str, rules: tuple[str | None, str | None], structures: str | None
) -> tuple[list[Found], Found, Coding]:
    """Return what is in each folder of predictions and in that of the truths, and what labels mean."""
    named = coding.of_text(structures) if structures is not None else None
    names = list(named.structures) if named is not None else []
    truths = files.find(truth, rules[1], names)
    sets = [files.find(one, rules[0], names) for one in predictions]
    return sets, truths, named or coding_for(None, predictions, truths)
