"""Boards -> tables: what `harness.equity` says of each method under an attribute and structure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from harness import equity
from harness.equity import Tables
from harness.protocol import BASELINE
from harness.store import Obtained
from leaderboard.compute.metrics import METRICS, Metric
from leaderboard.compute.row import Difference, Family, Noise, Number, Row
from leaderboard.parallel import mapped
from leaderboard.read.boards import Board

Line = dict[str, Any]
Lines = dict[str, list[Line]]
"""Method to its rows of a table of `harness.equity`."""
SURE = 0.95
MANY_PATIENTS = 150
"""Below this, a group's mean distance has no interval: where 2% of cases are missed and score the image's
diagonal, intervals for 60 patients covered 68% and for 15 patients 29% of the time."""


@dataclass(frozen=True)
class Section:
    """The table of one attribute and structure, rows in order of rank.

    tables: metric to what `harness.equity` says of it; empty where no trial has finished.
    """

    attribute: str
    structure: str
    groups: tuple[str, ...]
    counts: dict[str, tuple[int, int]]
    """Group to its test samples and patients; "" is all together, unknown included."""
    rows: list[Row]
    tables: dict[str, Tables] = field(default_factory=dict, repr=False)
    baseline: str | None = None

    @cached_property
    def ranked(self) -> list[Row]:
        """The rows that have a rank."""
        return [row for row in self.rows if row.rank is not None]

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """The groups that gaps and ES are taken over; of a section in which something is ranked."""
        return tuple(group for group in self.groups if self.ranked[0].group("dice", group).there)

    @cached_property
    def _by_method(self) -> dict[str, Row]:
        return {row.method: row for row in self.rows}

    def row(self, method: str) -> Row:
        """Return a method's row."""
        return self._by_method[method]


def of_board(board: Board) -> list[Section]:
    """Return the board's sections, the ranking structure of each attribute first."""
    which = [(a, s) for a in board.attributes for s in board.structures]
    return mapped(lambda i: one(board, *which[i]), len(which), len(board.scores))


def one(board: Board, attribute: str, structure: str) -> Section:
    """Compute the table of one attribute and structure."""
    groups = board.record.groups[attribute]
    known = board.tested(structure)[attribute].notna()
    tables = {
        metric.key: found
        for metric in METRICS
        if known.any() and (found := _tables(board, attribute, structure, metric)) is not None
    }
    lines = {metric: _Lines.of(found) for metric, found in tables.items()}
    rows = [_row(board, name, attribute, structure, lines) for name in board.entries]
    rows.sort(key=lambda row: (row.rank is None, row.rank or 0))
    return Section(
        attribute,
        structure,
        groups,
        _counts(board, attribute, structure),
        rows,
        tables,
        baseline=BASELINE if BASELINE in board.entries else None,
    )


def _counts(board: Board, attribute: str, structure: str) -> dict[str, tuple[int, int]]:
    test = board.tested(structure)
    counts = {"": (len(test), int(test["patient"].nunique()))}
    for group in board.record.groups[attribute]:
        own = test[test[attribute] == group]
        counts[group] = (len(own), int(own["patient"].nunique()))
    unknown = test[test[attribute].isna()]
    if len(unknown):
        counts["unknown"] = (len(unknown), int(unknown["patient"].nunique()))
    return counts


def _tables(board: Board, attribute: str, structure: str, metric: Metric) -> Tables | None:
    values = {name: board.matrix(name, attribute, structure, metric.key) for name in board.entries}
    scores = board.equity_scores(values, attribute, metric.higher_is_better, board.rows(structure))
    claims = board.record.protocol.get("claims", {})
    margin = float(claims.get("equivalence_margin", equity.MARGIN))
    ranked = metric is METRICS[0]
    views = len(board.attributes) * len(board.structures)
    if scores is None:
        return None
    return equity.tables(scores, BASELINE, ranked=ranked, margin=margin, views=views)


def _by_method(table: pd.DataFrame) -> Lines:
    lines: Lines = {}
    columns = [table[name].astype(object) for name in table.columns]
    names = list(table.columns)
    for values in zip(*columns, strict=True):
        line = dict(zip(names, values, strict=True))
        lines.setdefault(line["method"], []).append(line)
    return lines


@dataclass(frozen=True)
class _Lines:
    """The tables of a metric, each as method to its rows."""

    summary: Lines
    noise: Lines
    ranking: Lines
    comparison: Lines
    family: Lines

    @staticmethod
    def of(tables: Tables) -> _Lines:
        return _Lines(*(_by_method(getattr(tables, field.name)) for field in fields(_Lines)))


def _row(board: Board, name: str, attribute: str, structure: str, lines: dict[str, _Lines]) -> Row:
    entry = board.entries[name]
    done = entry.done(attribute)
    common: dict[str, Any] = {
        "method": name,
        "title": entry.info.title,
        "status": entry.status(attribute),
        "done": len(done),
        "planned": len(entry.under(attribute)),
        "obtained": entry.obtained(attribute),
        "seeds": tuple(record.seed for record in done),
        "errors": tuple(entry.failed(attribute)),
    }
    if not done or not lines:
        return Row(**common)
    missed = board.matrix(name, attribute, structure, "missed")
    assert missed is not None
    return Row(
        **common,
        **_rank(lines["dice"].ranking[name], len(lines["dice"].ranking), common["obtained"]),
        metrics={metric: _quantities(of.summary[name]) for metric, of in lines.items()},
        groups={metric.key: _groups(lines[metric.key].summary[name], metric) for metric in METRICS},
        noise={metric: _noise(of.noise[name]) for metric, of in lines.items()},
        versus=_versus(lines["dice"].comparison.get(name)),
        family=_family(lines["dice"].family.get(name)),
        missed=int(np.nansum(missed)),
        scored=int((~np.isnan(missed)).sum()),
        cost=board.cost(name, attribute),
    )


def _rank(ranking: list[Line], methods: int, obtained: Obtained | None) -> dict[str, Any]:
    (row,) = ranking
    if pd.isna(row["rank"]):
        return {}
    return {
        "rank": int(row["rank"]),
        "rank_low": int(row["rank_low"]),
        "rank_high": int(row["rank_high"]),
        "p_best": float(row["p_best"]),
        "best": bool(row["p_best"] >= SURE and row["rank_high"] == 1)
        and methods > 1
        and obtained != "reported",
        "letters": str(row["letters"]) if methods > 1 else "",
    }


def _quantities(summary: list[Line]) -> dict[str, Number]:
    return {row["quantity"]: Number.of(row) for row in summary if row["group"] == ""}


def _groups(summary: list[Line], metric: Metric) -> dict[str, Number]:
    """Return the groups' numbers; a distance's interval, which one missed case overturns, only for many."""
    found = {}
    for row in summary:
        if row["quantity"] == "group":
            few = not metric.higher_is_better and row["patients"] < MANY_PATIENTS
            number = Number.of(row)
            found[row["group"]] = number._replace(low=math.nan, high=math.nan) if few else number
    return found


def _noise(noise: list[Line]) -> Noise:
    (row,) = (row for row in noise if row["quantity"] == "gap" and row["group"] == "")
    return Noise(*(float(row[key]) for key in ("floor", "floor_95", "p", "detectable", "p_adjusted")))


def _versus(comparison: list[Line] | None) -> Difference | None:
    if comparison is None:
        return None
    own = {row["quantity"]: row for row in comparison}
    es = own["es_sum"]
    better = bool(es["better"]) if isinstance(es["better"], bool | np.bool_) else None
    # The interval that its p-value and the letters go with.
    number = Number.of(es | {"low": es["low_adjusted"], "high": es["high_adjusted"]}, "difference")
    return Difference(number, float(es["p_adjusted"]), better, str(own["gap"]["verdict"]))


def _family(lines: list[Line] | None) -> Family | None:
    if lines is None:
        return None
    es, gap = (next(line for line in lines if line["quantity"] == name) for name in ("es_sum", "gap"))
    return Family(
        int(es["views"]),
        int(es["rank_low_views"]),
        int(es["rank_high_views"]),
        str(es["letters_views"]),
        float(es["p_views"]),
        float(gap["p_views"]),
        float(gap["p_above_views"]),
    )
