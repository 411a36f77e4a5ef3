"""Every method under every protocol and attribute: the table over all boards of a site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.write.overview import Cell, Column, Overview


@dataclass(frozen=True)
class Place:
    """A column of the table and the board that it is of."""

    board: Overview
    column: Column


@dataclass(frozen=True)
class Line:
    """A method: its name, its title on the first board that has it, and a cell for every column."""

    name: str
    title: str
    cells: tuple[Cell | None, ...]


def places(boards: Sequence[Overview]) -> list[Place]:
    """Return the columns, board by board."""
    return [Place(board, column) for board in boards for column in board.columns]


def lines(columns: Sequence[Place]) -> list[Line]:
    """Return a line a method, by title."""
    titles: dict[str, str] = {}
    for place in columns:
        for name, cell in place.column.cells.items():
            titles.setdefault(name, cell.title)
    order = sorted(titles, key=lambda name: (titles[name].casefold(), name))
    return [
        Line(name, titles[name], tuple(place.column.cells.get(name) for place in columns)) for name in order
    ]
