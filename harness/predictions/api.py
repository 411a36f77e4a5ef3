"""`from harness import evaluate`: predictions in a notebook, the same numbers as `harness score`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.equity import options
from harness.errors import HarnessError
from harness.metrics.surface import TOLERANCE
from harness.predictions import coding, grids, people
from harness.predictions.aligned import ErrorMaps
from harness.predictions.coding import Coding
from harness.predictions.evaluation import MEASURED, Evaluation, checked
from harness.predictions.grids import Grid
from harness.predictions.ids import as_id, check_distinct, listed, match
from harness.predictions.make import Given, evaluation
from harness.predictions.people import Ask
from harness.predictions.scored import Options, fit_pair, score_pair, together
from harness.predictions.suspicion import Suspicion

Maps = Any
"""Label maps of cases: a folder or pattern; an array or tensor [N, ...]; a list; a mapping from id to one."""


def evaluate(
    pred: Maps,
    truth: Maps | None = None,
    table: pd.DataFrame | str | Path | None = None,
    *,
    patient: str | None = None,
    attributes: Sequence[str] = (),
    structures: Mapping[str, Sequence[int]] | str | None = None,
    name: str | Sequence[str] = "model",
    id: str | None = None,
    numbers: Sequence[str] = (),
    pair: str | None = None,
    pair_truth: str | None = None,
    resample: str | None = None,
    spacing: Sequence[float] | None = None,
    tolerance: float = TOLERANCE,
) -> Evaluation:
    """Score predictions and say how equitable they are, as tidy frames.

    Parameters
    ----------
    pred, truth
        Label maps of the cases: a folder or a pattern of files; an array or tensor [N, H, W] or [N, D, H,
        W]; a list of arrays, tensors or nibabel images; or a mapping from id to one. An array or a list is
        in the order of the table's rows. A list of folders is of several models. With `truth` left out,
        `pred` is a file of scores: nnU-Net's summary.json, MONAI's METRIC_raw.csv, a table with a row a
        case.
    table
        A frame, or a CSV file, with a row a case.
    patient, id
        Columns of the patient and of the case; found by name and content where not given.
    attributes
        Columns whose values are groups; "age:40,60" makes groups of a number by its edges.
    structures
        Name to the labels that make it up; each label of the truths where not given.
    name
        What the model is called; one for each where there are several.
    numbers
        Columns that scores are shown along.
    pair, pair_truth
        How the names of files are made, as in '{id}_seg.nii.gz'.
    resample
        "nearest" for predictions of another size.
    spacing
        Millimetres along the axes, for arrays.
    tolerance
        Of the surface Dice, in mm where a spacing is known, else in pixels.

    Returns
    -------
    Evaluation
        Its frames are `groups`, `gaps`, `who`, `summary`, `noise`, `comparison`, `crossed`, `by_size`,
        `along`, `unknown`, `worst`, `scores`; a notebook shows the first of them.

    Raises
    ------
    HarnessError
        One sentence on what does not fit.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from harness import evaluate
    >>> rng = np.random.default_rng(0)
    >>> truth = np.zeros((60, 16, 16), int); truth[:, 4:12, 4:12] = 1
    >>> pred = truth.copy(); pred[::2, 4:7] = 0  # every second case lacks a part
    >>> table = pd.DataFrame({"id": [f"c{i:02d}" for i in range(60)], "sex": ["F", "M"] * 30})
    >>> found = evaluate(pred, truth, table, attributes=["sex"])
    >>> print(found.groups[["group", "patients", "estimate"]].round(3).to_csv(index=False).strip())
    group,patients,estimate
    ,60,0.885
    F,30,0.769
    M,30,1.0
    >>> float(found.gaps["estimate"].iloc[0].round(3)), bool(found.gaps["above"].iloc[0])
    (0.231, True)
    """
    tolerance = options.number("tolerance", tolerance, "a distance above 0", above=True)
    spaced = None if spacing is None else options.numbers("spacing", spacing, "distances above 0")
    attributes = options.texts("attributes", attributes, "names of columns")
    numbers = options.texts("numbers", numbers, "names of columns")
    for role, column in (("patient", patient), ("id", id)):
        if column is not None:
            options.text(role, column, "the name of a column")
    file = table if isinstance(table, str | Path) else None
    frame = people.read(Path(file)) if file is not None else _frame(table)
    where = str(file) if file is not None else "the table"
    ask = Ask(id, patient, attributes, numbers)
    places = _places(pred)
    if places and (truth is None or isinstance(truth, str | Path)):
        names = (name,) * len(places) if isinstance(name, str) else tuple(name)
        return evaluation(
            Given(
                places, names, None if truth is None else str(truth), frame, where, pair, pair_truth,
                _text(structures), ask, resample, None, spaced, tolerance,
            )
        )  # fmt: skip
    if truth is None:
        raise HarnessError("evaluate was given no truth; give the true label maps beside the predictions.")
    return _of_arrays(pred, truth, frame, where, ask, structures, str(name), resample, spaced, tolerance)


def _frame(table: object) -> pd.DataFrame | None:
    """Return a table as pandas has it. Raises HarnessError for anything else."""
    if table is None or isinstance(table, pd.DataFrame):
        return table
    raise HarnessError(f"table is {type(table).__name__}; give a pandas frame or a CSV file.")


def _places(pred: Maps) -> tuple[str, ...]:
    if isinstance(pred, str | Path):
        return (str(pred),)
    listed_ = isinstance(pred, list | tuple) and bool(pred) and all(isinstance(p, str | Path) for p in pred)
    return tuple(map(str, pred)) if listed_ else ()


def _text(structures: Mapping[str, Sequence[int]] | str | None) -> str | None:
    if structures is None or isinstance(structures, str):
        return structures
    return ";".join(f"{name}={','.join(map(str, labels))}" for name, labels in structures.items())


def _of_arrays(
    pred: Maps,
    truth: Maps,
    frame: pd.DataFrame | None,
    where: str,
    ask: Ask,
    structures: Mapping[str, Sequence[int]] | str | None,
    name: str,
    resample: str | None,
    spacing: tuple[float, ...] | None,
    tolerance: float,
) -> Evaluation:
    names, ask = _names(pred, truth, frame, where, ask)
    predicted, true = _by_id(pred, names, "pred"), _by_id(truth, names, "truth")
    found = match(list(predicted), list(true), "truth")
    if found.missing or found.unused:
        lacking = [*found.missing, *found.unused]
        raise HarnessError(
            f"pred and truth are of different cases ({listed(lacking)}); give the same of both."
        )
    cases = sorted(true)
    pred_of = {other: own for own, other in found.pairs.items()}
    who = people.of_cases(frame, cases, ask, where) if frame is not None else people.plain(cases)
    given = _text(structures)
    names_of = coding.of_text(given) if given is not None else _discovered(true)
    how = Options(names_of, resample, {}, tolerance, spacing)
    seen, errors = Suspicion.of(cases, names_of.labels), ErrorMaps()
    scores, calibration = [], []
    for case in cases:
        grid = _grid(true[case], f"truth of '{case}'")
        codes = names_of.codes(grids.whole(grid), grid.file)
        pair = fit_pair(_grid(predicted[pred_of[case]], f"pred of '{case}'"), grid, codes, False, how)
        seen.see(case, pair)
        errors.see(case, pair)
        one = score_pair(case, pair, tolerance)
        scores.append(one.scores)
        calibration.append(one.calibration)
    said = seen.check("pred")
    table = together(scores)
    return Evaluation(
        checked(table.assign(model=name, seed=0), "pred"), who, tuple(names_of.structures), MEASURED,
        pd.concat(calibration, ignore_index=True).assign(model=name, seed=0), tolerance=tolerance,
        unit="pixels" if spacing is None and not hasattr(true[cases[0]], "affine") else "mm",
        notes=said + who.notes, errors={name: errors},
    )  # fmt: skip


def _names(
    pred: Maps, truth: Maps, frame: pd.DataFrame | None, where: str, ask: Ask
) -> tuple[list[str] | None, Ask]:
    """Return the ids of arrays, in the order of the table's rows; None where both are mappings."""
    if isinstance(pred, Mapping) and isinstance(truth, Mapping):
        return None, ask
    counts = {len(one) for one in (pred, truth) if not isinstance(one, Mapping)}
    rows = len(frame) if frame is not None else max(counts)
    if counts != {rows}:
        raise HarnessError(
            f"pred, truth and table have {len(pred)}, {len(truth)} and {rows} cases; without ids each row "
            f"is one "
            "case, in one order."
        )
    if frame is None:
        return [f"{i:06d}" for i in range(rows)], ask
    column = ask.id or next((c for c in map(str, frame.columns) if c.lower() in people._ID_NAMES), None)
    if column is None or column not in frame:
        raise HarnessError(
            f"{where}: which column has the cases' ids? Give id=, or mappings from id to array."
        )
    names = [people._row_id(value, where) for value in frame[column]]
    check_distinct(names, f"{where}, column '{column}'")
    return names, Ask(column, ask.patient, ask.attributes, ask.numbers)


def _by_id(maps: Maps, names: list[str] | None, what: str) -> dict[str, Any]:
    if isinstance(maps, Mapping):
        ids = [as_id(key, what) for key in maps]
        check_distinct(ids, what)
        return dict(zip(ids, maps.values(), strict=True))
    if names is None or len(names) != len(maps):
        raise HarnessError(f"{what}: give one label map for each row of the table.")
    return {name: maps[i] for i, name in enumerate(names)}


def _grid(given: Any, where: str) -> Grid:
    """Return an array, a tensor or a nibabel image as a grid; no library of theirs is imported for it."""
    if isinstance(given, str | Path):
        return grids.read(Path(given))
    if hasattr(given, "dataobj") and hasattr(given, "affine"):
        return grids.of_image(given, where)
    if hasattr(given, "detach"):
        given = given.detach().cpu().numpy()
    array = np.asarray(given)
    grids.check_size(array.shape, where)
    return Grid(grids.numbers(array, where), where)


def _discovered(true: Mapping[str, Any]) -> Coding:
    found: set[int] = set()
    for name, given in true.items():
        found |= set(np.unique(grids.whole(_grid(given, f"truth of '{name}'"))).tolist())
    if found and min(found) < 0:
        raise HarnessError(f"truth: has the label {min(found)}; labels are whole numbers from 0.")
    return coding.discovered(sorted(found), "truth")
