"""How a method does where two attributes meet: race x gender and the like."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from harness import equity
from harness.equity import MIN_PATIENTS
from leaderboard.compute.row import Number
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
    both = (test[attribute].notna() & test[other].notna()).to_numpy(bool)
    # Positions, because a name may hold whatever would join two names.
    a, b = (
        test[name].map({g: i for i, g in enumerate(groups)}).fillna(-1).to_numpy(int)
        for name, groups in ((attribute, first), (other, second))
    )
    cells = np.where(both, a * len(second) + b, -1)
    scores = {
        name: values
        for name in board.entries
        if (values := board.matrix(name, attribute, board.structures[0], "dice")) is not None
    }
    if not scores or not both.any():
        return {}
    labels = np.array([None if cell < 0 else str(cell) for cell in cells], dtype=object)
    order = [str(cell) for cell in range(len(first) * len(second))]
    summary = equity.summarise(
        equity.resample(
            equity.Scores(scores, labels, test["patient"].to_numpy(), order=order), resamples=equity.FEWER
        )
    )
    by_group = summary[summary["quantity"] == "group"]
    return {
        name: Crossing(attribute, other, second, _rows(by_group[by_group["method"] == name], first, second))
        for name in scores
    }


def _rows(table: object, first: tuple[str, ...], second: tuple[str, ...]) -> list[tuple[str, list[Cell]]]:
    rows = {row.group: row for row in table.itertuples()}  # type: ignore[attr-defined]
    cells = [_cell(rows[str(cell)]) for cell in range(len(first) * len(second))]
    drawn = _shrunk(cells, len(second))
    cells = [replace(cell, shrunk=value) for cell, value in zip(cells, drawn, strict=True)]
    return [(group, cells[i * len(second) : (i + 1) * len(second)]) for i, group in enumerate(first)]


def _shrunk(cells: list[Cell], columns: int) -> np.ndarray:
    means = np.array([cell.number.value for cell in cells])
    # A 95% interval is 2 x 1.96 errors wide.
    errors = np.array([(cell.number.high - cell.number.low) / 3.92 for cell in cells])
    return equity.shrunk(means.reshape(-1, columns), errors.reshape(-1, columns) ** 2).ravel()


def _cell(row: object) -> Cell:
    samples, patients, estimate, low, high = (
        getattr(row, key) for key in ("samples", "patients", "estimate", "low", "high")
    )
    number = Number(float(estimate), float(low), float(high)) if patients >= MIN_PATIENTS else Number()
    return Cell(int(samples), int(patients), number)
