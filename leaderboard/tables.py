"""Boards -> tables: what `harness.equity` says of each method under an attribute and structure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from harness import equity
from harness.equity import Tables
from harness.multiplicity import holm
from harness.protocol import BASELINE
from harness.store import Cost, Obtained, Record
from leaderboard.data import Board
from leaderboard.parallel import mapped

FRACTIONS = ("dice", "iou", "nsd")
DISTANCES = ("hd95", "asd")

Line = dict[str, Any]
Lines = dict[str, list[Line]]
"""Method to its rows of a table of `harness.equity`."""
SURE = 0.95
MANY_PATIENTS = 150
"""Below this, a group's mean distance has no interval: where 2% of cases are missed and score the image's
diagonal, intervals for 60 patients covered 68% and for 15 patients 29% of the time."""


class Number(NamedTuple):
    """An estimate with its 95% interval; `note` says why it is missing or how to read it."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    note: str = ""
    corrected: float = math.nan
    """The estimate freed of what noise adds to gaps and takes from ES."""

    @property
    def there(self) -> bool:
        """Whether there is a number at all."""
        return not math.isnan(self.value)


NONE = Number()


@dataclass(frozen=True)
class Noise:
    """What chance alone makes of a gap in groups of these sizes."""

    floor: float = math.nan
    floor_95: float = math.nan
    p: float = math.nan
    detectable: float = math.nan
    p_holm: float = math.nan
    """Adjusted over the section's methods."""


@dataclass(frozen=True)
class Difference:
    """A method's ES-Dice minus the baseline's, and what became of the gap."""

    number: Number = NONE
    p: float = math.nan
    better: bool | None = None
    verdict: str = ""

    @property
    def tested(self) -> bool:
        """Whether there is an interval and a p-value: not on too few seeds, and `number.note` says so."""
        return not math.isnan(self.number.low)


@dataclass(frozen=True)
class Row:
    """A method's line in a section. `rank` is None for a method that has no finished trial."""

    method: str
    title: str
    status: str
    done: int
    planned: int
    obtained: Obtained | None = None
    """How its finished trials were obtained, the weakest of them."""
    seeds: tuple[int, ...] = ()
    errors: tuple[Record, ...] = ()
    rank: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    p_best: float = math.nan
    letters: str = ""
    best: bool = False
    """Whether the word "best" may be written: probability of being first at least 0.95, better than every
    other method in the paired tests, of which there is at least one, and not on anybody's word alone."""
    metrics: dict[str, dict[str, Number]] = field(default_factory=dict)
    groups: dict[str, dict[str, Number]] = field(default_factory=dict)
    noise: dict[str, Noise] = field(default_factory=dict)
    versus: Difference | None = None
    missed: int = 0
    scored: int = 0
    cost: Cost | None = None

    def number(self, metric: str, quantity: str) -> Number:
        """Return one number, empty where there is none."""
        return self.metrics.get(metric, {}).get(quantity, NONE)

    def group(self, metric: str, group: str) -> Number:
        """Return a group's score, empty where there is none."""
        return self.groups.get(metric, {}).get(group, NONE)


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
    def _by_method(self) -> dict[str, Row]:
        return {row.method: row for row in self.rows}

    def row(self, method: str) -> Row:
        """Return a method's row."""
        return self._by_method[method]


def sections(board: Board) -> list[Section]:
    """Return the board's sections, the ranking structure of each attribute first."""
    which = [(a, s) for a in board.attributes for s in board.structures]
    return mapped(lambda i: section(board, *which[i]), len(which), len(board.scores))


def section(board: Board, attribute: str, structure: str) -> Section:
    """Compute the table of one attribute and structure."""
    groups = board.record.groups[attribute]
    known = board.test[attribute].notna()
    tables = {
        metric: found
        for metric in FRACTIONS + DISTANCES
        if known.any() and (found := _tables(board, attribute, structure, metric)) is not None
    }
    lines = {metric: _Lines.of(found) for metric, found in tables.items()}
    rows = _with_adjusted([_row(board, name, attribute, structure, lines) for name in board.entries])
    rows.sort(key=lambda row: (row.rank is None, row.rank or 0))
    return Section(
        attribute,
        structure,
        groups,
        _counts(board, attribute),
        rows,
        tables,
        baseline=BASELINE if BASELINE in board.entries else None,
    )


def _with_adjusted(rows: list[Row]) -> list[Row]:
    p = [row.noise["dice"].p if "dice" in row.noise else math.nan for row in rows]
    return [
        row
        if math.isnan(found)
        else replace(row, noise=row.noise | {"dice": replace(row.noise["dice"], p_holm=found)})
        for row, found in zip(rows, holm(np.array(p)), strict=True)
    ]


def _counts(board: Board, attribute: str) -> dict[str, tuple[int, int]]:
    test = board.test
    counts = {"": (len(test), int(test["patient"].nunique()))}
    for group in board.record.groups[attribute]:
        own = test[test[attribute] == group]
        counts[group] = (len(own), int(own["patient"].nunique()))
    unknown = test[test[attribute].isna()]
    if len(unknown):
        counts["unknown"] = (len(unknown), int(unknown["patient"].nunique()))
    return counts


def _tables(board: Board, attribute: str, structure: str, metric: str) -> Tables | None:
    scores = {
        name: values
        for name in board.entries
        if (values := board.matrix(name, attribute, structure, metric)) is not None
    }
    if not scores:
        return None
    whole = equity.Scores(
        scores,
        board.test[attribute].to_numpy(object),
        board.test["patient"].to_numpy(),
        order=board.record.groups[attribute],
        higher_is_better=metric in FRACTIONS,
    )
    return equity.tables(whole, BASELINE, ranked=metric == "dice")


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
        groups={metric: _groups(of.summary[name], metric) for metric, of in lines.items()},
        noise={metric: _noise(of.noise[name]) for metric, of in lines.items()},
        versus=_versus(lines["dice"].comparison.get(name)),
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


def _number(row: Line) -> Number:
    value, low, high, corrected = (float(row[key]) for key in ("estimate", "low", "high", "corrected"))
    return Number(value, low, high, str(row["note"]), corrected)


def _quantities(summary: list[Line]) -> dict[str, Number]:
    return {row["quantity"]: _number(row) for row in summary if row["group"] == ""}


def _groups(summary: list[Line], metric: str) -> dict[str, Number]:
    """Return the groups' numbers; a distance's interval, which one missed case overturns, only for many."""
    found = {}
    for row in summary:
        if row["quantity"] == "group":
            few = metric in DISTANCES and row["patients"] < MANY_PATIENTS
            number = _number(row)
            found[row["group"]] = number._replace(low=math.nan, high=math.nan) if few else number
    return found


def _noise(noise: list[Line]) -> Noise:
    (row,) = (row for row in noise if row["quantity"] == "gap" and row["group"] == "")
    return Noise(*(float(row[key]) for key in ("floor", "floor_95", "p", "detectable")))


def _versus(comparison: list[Line] | None) -> Difference | None:
    if comparison is None:
        return None
    own = {row["quantity"]: row for row in comparison}
    es = own["es_sum"]
    number = Number(float(es["difference"]), float(es["low"]), float(es["high"]), str(es["note"]))
    better = bool(es["better"]) if isinstance(es["better"], bool | np.bool_) else None
    return Difference(number, float(es["p_holm"]), better, str(own["gap"]["verdict"]))
