"""Boards -> tables: what `harness.equity` says of each method under an attribute and structure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from harness import equity
from harness.equity import Tables
from harness.errors import HarnessError
from harness.protocol import BASELINE
from harness.store import Obtained, twins
from leaderboard.compute import tracks
from leaderboard.compute.metrics import METRICS, Metric
from leaderboard.compute.row import Difference, Family, Noise, Number, Row
from leaderboard.kept import each, kept, made
from leaderboard.parallel import mapped
from leaderboard.read.boards import Board
from leaderboard.spared import Spared

Line = dict[str, Any]
Lines = dict[str, list[Line]]
"""Method to its rows of a table of `harness.equity`."""
SURE = 0.95
_WORTH_AROUND = 2_000
"""Trials from which on it takes less to put the rows of tables together on all cores than it does to fork."""
MANY_PATIENTS = 150
"""Below this, a group's mean distance has no interval: where 2% of cases are missed and score the image's
diagonal, intervals for 60 patients covered 68% and for 15 patients 29% of the time."""


@dataclass(frozen=True)
class Section:
    """The table of one attribute and structure in a track, rows in order of rank.

    tables: metric to what `harness.equity` says of it; empty where no trial has finished. why: metric, or
    "the table", to why it could not be computed; those are in no table and no row.
    """

    attribute: str
    structure: str
    groups: tuple[str, ...]
    counts: dict[str, tuple[int, int]]
    """Group to its test samples and patients; "" is all together, unknown included."""
    rows: list[Row]
    tables: dict[str, Tables] = field(default_factory=dict, repr=False)
    baseline: str | None = None
    why: dict[str, str] = field(default_factory=dict)
    margin: float = equity.MARGIN
    """Of ES-Dice, within which two methods are equivalent."""
    enough: list[Line] = field(default_factory=list, repr=False)
    """`harness.equity.enough`: empty where nothing is ranked or there is one seed."""
    unknown: list[Line] = field(default_factory=list, repr=False)
    """`harness.equity.unknown`, method by method."""
    track: str = tracks.MAIN

    @property
    def anchor(self) -> str:
        """Its name in an address, on a page."""
        told = "" if self.track == tracks.MAIN else f"-{self.track}"
        return f"{self.attribute}-{self.structure}{told}"

    @property
    def name(self) -> str:
        """What a sentence calls it."""
        return f"{self.structure} by {self.attribute}{tracks.among(self.track, [self.attribute])}"

    @cached_property
    def ranked(self) -> list[Row]:
        """The rows that have a rank."""
        return [row for row in self.rows if row.rank is not None]

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """The groups that gaps and ES are taken over; of a section in which something is ranked."""
        return tuple(group for group in self.groups if self.ranked[0].group("dice", group).there)

    @property
    def titles(self) -> dict[str, str]:
        """Each method's title."""
        return {row.method: row.title for row in self.rows}

    @cached_property
    def _by_method(self) -> dict[str, Row]:
        return {row.method: row for row in self.rows}

    def row(self, method: str) -> Row:
        """Return a method's row."""
        return self._by_method[method]


Parts = Sequence[tuple[Tables | None, dict[str, str]]]
"""The tables of each metric, None for one without scores, and why they could not be computed."""


def of_board(board: Board) -> list[Section]:
    """Return the board's sections, the ranking structure of each attribute first, and of each its tracks."""
    return of_tables(board, tables(board))


def tables(board: Board) -> list[Parts]:
    """Return the tables of each section, in the sections' order."""
    trials = len(board.scores)
    # A table at a time, as those of what is ranked take several times as long as the others.
    each = [(*place, metric) for place in _places(board) for metric in METRICS]
    made = mapped(lambda i: _one_table(board, *each[i]), len(each), trials)
    return [made[i : i + len(METRICS)] for i in range(0, len(made), len(METRICS))]


def of_tables(board: Board, parts: Sequence[Parts]) -> list[Section]:
    """Return the board's sections, given their tables."""
    which, trials = _places(board), len(board.scores)
    found = mapped(lambda i: _around(board, *which[i], parts[i]), len(which), trials, _WORTH_AROUND)
    return [replace(section, tables=_of_parts(own)) for section, own in zip(found, parts, strict=True)]


def _places(board: Board) -> list[tuple[str, str, str]]:
    there = tracks.of_board(board)
    return [(a, s, track) for a in board.attributes for s in board.structures for track in there]


def one(board: Board, attribute: str, structure: str, track: str = tracks.MAIN) -> Section:
    """Compute the table of one attribute and structure in a track; `why` says what of it could not be."""
    parts = [_one_table(board, attribute, structure, track, metric) for metric in METRICS]
    return replace(_around(board, attribute, structure, track, parts), tables=_of_parts(parts))


def _one_table(
    board: Board, attribute: str, structure: str, track: str, metric: Metric
) -> tuple[Tables | None, dict[str, str]]:
    """Return the tables of a metric, None for one without scores, and why they could not be computed."""
    spared = Spared()
    if not board.tested(structure)[attribute].notna().any():
        return None, spared.why
    made = partial(_tables, board, tracks.methods(board, track), attribute, structure, metric)
    return spared.build(metric.name, made, None), spared.why


def _of_parts(parts: Parts) -> dict[str, Tables]:
    made = zip(METRICS, parts, strict=True)
    return {metric.key: tables for metric, (tables, _) in made if tables is not None}


def _around(
    board: Board,
    attribute: str,
    structure: str,
    track: str,
    parts: Parts,
) -> Section:
    """Return a section, whose `tables` are to be put in: a process hands on what it has made alone."""
    groups, spared = board.record.groups[attribute], Spared({})
    for _, why in parts:
        spared.why |= why
    names, tables = tracks.methods(board, track), _of_parts(parts)
    rows = spared.build("the table", lambda: _rows(board, names, attribute, structure, tables), None)
    if rows is None:
        tables, rows = {}, _rows(board, names, attribute, structure, {})
    ranked = "dice" in tables and len(tables["dice"].family) > 0
    enough, hidden = (partial(make, board, names, attribute, structure) for make in (_enough, _unknown))
    return Section(
        attribute,
        structure,
        groups,
        _counts(board, attribute, structure),
        rows,
        {},
        baseline=BASELINE if BASELINE in names else None,
        margin=_margin(board),
        enough=spared.build("How much is enough", enough, []) if ranked else [],
        unknown=spared.build(f"People of unknown {attribute}", hidden, []) if ranked else [],
        why=spared.why,
        track=track,
    )


def _rows(
    board: Board, names: list[str], attribute: str, structure: str, tables: dict[str, Tables]
) -> list[Row]:
    lines = {metric: _Lines.of(found) for metric, found in tables.items()}
    rows = [_row(board, name, attribute, structure, lines) for name in names]
    return sorted(rows, key=lambda row: (row.rank is None, row.rank or 0))


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


def _tables(board: Board, names: list[str], attribute: str, structure: str, metric: Metric) -> Tables | None:
    part = [name for name in names if _takes_part(board, name, attribute)]
    found = _ranked(board, part, attribute, structure, metric)
    beside = [name for name in names if name not in part]
    if not beside or not (scores := _scores(board, beside, attribute, structure, metric)):
        return found
    return _beside(found, _kept_tables(scores, "", ranked=metric is METRICS[0]))


def _takes_part(board: Board, name: str, attribute: str) -> bool:
    """Whether a method is ranked: predictions only, of too few trainings to tell two apart, are not."""
    entry = board.entries[name]
    several = len(entry.done(attribute)) >= equity.LEAST_SEEDS
    return several or entry.obtained(attribute) != "predictions"


def _beside(found: Tables | None, others: Tables) -> Tables:
    """Return tables with the scores and noise of methods that are shown and do not take part."""
    empty = {
        field.name: getattr(others, field.name).iloc[:0]
        for field in fields(Tables)
        if field.name not in ("summary", "noise")
    }
    if found is None:
        return replace(others, **empty)
    return replace(
        found,
        summary=pd.concat([found.summary, others.summary], ignore_index=True),
        noise=pd.concat([found.noise, others.noise], ignore_index=True),
    )


def _ranked(board: Board, names: list[str], attribute: str, structure: str, metric: Metric) -> Tables | None:
    scores = _scores(board, names, attribute, structure, metric)
    if scores is None:
        return None
    # Of one track: what somebody submits to the other must not change a finding here.
    ranked, views = metric is METRICS[0], len(board.attributes) * len(board.structures)
    return _kept_tables(
        scores, BASELINE, ranked=ranked, margin=_margin(board), views=views, twins=board.twins
    )


def _kept_tables(scores: equity.Scores, baseline: str, **options: Any) -> Tables:
    """Return the tables from what is kept; where they are new, from what is kept of each method's draws."""
    asked = (scores, baseline), options
    return made(
        "harness.equity.tables.tables", asked, partial(equity.tables, *asked[0], **options, keep=each)
    )


def _scores(
    board: Board, names: list[str], attribute: str, structure: str, metric: Metric
) -> equity.Scores | None:
    values = {name: board.matrix(name, attribute, structure, metric.key) for name in names}
    return board.equity_scores(values, attribute, metric.higher_is_better, board.rows(structure))


def _margin(board: Board) -> float:
    return float(board.record.protocol.get("claims", {}).get("equivalence_margin", equity.MARGIN))


def _enough(board: Board, names: list[str], attribute: str, structure: str) -> list[Line]:
    part = [name for name in names if _takes_part(board, name, attribute)]
    scores = _scores(board, part, attribute, structure, METRICS[0])
    assert scores is not None
    try:
        return _lines(kept(equity.enough, scores))
    except HarnessError:  # one method or one seed: there is nothing to reckon from
        return []


def _unknown(board: Board, names: list[str], attribute: str, structure: str) -> list[Line]:
    scores = _scores(board, names, attribute, structure, METRICS[0])
    assert scores is not None
    return _lines(kept(equity.unknown, scores))


def _lines(table: pd.DataFrame) -> list[Line]:
    return [{str(name): value for name, value in line.items()} for line in table.to_dict("records")]


def _by_method(table: pd.DataFrame) -> Lines:
    lines: Lines = {}
    columns = [table[name].tolist() for name in table.columns]
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
        "ranks": _takes_part(board, name, attribute),
        "trained": entry.trained(attribute),
        "seeds": tuple(record.seed for record in done),
        "errors": tuple(entry.failed(attribute)),
    }
    if not done or not lines:
        return Row(**common)
    missed = board.matrix(name, attribute, structure, "missed")
    assert missed is not None
    dice = lines.get("dice")
    return Row(
        **common,
        **(_rank(board, dice, name, common["obtained"]) if dice else {}),
        metrics={metric: _quantities(of.summary[name]) for metric, of in lines.items()},
        groups={m.key: _groups(lines[m.key].summary[name], m) for m in METRICS if m.key in lines},
        noise={metric: _noise(of.noise[name]) for metric, of in lines.items()},
        versus=_versus(board, name, dice) if dice else None,
        family=_family(dice.family.get(name)) if dice else None,
        missed=int(np.nansum(missed)),
        scored=int((~np.isnan(missed)).sum()),
        # What it took to train, predictions alone do not tell.
        cost=None if common["obtained"] == "predictions" else board.cost(name, attribute),
    )


def _rank(board: Board, dice: _Lines, name: str, obtained: Obtained | None) -> dict[str, Any]:
    ranking, methods = dice.ranking.get(name, []), len(dice.ranking)
    if not ranking or pd.isna(ranking[0]["rank"]):
        return {}
    (row,) = ranking
    # A lead over ERM and others may be that of the further epochs, which only the twin shows.
    beside_its_twin = name not in board.twins or board.twins[name] in dice.ranking
    return {
        "rank": int(row["rank"]),
        "rank_low": int(row["rank_low"]),
        "rank_high": int(row["rank_high"]),
        "p_best": float(row["p_best"]),
        "best": bool(row["p_best"] >= SURE and row["rank_high"] == 1)
        and methods > 1
        and beside_its_twin
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


def _versus(board: Board, name: str, lines: _Lines) -> Difference | None:
    comparison, base = lines.comparison.get(name), board.twins.get(name, BASELINE)
    than = twins.spoken(base, board.recipe)
    if comparison is None:
        lacks = Number(note=f"not compared: {than} has not run here")
        return Difference(base, than, lacks) if name in board.twins else None
    own = {row["quantity"]: row for row in comparison}
    es = own["es_sum"]
    better = bool(es["better"]) if isinstance(es["better"], bool | np.bool_) else None
    # The interval that its p-value and the letters go with.
    number = Number.of(es | {"low": es["low_adjusted"], "high": es["high_adjusted"]}, "difference")
    return Difference(
        base,
        than,
        number,
        float(es["p_adjusted"]),
        better,
        str(own["gap"]["verdict"]),
        str(es["verdict"]),
        _margin(board),
        _lost(name, base, comparison, lines.summary) if number.value > 0 else None,
    )


def _lost(name: str, base: str, comparison: list[Line], summary: Lines) -> int | None:
    """Return in how many groups a method lost beyond chance, None where it did not lose in every one."""
    mine, other = (
        {row["group"]: row["estimate"] for row in summary[method] if row["quantity"] == "group"}
        for method in (name, base)
    )
    change = [mine[group] - other[group] for group in mine if not math.isnan(mine[group])]
    if not change or max(change) >= 0:
        return None
    return len([row for row in comparison if row["quantity"] == "group" and row["better"] is False])


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
