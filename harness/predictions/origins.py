"""Where a gap may come from, as the page says it: the parts of the spread, the gap at equal numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness.equity.place import Places
from harness.predictions import words
from harness.predictions.aligned import REACH, SIDE
from harness.predictions.evaluation import Evaluation
from harness.predictions.heat import heat

Row = dict[str, Any]
_NAMES = {"method": "model", "method by group": "model by group", "method by patient": "model by patient",
          "seed": "training", "rest": "what is left"}  # fmt: skip


def sections(evaluation: Evaluation) -> list[Row]:
    """Return the tables of the page: each with what it means and what it cannot say."""
    found = (_variance(evaluation), _adjusted(evaluation), place(evaluation))
    return [one for one in found if one["rows"] or one.get("nowhere")]


def _variance(evaluation: Evaluation) -> Row:
    table: dict[str, dict[str, str]] = {}
    notes: dict[str, str] = {}
    for row in _rows(evaluation.variance):
        part = _NAMES.get(row["part"], str(row["part"]))
        chance = "" if math.isnan(row["p"]) else f"; {words.p_value(row['p'])}"
        ends = f"{100 * row['low']:.0f}% to {100 * row['high']:.0f}%"
        own = table.setdefault(f"{row['attribute']}, {row['structure']}", {})
        own[part] = f"{100 * row['share']:.1f}% ({ends}{chance})"
        if row["note"]:
            notes[part] = str(row["note"])
    parts = tuple(dict.fromkeys(part for own in table.values() for part in own))
    said = "".join(f" '{part[:1].upper()}{part[1:]}' is {note}." for part, note in notes.items())
    return {
        "title": "The spread of scores",
        "meaning": "How much of all differences between scores goes with the group, with the single patient "
        "and with the rest, with 95% intervals. The patient nearly always has the most: a group can have a "
        "small share and be served worse all the same, because everyone in it is." + said,
        "columns": ("Attribute, structure", *(part[:1].upper() + part[1:] for part in parts)),
        "rows": [(name, *(own.get(part, "–") for part in parts)) for name, own in table.items()],
        "figures": [],
        "limit": "By mean squares of patients' means, patients drawn anew within their group. Parts of few "
        "models or trainings are hardly known, and a share is of these people, not of a population.",
    }


def _adjusted(evaluation: Evaluation) -> Row:
    metric, rows, before = evaluation.metric, [], ""
    for row in _rows(evaluation.adjusted):
        named = f"{row['attribute']}, {row['structure']}, {row['model']}"
        there = not math.isnan(row["low"])
        ends = f" ({words.interval(row, metric)})" if there else ""
        rows.append(
            (
                "" if named == before else named,
                "" if named == before else words.number(row["raw"], metric),
                row["given"],
                f"{row['note'] or words.number(row['adjusted'], metric)}{ends}",
                _left(row),
            )
        )
        before = named
    return {
        "title": "The gap at equal numbers",
        "meaning": "The gap that is left where groups are made alike in a number, by regression of each "
        "patient's mean score. A gap that goes away goes with that number; one that stays does not.",
        "columns": (
            "Attribute, structure, model",
            "Gap",
            "Made alike in",
            "Gap then (95% interval)",
            "In words",
        ),
        "rows": rows,
        "figures": [],
        "limit": "What goes with a number need not come from it: a small structure may be small because of a "
        "disease found late. Nothing is said of what the table does not hold, and a straight line and a "
        "square are taken to be enough. That a gap can be explained does not make it fair.",
    }


def _left(row: Row) -> str:
    """Say whether chance alone makes what is left of a gap."""
    if math.isnan(row["p"]):
        return "–"
    sure = "beyond chance" if row["p"] <= words.ALPHA else "within chance"
    return f"{sure} ({words.p_value(row['p'])})"


def place(evaluation: Evaluation) -> Row:
    """Return where in structures groups' errors differ, with a map of each."""
    rows, figures, nothing = [], [], []
    for (attribute, structure, model), found in evaluation.located.items():
        named = f"{attribute}, {structure}, {model}"
        placed = not evaluation.errors[model].unplaced
        certain = [row for row in _rows(found.table) if row["p"] <= words.ALPHA]
        for row in certain:
            more, low, high = (f"{100 * row[name]:.0f}" for name in ("difference", "low", "high"))
            where = _where(row, placed)
            who = f"{row['worst']} more than {row['best']}"
            chance = words.p_value(row["p"])
            rows.append((named, where, who, f"{more} of 100 ({low} to {high})", chance))
        figures += _maps(found, certain, named, placed)
        if found.errors and not certain:
            nothing.append(named)
    none = f" Beyond chance nowhere: {'; '.join(nothing)}." if nothing else ""
    return {
        "title": "Where in the structure errors lie",
        "meaning": "Each structure's errors in its own coordinates, from its centre and in units of its size "
        "(of a volume, over its slices): places where one group has more errors than another, beyond chance "
        "over the whole map. '49 of 100' is of cases: in so many more of them the model errs there." + none,
        "columns": ("Attribute, structure, model", "Place", "Who errs", "How much more", "Chance"),
        "rows": rows,
        "figures": figures,
        "nowhere": nothing,
        "limit": "Structures are aligned by centre and size alone, and not turned: left and right eyes, say, "
        "are one. The test says that groups differ somewhere in such a place, not at each of its points, and "
        "how much is a little too large, because the place was found by it.",
    }


def _maps(found: Places, certain: list[Row], named: str, placed: bool) -> list[Row]:
    """Return a figure for each two groups that differ somewhere, all such places of theirs outlined."""
    figures = []
    for worst, best in dict.fromkeys((row["worst"], row["best"]) for row in certain):
        own = [row for row in certain if (row["worst"], row["best"]) == (worst, best)]
        places = [_where(row, placed) for row in own]
        said = f"{named}: more errors in {worst} than in {best}, at {'; '.join(dict.fromkeys(places))}"
        figure = heat(
            (worst, found.errors[worst]),
            (best, found.errors[best]),
            np.isin(found.clusters, [row["cluster"] for row in own]),
            f"{said}, {100 * own[0]['difference']:.0f} of 100 cases more.",
            _LYING[placed],
        )
        caption = f"{said}. Heavy line: the place found; dashed circle: a disc of the structure's size."
        figures.append({"caption": caption, "figure": figure})
    return figures


_LYING = {True: "Front at the top, the patient's right at the left.", False: "As the pictures are stored."}


def _where(cluster: Row, placed: bool) -> str:
    """Return a place in words: of a patient where headers say how it lies, else of the picture as stored."""
    row, column = cluster["row"], cluster["column"]
    if cluster["pixels"] > _MUCH * SIDE**2:
        return "much of it"
    reach = math.hypot(row, column) * REACH
    depth = (
        "the middle"
        if reach < 0.4
        else "the inside"
        if reach < 0.8
        else "the rim"
        if reach < 1.2
        else "beyond the rim"
    )
    ends = ("front", "back", "patient's right", "patient's left") if placed else _OF_PICTURES
    sides = [name for name, is_there in zip(
        ends, (row < -0.2, row > 0.2, column < -0.2, column > 0.2), strict=True
    ) if is_there]  # fmt: skip
    return f"{depth}, {' and '.join(sides)}" if sides else depth


_OF_PICTURES = ("top", "bottom", "left", "right")
_MUCH = 0.2
"""Share of the map from which on the middle of a place says nothing of where it is."""


def _rows(frame: Any) -> list[Row]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
