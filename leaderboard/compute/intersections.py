"""How a method does where two attributes meet: race x gender and the like."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from harness import equity
from harness.equity import MIN_PATIENTS
from harness.equity.crossed import crossed
from leaderboard.compute.row import Number
from leaderboard.kept import kept
from leaderboard.read.boards import Board


@dataclass(frozen=True)
class Cell:
    """The test samples that are in a group of each attribute, and a method's Dice on them."""

    samples: int
    patients: int
    number: Number
    shrunk: float = math.nan
    """The same, drawn towards what the two groups have each on their own, the more the fewer they are."""

    @property
    def few(self) -> bool:
        """Whether the cell is too small to say anything."""
        return not self.number.there


@dataclass(frozen=True)
class Crossing:
    """A method trained under `attribute`, by its groups (rows) and those of `other` (columns)."""

    attribute: str
    other: str
    columns: tuple[str, ...]
    rows: list[tuple[str, list[Cell]]]


def crossings(board: Board, attribute: str) -> dict[str, list[Crossing]]:
    """Return method -> its crossings of an attribute with each other one, on the first structure."""
    found: dict[str, list[Crossing]] = {}
    for other in board.attributes:
        if other != attribute:
            for method, crossing in _cross(board, attribute, other).items():
                found.setdefault(method, []).append(crossing)
    return found


def _cross(board: Board, attribute: str, other: str) -> dict[str, Crossing]:
    first, second = board.record.groups[attribute], board.record.groups[other]
    test = board.tested(board.structures[0])
    scores = {
        name: values
        for name in board.entries
        if (values := board.matrix(name, attribute, board.structures[0], "dice")) is not None
    }
    groups = test[attribute].to_numpy(object), test[other].to_numpy(object)
    patients = test["patient"].to_numpy()
    found = kept(crossed, scores, groups, (first, second), patients, equity.FEWER)
    return {
        str(name): Crossing(attribute, other, second, _rows(own, first, len(second)))
        for name, own in found.groupby("method", sort=False)
    }


def _rows(table: pd.DataFrame, first: tuple[str, ...], columns: int) -> list[tuple[str, list[Cell]]]:
    cells = [_cell(row) for row in table.itertuples()]
    return [(group, cells[i * columns : (i + 1) * columns]) for i, group in enumerate(first)]


def _cell(row: object) -> Cell:
    samples, patients, estimate, low, high, drawn = (
        getattr(row, key) for key in ("samples", "patients", "estimate", "low", "high", "shrunk")
    )
    number = Number(float(estimate), float(low), float(high)) if patients >= MIN_PATIENTS else Number()
    return Cell(int(samples), int(patients), number, float(drawn))
