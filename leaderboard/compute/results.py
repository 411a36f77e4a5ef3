"""Boards -> results: what is computed of a whole board, once for all files of the site."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard.compute import across, intersections, sections, stability
from leaderboard.compute.across import Across
from leaderboard.compute.intersections import Crossing
from leaderboard.compute.sections import Section
from leaderboard.read.boards import Board

LARGE = 40
"""Boards of more methods have neither figures nor intersections on the methods' own pages, and no other
choices under their tables: each takes a tenth of a second."""


@dataclass(frozen=True)
class Result:
    """A board with its tables, with all of them together, and with its attributes crossed.

    across: None where there is nothing to put together; crossings: attribute to method to its crossings.
    """

    board: Board
    sections: list[Section]
    across: Across | None
    crossings: dict[str, dict[str, list[Crossing]]]

    @property
    def large(self) -> bool:
        """Whether the board has too many methods for a closer look at each."""
        return len(self.board.entries) > LARGE

    def stable(self, section: Section) -> str:
        """Say whether a section's first place holds under other choices; "" where that is not asked."""
        found = None if self.large else stability.of_section(self.board, section)
        return "" if found is None else found.sentence({row.method: row.title for row in section.rows})


def of_board(board: Board) -> Result:
    """Compute a board's tables, and what is computed from all of them."""
    found = sections.of_board(board)
    result = Result(board, found, across.of_board(board, found), {})
    for attribute in [] if result.large else board.attributes:
        result.crossings[attribute] = intersections.crossings(board, attribute)
    return result
