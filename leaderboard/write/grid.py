"""Every method under every protocol and attribute: the table over all boards of a site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.compute import tracks
from leaderboard.compute.row import Row
from leaderboard.compute.sections import Section
from leaderboard.write.addresses import BoardPage


@dataclass(frozen=True)
class Place:
    """A column: a protocol and an attribute, by the structure that ranks. sections: a track each."""

    page: BoardPage
    attribute: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Cell:
    """A method's row in a column, where it is told in full, and among how many it is ranked."""

    url: str
    row: Row
    among: int
    track: str


@dataclass(frozen=True)
class Line:
    """A method: its name, its title on the first board that has it, and a cell for every column."""

    name: str
    title: str
    cells: tuple[Cell | None, ...]


def places(pages: Sequence[BoardPage]) -> list[Place]:
    """Return the columns, board by board."""
    found = []
    for page in pages:
        ranking = [one for one in page.sections if one.structure == page.board.structures[0]]
        for attribute in dict.fromkeys(one.attribute for one in ranking):
            own = tuple(one for one in ranking if one.attribute == attribute)
            found.append(Place(page, attribute, own))
    return found


def lines(columns: Sequence[Place]) -> list[Line]:
    """Return a line a method, by title; a method that is on no board with a rank has none."""
    found: dict[str, list[Cell | None]] = {}
    titles: dict[str, str] = {}
    for i, place in enumerate(columns):
        for cell in _cells(place):
            name = cell.row.method
            titles.setdefault(name, cell.row.title)
            found.setdefault(name, [None] * len(columns))[i] = cell
    order = sorted(found, key=lambda name: (titles[name].casefold(), name))
    return [Line(name, titles[name], tuple(found[name])) for name in order]


def _cells(place: Place) -> list[Cell]:
    return [
        Cell(place.page.method_url(row.method), row, len(section.ranked), section.track)
        for section in place.sections
        for row in section.rows
        # The baseline of another track is the main track's row once more.
        if section.track == tracks.MAIN or row.method != section.baseline
    ]
