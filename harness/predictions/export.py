"""An evaluation as files: the page, every table as CSV, all of it as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import HarnessError
from harness.predictions import page
from harness.predictions.evaluation import Evaluation
from harness.predictions.overlays import Picture
from harness.store import files, formats

PAGE, WHOLE = "index.html", "evaluation.json"
FRAMES = (
    *("who", "groups", "gaps", "summary", "noise", "comparison", "unknown", "crossed", "by_size", "along"),
    *("calibrated", "variance", "adjusted", "place", "worst"),
)
"""Tables of an evaluation that are written, each under its own name."""


def tables(evaluation: Evaluation) -> dict[str, pd.DataFrame]:
    """Return the tables that have rows, and the scores by case, by name."""
    found = {name: getattr(evaluation, name) for name in FRAMES if hasattr(evaluation, name)}
    cases = evaluation.scores.merge(evaluation.people.table, on="sample", how="left")
    return {name: frame for name, frame in found.items() if len(frame)} | {"cases": cases}


def as_json(evaluation: Evaluation) -> str:
    """Return everything as JSON; a number that is not there is null."""
    whole = {
        "models": list(evaluation.models),
        "obtained": evaluation.obtained,
        "structures": list(evaluation.structures),
        "metric": evaluation.metric,
        "present_alone": evaluation.present_alone,
        "unpaired": list(evaluation.unpaired),
        "notes": list(evaluation.notes),
        "tables": {name: _records(frame) for name, frame in tables(evaluation).items()},
    }
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(evaluation: Evaluation) -> str:
    """Return who scores what as CSV: the table `groups`, with the gaps below it."""
    gaps = evaluation.gaps
    rows = gaps.assign(quantity="gap", group="").reindex(columns=evaluation.groups.columns)
    table = pd.concat([evaluation.groups, rows], ignore_index=True)
    # A gap is of no number of patients, which must not make 60 of the others 60.0.
    counts = {name: "Int64" for name in ("patients", "samples") if name in table}
    return formats.table_text(table.astype(counts))


def contents(evaluation: Evaluation, pictures: Sequence[Picture] = ()) -> dict[str, str]:
    """Return the files of the folder, name to text."""
    found = {PAGE: page.render(evaluation, pictures), WHOLE: as_json(evaluation)}
    return found | {f"{name}.csv": formats.table_text(frame) for name, frame in tables(evaluation).items()}


def check_place(out: Path) -> None:
    """Raise HarnessError for a folder that holds something else."""
    if out.is_dir() and any(out.iterdir()) and not (out / WHOLE).is_file():
        raise HarnessError(
            f"{out}: holds something else than an evaluation; give --out a new or empty folder."
        )


def write(out: Path, contents: Mapping[str, str]) -> Path:
    """Write the folder, whole or not at all; return its page. Raises HarnessError where it cannot be."""
    check_place(out)
    try:
        with files.writing(out) as folder:
            for name, text in contents.items():
                files.put(folder / name, text.encode())
    except OSError as error:
        raise HarnessError(f"{out}: {error.strerror or error}; give another folder with --out.") from None
    return out / PAGE


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): _plain(v) for k, v in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return None if value is pd.NA else value
