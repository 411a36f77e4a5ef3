"""Where a gap may come from, as the page says it: the parts of the spread, the gap at equal numbers."""

from __future__ import annotations

import math
from typing import Any

from harness.predictions import words
from harness.predictions.aligned import REACH
from harness.predictions.evaluation import Evaluation

Row = dict[str, Any]
_NAMES = {"method": "model", "method by group": "model by group", "method by patient": "model by patient",
          "seed": "training", "rest": "what is left"}  # fmt: skip


def sections(evaluation: Evaluation) -> list[Row]:
    """Return the tables of the page: each with what it means and what it cannot say."""
    return [one for one in (_variance(evaluation), _adjusted(evaluation), _place(evaluation)) if one["rows"]]


def _variance(evaluation: Evaluation) -> Row:
    rows = [
        (
            f"{row['attribute']}, {row['structure']}",
            _NAMES.get(row["part"], str(row["part"])) + (f" ({row['note']})" if row["note"] else ""),
            f"{100 * row['share']:.1f}%",
            f"{100 * row['low']:.1f}% to {100 * row['high']:.1f}%",
            words.p_value(row["p"]),
        )
        for row in _rows(evaluation.variance)
    ]
    return {
        "title": "The spread of scores",
        "meaning": "How much of all differences between scores goes with the group, with the single patient "
        "and with the rest. The patient nearly always has the most: a group can have a small share and be "
        "served worse all the same, because everyone in it is.",
        "columns": ("Attribute, structure", "Part", "Share", "95% interval", "Chance"),
        "rows": rows,
        "figure": "",
        "limit": "By mean squares of patients' means, patients drawn anew within their group. Parts of few "
        "models or trainings are hardly known, and a share is of these people, not of a population.",
    }


def _adjusted(evaluation: Evaluation) -> Row:
    metric = evaluation.metric
    rows = [
        (
            f"{row['attribute']}, {row['structure']}, {row['model']}",
            row["given"],
            words.number(row["raw"], metric),
            row["note"] or words.number(row["adjusted"], metric),
            "–" if math.isnan(row["low"]) else words.interval(row, metric),
            words.p_value(row["p"]),
        )
        for row in _rows(evaluation.adjusted)
    ]
    return {
        "title": "The gap at equal numbers",
        "meaning": "The gap that is left where groups are made alike in a number, by regression of each "
        "patient's mean score. A gap that goes away goes with that number; one that stays does not.",
        "columns": (
            "Attribute, structure, model",
            "Made alike in",
            "Gap",
            "Adjusted",
            "95% interval",
            "Chance",
        ),
        "rows": rows,
        "figure": "",
        "limit": "What goes with a number need not come from it: a small structure may be small because of a "
        "disease found late. Nothing is said of what the table does not hold, and a straight line and a "
        "square are taken to be enough. That a gap can be explained does not make it fair.",
    }


def _place(evaluation: Evaluation) -> Row:
    found = [row for row in _rows(evaluation.place) if row["p"] <= words.ALPHA]
    rows = [
        (
            f"{row['attribute']}, {row['structure']}, {row['model']}",
            _where(row["row"], row["column"]),
            f"{row['worst']} more than {row['best']}",
            f"{100 * row['difference']:.0f} of 100 ({100 * row['low']:.0f} to {100 * row['high']:.0f})",
            words.p_value(row["p"]),
        )
        for row in found
    ]
    return {
        "title": "Where in the structure errors lie",
        "meaning": "Each structure's errors in its own coordinates, from its centre and in units of its size "
        "(of a volume, over its slices): places where one group has more errors than another, beyond chance "
        "over the whole map.",
        "columns": ("Attribute, structure, model", "Place, as stored", "Who errs", "How much more", "Chance"),
        "rows": rows,
        "figure": "",
        "limit": "Structures are aligned by centre and size alone, and not turned: left and right eyes, say, "
        "are one. The test says that groups differ somewhere in such a place, not at each of its points, and "
        "how much is a little too large, because the place was found by it.",
    }


def _where(row: float, column: float) -> str:
    """Return a place in words, rows counted downwards and columns to the right as they are stored."""
    reach = math.hypot(row, column) * REACH
    depth = (
        "the middle"
        if reach < 0.4
        else "inside"
        if reach < 0.8
        else "the rim"
        if reach < 1.2
        else "beyond it"
    )
    sides = [name for name, is_there in (
        ("low rows", row < -0.2), ("high rows", row > 0.2),
        ("low columns", column < -0.2), ("high columns", column > 0.2),
    ) if is_there]  # fmt: skip
    return f"{depth}, {' and '.join(sides)}" if sides else depth


def _rows(frame: Any) -> list[Row]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
