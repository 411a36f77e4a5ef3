"""Boards -> results: what is computed of a whole board, once for all files of the site."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from leaderboard.compute import across, intersections, stability
from leaderboard.compute.across import Across
from leaderboard.compute.intersections import Crossing
from leaderboard.compute.sections import Section
from leaderboard.compute.stability import Stability
from leaderboard.read.boards import Board
from leaderboard.spared import Spared

LARGE = 40
"""Boards of more methods have neither figures nor intersections on the methods' own pages, and no other
choices under their tables: each takes a tenth of a second."""

ACROSS, CROSSINGS = "across", "crossings of"
"""What is computed of a whole board, as `Result.why` names it."""


@dataclass(frozen=True)
class Result:
    """A board with its tables, with all of them together, and with its attributes crossed.

    across: one a track, none where there is nothing to put together; crossings: attribute to method to its
    crossings; why: "across", or "crossings of ATTRIBUTE", to why it could not be computed.
    """

    board: Board
    sections: list[Section]
    across: list[Across]
    crossings: dict[str, dict[str, list[Crossing]]]
    why: dict[str, str] = field(default_factory=dict)

    @property
    def large(self) -> bool:
        """Whether the board has too many methods for a closer look at each."""
        return len(self.board.entries) > LARGE

    def stability(self, section: Section) -> Stability | None:
        """Return a section's order under other choices; None where that is not asked."""
        return None if self.large else stability.of_section(self.board, section)


def of_board(board: Board, found: list[Section]) -> Result:
    """Compute what is computed from all of a board's tables."""
    spared = Spared()
    together = spared.build(ACROSS, lambda: across.of_board(board, found), [])
    result = Result(board, found, together, {}, spared.why)
    for attribute in [] if result.large else board.attributes:
        crossed = partial(intersections.crossings, board, attribute)
        result.crossings[attribute] = spared.build(f"{CROSSINGS} {attribute}", crossed, {})
    return result
