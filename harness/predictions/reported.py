"""Scores that were computed elsewhere: nnU-Net's summary.json, MONAI's metrics, any table by case."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import HarnessError
from harness.predictions import people
from harness.predictions.coding import Coding, read_json
from harness.predictions.files import stem_of
from harness.predictions.ids import as_id, check_distinct, listed

_ALIASES = {
    "dice": (
        "dice",
        "dsc",
        "dice_score",
        "dicescore",
        "dice_coefficient",
        "mean_dice",
        "val_mean_dice",
        "meandice",
        "f1",
    ),
    "iou": ("iou", "jaccard", "jaccard_index", "mean_iou", "meaniou"),
    "nsd": ("nsd", "surface_dice", "normalized_surface_dice", "nsdice"),
    "hd95": ("hd95", "hausdorff95", "hausdorff_95", "hd_95", "hausdorff_distance_95"),
    "asd": ("asd", "assd", "average_surface_distance", "asd_symmetric"),
}
"""Our name of a metric to how others write it."""
_FRACTIONS = ("dice", "iou", "nsd")


@dataclass(frozen=True)
class Reported:
    """Scores by case as a file has them: columns `sample`, `structure` and a metric or several."""

    scores: pd.DataFrame
    notes: tuple[str, ...]
    kind: str


def is_reported(place: str) -> bool:
    """Tell by its name whether what is given is a file of scores: .json, .csv, .tsv."""
    path = Path(place)
    return path.suffix.lower() in (".json", ".csv", ".tsv") and not path.is_dir()


def read(file: Path, coding: Coding | None = None, id_column: str | None = None) -> Reported:
    """Return the scores of a file. Raises HarnessError, one sentence, for what cannot be read in one way."""
    if file.suffix.lower() == ".json":
        return _nnunet(file, coding)
    frame = people.read(file)
    if frame.empty:
        raise HarnessError(f"{file}: has no rows; give a row for each case.")
    if list(frame.columns[:1]) == ["filename"] and "mean" in frame.columns and file.stem.endswith("_raw"):
        return _monai(frame, file)
    return _table(frame, file, id_column)


def _nnunet(file: Path, coding: Coding | None) -> Reported:
    table = read_json(file)
    cases = table.get("metric_per_case")
    if not isinstance(cases, list) or not cases:
        raise HarnessError(f"{file}: has no 'metric_per_case'; give the summary.json of nnU-Net version 2.")
    rows, both_empty = [], 0
    for number, case in enumerate(cases):
        where = f"{file}: metric_per_case[{number}]"
        try:
            name = stem_of(Path(str(case["prediction_file"]).replace("\\", "/")))
            metrics = dict(case["metrics"])
        except (KeyError, TypeError, ValueError):
            raise HarnessError(f"{where}: lacks 'prediction_file' or 'metrics'; is it nnU-Net's?") from None
        for key, values in metrics.items():
            row, empty = _counted(values, f"{where}, label {key}")
            both_empty += empty
            rows.append({"sample": as_id(name, where), "structure": _structure(str(key), coding)} | row)
    notes = []
    if both_empty:
        notes.append(
            f"{both_empty} scores are of structures that are neither in truth nor prediction; nnU-Net leaves "
            "them out (NaN), here they count as 1 where all cases are scored."
        )
    return Reported(_distinct(pd.DataFrame(rows), file), tuple(notes), "nnU-Net's summary.json")


def _counted(values: Any, where: str) -> tuple[dict[str, float], bool]:
    """Return Dice and IoU from the counts that they were made of; whether nothing is in either mask."""
    try:
        tp, fp, fn = (float(values[key]) for key in ("TP", "FP", "FN"))
        dice, iou = float(values["Dice"]), float(values["IoU"])
    except (KeyError, TypeError, ValueError):
        raise HarnessError(f"{where}: lacks one of TP, FP, FN, Dice, IoU; is it nnU-Net's?") from None
    if not all(math.isfinite(one) and one >= 0 for one in (tp, fp, fn)):
        raise HarnessError(f"{where}: counts are {tp:g}, {fp:g} and {fn:g}; they are whole numbers from 0.")
    empty = tp + fp + fn == 0
    ours = (1.0, 1.0) if empty else (2 * tp / (2 * tp + fp + fn), tp / (tp + fp + fn))
    for name, stated, own in (("Dice", dice, ours[0]), ("IoU", iou, ours[1])):
        if not empty and not math.isclose(stated, own, abs_tol=1e-6):
            raise HarnessError(f"{where}: {name} is {stated:g}, and its counts give {own:g}; which is right?")
    return {"dice": ours[0], "iou": ours[1], "size": tp + fn}, empty


def _structure(key: str, coding: Coding | None) -> str:
    labels = tuple(sorted(int(one) for one in re.findall(r"\d+", key)))
    for name, own in coding.structures.items() if coding is not None else ():
        if tuple(sorted(own)) == labels:
            return name
    return f"label {key.strip('()').rstrip(',')}"


def _monai(frame: pd.DataFrame, file: Path) -> Reported:
    """Read METRIC_raw.csv of MONAI's MetricsSaver: a row a file, a column a class, their mean last."""
    metric = _metric_of(file.stem.removesuffix("_raw"))
    if metric is None:
        raise HarnessError(
            f"{file}: its name says no metric that is known here; call it by one, as in mean_dice_raw.csv."
        )
    classes = [name for name in frame.columns if name not in ("filename", "mean")]
    names = [_case_name(value, str(file)) for value in frame["filename"]]
    rows = [
        {"sample": name, "structure": str(one), metric: value}
        for one in classes
        for name, value in zip(
            names, _numbers(frame[one], metric, f"{file}, column '{one}'", names), strict=True
        )
    ]
    return Reported(_distinct(pd.DataFrame(rows), file), (), f"MONAI's {file.name}")


def _case_name(value: object, where: str) -> str:
    name = as_id(value, where).replace("\\", "/").rpartition("/")[2]
    return stem_of(Path(name)) if name else name


def _table(frame: pd.DataFrame, file: Path, id_column: str | None) -> Reported:
    """Read a table of a row a case, or a case and structure; columns named as a metric are its scores.

    `dice_cup` is the Dice of the structure cup.
    """
    ids = id_column or next((c for c in map(str, frame.columns) if c.lower() in people._ID_NAMES), None)
    if ids is None or ids not in frame:
        ids = str(frame.columns[0]) if id_column is None else ids
    if ids not in frame:
        raise HarnessError(f"{file}: has no column '{ids}'; name the column of ids with --id.")
    names = [_case_name(value, str(file)) for value in frame[ids]]
    found = {str(c): split for c in frame.columns if (split := _split(str(c))) is not None}
    if not found:
        raise HarnessError(
            f"{file}: no column is named as a score ({', '.join(_ALIASES)}); name them so, as in dice or "
            f"dice_cup."
        )
    which = next(
        (c for c in map(str, frame.columns) if c.lower() in ("structure", "label", "class", "organ")), None
    )
    parts = []
    for column, (metric, structure) in found.items():
        values = _numbers(frame[column], metric, f"{file}, column '{column}'", names)
        own = frame[which].astype(str).tolist() if which else [structure or "structure"] * len(names)
        parts.append(pd.DataFrame({"sample": names, "structure": own, "metric": metric, "value": values}))
    whole = pd.concat(parts, ignore_index=True)
    _check_twice(whole, file)
    scores = whole.pivot(index=["sample", "structure"], columns="metric", values="value").reset_index()
    scores.columns.name = None
    return Reported(_distinct(scores, file), (), f"the table {file.name}")


def _check_twice(whole: pd.DataFrame, file: Path) -> None:
    twice = whole[whole.duplicated(["sample", "structure", "metric"])]
    if len(twice):
        raise HarnessError(
            f"{file}: '{twice['sample'].iloc[0]}' has two rows of '{twice['structure'].iloc[0]}'; give "
            f"each case "
            "once, or each case and structure with a column 'structure'."
        )


def _metric_of(name: str) -> str | None:
    text = re.sub(r"[\s\-]+", "_", name.strip().lower())
    return next((metric for metric, names in _ALIASES.items() if text in names), None)


def _split(column: str) -> tuple[str, str] | None:
    """Return metric and structure of a column's name: "Dice" or "dice_cup"; None where it is no score."""
    if (metric := _metric_of(column)) is not None:
        return metric, ""
    head, _, tail = re.sub(r"[\s\-]+", "_", column.strip()).partition("_")
    metric = _metric_of(head)
    return (metric, tail) if metric is not None and tail else None


def _numbers(column: pd.Series, metric: str, where: str, names: list[str]) -> list[float]:
    found = []
    for name, text in zip(names, column, strict=True):
        try:
            value = float(text)
        except (TypeError, ValueError):
            value = math.nan
        if math.isnan(value):
            raise HarnessError(
                f"{where}: the score of '{name}' is '{text}'; a case that was missed scores 0, and one with "
                "nothing in truth and prediction 1: write that, or leave the case out."
            )
        low_high = value < 0 or (metric in _FRACTIONS and value > 1) or math.isinf(value)
        if low_high:
            percent = " (percent? divide by 100)" if metric in _FRACTIONS and 1 < value <= 100 else ""
            raise HarnessError(f"{where}: the score of '{name}' is {value:g}, which no {metric} is{percent}.")
        found.append(value)
    return found


def _distinct(scores: pd.DataFrame, file: Path) -> pd.DataFrame:
    for structure, own in scores.groupby("structure", sort=False):
        check_distinct(own["sample"].tolist(), f"{file}, {structure}", "case")
    counts = scores.groupby("sample")["structure"].nunique()
    if counts.nunique() > 1:
        few = counts.index[counts < counts.max()]
        raise HarnessError(
            f"{file}: {listed(few)} lack a structure that other cases have; score each in all."
        )
    return scores


def aligned(sets: Mapping[str, pd.DataFrame], wanted: list[str]) -> None:
    """Raise HarnessError where tables of several models are not of the same cases."""
    for name, scores in sets.items():
        own = set(scores["sample"])
        if own != set(wanted):
            lacking = sorted(set(wanted) ^ own)
            raise HarnessError(
                f"'{name}' and the first model are scored on different cases ({listed(lacking)}); compare "
                f"models "
                "on the same ones."
            )
