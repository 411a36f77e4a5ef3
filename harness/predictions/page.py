"""The page of an evaluation: one HTML file that needs nothing beside it, to be read and printed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from harness.predictions import drawing, origins, words
from harness.predictions.evaluation import REPORTED, Evaluation
from harness.predictions.overlays import COLOURS, Picture

Rows = list[dict[str, Any]]


def render(evaluation: Evaluation, pictures: Sequence[Picture] = ()) -> str:
    """Return the page as HTML. `pictures`: overlays of the worst cases, where images may be shown."""
    folder = Path(__file__).parent / "templates"
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    values: dict[str, Any] = {
        "e": evaluation,
        "w": words,
        "title": evaluation.title or " and ".join(evaluation.models),
        "reported": evaluation.obtained == REPORTED,
        "metric": evaluation.metric,
        "metric_name": words.METRIC_NAMES[evaluation.metric],
        "who": _split(evaluation.who, "attribute"),
        "sections": _sections(evaluation),
        "crossings": _crossings(evaluation),
        "curves": _curves(evaluation),
        "sizes": _sizes(evaluation),
        "unknown": [one for row in rows(evaluation.unknown) if (one := _unknown(row, evaluation))],
        "calibrated": _calibrated(evaluation),
        "worst": _worst(evaluation),
        "pictures": list(pictures),
        "colours": {name: f"rgb{colour}" for name, colour in COLOURS.items()},
        "origins": origins.sections(evaluation),
    }
    return env.get_template("predictions.html.j2").render(**values)


def glance(evaluation: Evaluation) -> str:
    """Return what a notebook shows: who, each group's score and what the gaps say."""
    parts = [f"<p>{_text(words.standing(evaluation))}</p>"]
    groups = evaluation.groups
    if len(groups):
        shown = groups[
            ["attribute", "structure", "model", "quantity", "group", "patients", "estimate", "low", "high"]
        ]
        parts.append(shown.to_html(index=False, float_format=lambda value: f"{value:.3f}", border=0))
    for row in rows(evaluation.gaps):
        named = f"{row['attribute']}, {row['structure']}, {row['model']}"
        parts.append(f"<p><b>{_text(named)}:</b> {_text(words.gap(row, evaluation.metric))}</p>")
    return "\n".join(parts)


def _text(text: str) -> Markup:
    return Markup.escape(text)


def rows(frame: pd.DataFrame) -> Rows:
    """Return a frame's rows, each as column to value."""
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _split(frame: pd.DataFrame, key: str) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for row in rows(frame):
        found.setdefault(str(row[key]), []).append(row)
    return found


def _sections(evaluation: Evaluation) -> Rows:
    """Return for each attribute and structure its groups, figures, gaps and comparisons."""
    metric = evaluation.metric
    return [
        {
            "attribute": attribute,
            "structure": structure,
            "models": [_model(evaluation, attribute, structure, model) for model in evaluation.models],
            "groups": _groups(evaluation, attribute, structure),
            "figure": _figure(evaluation, attribute, structure),
            "compared": _compared(evaluation, attribute, structure),
            "others": _others(evaluation, attribute, structure),
        }
        for attribute in evaluation.attributes
        for structure in evaluation.structures
        if (attribute, structure, metric) in evaluation.tables
    ]


def _model(evaluation: Evaluation, attribute: str, structure: str, model: str) -> dict[str, Any]:
    picked = _of(attribute=attribute, structure=structure, model=model)
    es = rows(picked(evaluation.summary).query("quantity == 'es_sum' and metric == 'dice'"))
    overall = picked(evaluation.groups).query("quantity == 'overall'")
    return {
        "name": model,
        "gap": next(iter(rows(picked(evaluation.gaps))), None),
        "es": es[0] if es else None,
        "overall": float(overall["estimate"].iloc[0]),
    }


def _groups(evaluation: Evaluation, attribute: str, structure: str) -> Rows:
    """Return a row a group, with the numbers of each model in their order under `models`."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows(_of(attribute=attribute, structure=structure)(evaluation.groups)):
        name = row["group"] or "everybody"
        own = found.setdefault(name, {"name": name, "models": []} | row)
        own["models"].append(row)
    return list(found.values())


def _figure(evaluation: Evaluation, attribute: str, structure: str) -> Markup:
    lines: list[drawing.Line] = []
    heads = []
    for group in _groups(evaluation, attribute, structure):
        named = [(row["model"], row) for row in group["models"]]
        if len(named) > 1:
            heads.append(len(lines))
            lines.append((group["name"], math.nan, math.nan, math.nan))
        else:
            named = [(group["name"], group)]
        lines += [(name, row["estimate"], row["low"], row["high"]) for name, row in named]
    said = ", ".join(f"{name} {words.number(mean, evaluation.metric)}" for name, mean, *_ in lines)
    return drawing.intervals(lines, f"Mean {structure} by {attribute}: {said}", heads)


def _compared(evaluation: Evaluation, attribute: str, structure: str) -> Rows:
    if not len(evaluation.comparison):
        return []
    frame = _of(attribute=attribute, structure=structure, metric=evaluation.metric)(evaluation.comparison)
    return [row for row in rows(frame) if row["quantity"] in ("overall", "group", "gap", "es_sum")]


def _others(evaluation: Evaluation, attribute: str, structure: str) -> dict[str, Any]:
    """Return the other metrics' groups, for the table under the first."""
    own = _of(attribute=attribute, structure=structure)(evaluation.summary)
    own = own[(own["metric"] != evaluation.metric) & own["quantity"].isin(("overall", "group"))]
    return _pivot(own.assign(group=own["group"].replace("", "everybody")), ["model", "group"], "metric")


def _pivot(frame: pd.DataFrame, down: list[str], across: str) -> dict[str, Any]:
    """Return a table's columns and its rows: keys, and a cell for each column, None where there is none."""
    if not len(frame):
        return {"columns": [], "rows": []}
    columns, found = list(dict.fromkeys(frame[across])), dict[tuple[Any, ...], dict[str, Any]]()
    for row in rows(frame):
        found.setdefault(tuple(row[key] for key in down), {})[row[across]] = row
    body = [{"keys": keys, "cells": [own.get(one) for one in columns]} for keys, own in found.items()]
    return {"columns": columns, "rows": body}


def _pivots(frame: pd.DataFrame, by: list[str], down: list[str], across: str) -> Rows:
    """Return a table for each value of `by`, with its caption."""
    if not len(frame):
        return []
    return [
        {"caption": ", ".join(map(str, key))} | _pivot(own, down, across)
        for key, own in frame.groupby(by, sort=False)
    ]


def _sizes(evaluation: Evaluation) -> Rows:
    return _pivots(evaluation.by_size, ["attribute", "structure"], ["model", "group"], "third")


def _calibrated(evaluation: Evaluation) -> Rows:
    frame = evaluation.calibrated
    if not len(frame):
        return []
    named = frame["quantity"].map({"overall": "everybody", "gap": "gap"}).fillna(frame["group"])
    return _pivots(frame.assign(group=named), ["attribute", "structure"], ["model", "group"], "metric")


def _worst(evaluation: Evaluation) -> Rows:
    """Return a row for each group and model with its worst cases, groups in their order."""
    frame, found = evaluation.worst, []
    for attribute in evaluation.attributes if len(frame) else ():
        for group in evaluation.people.groups[attribute]:
            for model in evaluation.models:
                own = rows(_of(attribute=attribute, group=group, model=model)(frame))
                if own:
                    found.append({"attribute": attribute, "group": group, "model": model, "cases": own})
    return found


def _of(**wanted: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def pick(frame: pd.DataFrame) -> pd.DataFrame:
        for column, value in wanted.items():
            frame = frame[frame[column] == value]
        return frame

    return pick


def _crossings(evaluation: Evaluation) -> Rows:
    frame = evaluation.crossed
    if not len(frame):
        return []
    keys = ["attribute", "other", "model"]
    return [
        dict(zip(keys, key, strict=True)) | {"rows": _split(own, "first")}
        for key, own in frame.groupby(keys, sort=False)
    ]


def _curves(evaluation: Evaluation) -> Rows:
    frame = evaluation.along
    found = []
    for (structure, model, along), own in frame.groupby(["structure", "model", "along"], sort=False):
        points = list(own[["value", "estimate", "low", "high"]].itertuples(index=False, name=None))
        label = f"{model}: {structure} along {along}"
        found.append({"label": label, "figure": drawing.curve(points, label, str(along))})
    return [one for one in found if one["figure"]]


def _unknown(row: dict[str, Any], evaluation: Evaluation) -> str:
    said = words.unknown(row, evaluation.metric)
    return f"{row['structure']}, {row['model']}: {said}" if said else ""
