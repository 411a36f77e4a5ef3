"""The page of an evaluation: one HTML file that needs nothing beside it, to be read and printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from harness.predictions import drawing, origins, words
from harness.predictions.evaluation import REPORTED, Evaluation
from harness.predictions.overlays import Picture

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
        "sizes": rows(evaluation.by_size),
        "unknown": [one for row in rows(evaluation.unknown) if (one := _unknown(row, evaluation))],
        "calibrated": rows(evaluation.calibrated),
        "worst": rows(evaluation.worst),
        "pictures": list(pictures),
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
            "compared": _compared(evaluation, attribute, structure),
            "others": _others(evaluation, attribute, structure),
        }
        for attribute in evaluation.attributes
        for structure in evaluation.structures
        if (attribute, structure, metric) in evaluation.tables
    ]


def _model(evaluation: Evaluation, attribute: str, structure: str, model: str) -> dict[str, Any]:
    picked = _of(attribute=attribute, structure=structure, model=model)
    groups = rows(picked(evaluation.groups))
    lines = [(r["group"] or "everybody", r["estimate"], r["low"], r["high"]) for r in groups]
    label = f"{model}: {structure} by {attribute}"
    es = rows(picked(evaluation.summary).query("quantity == 'es_sum' and metric == 'dice'"))
    return {
        "name": model,
        "groups": groups,
        "figure": drawing.intervals(lines, label),
        "gap": next(iter(rows(picked(evaluation.gaps))), None),
        "es": es[0] if es else None,
    }


def _compared(evaluation: Evaluation, attribute: str, structure: str) -> Rows:
    if not len(evaluation.comparison):
        return []
    found = rows(_of(attribute=attribute, structure=structure)(evaluation.comparison))
    return [row for row in found if row["quantity"] in ("overall", "group", "gap", "es_sum")]


def _others(evaluation: Evaluation, attribute: str, structure: str) -> Rows:
    """Return the other metrics' groups, for the table under the first."""
    own = _of(attribute=attribute, structure=structure)(evaluation.summary)
    own = own[(own["metric"] != evaluation.metric) & own["quantity"].isin(("overall", "group"))]
    return rows(own)


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
