"""The tracks of a board: what needs a patient's attribute to predict is ranked among itself, beside ERM."""

from __future__ import annotations

from collections.abc import Iterable

from harness.protocol import BASELINE
from leaderboard.read.boards import Board

MAIN, AT_TEST = "main", "at-test"


def of_board(board: Board) -> list[str]:
    """Return the tracks that a board has rows of; the main one is always there."""
    return [MAIN, AT_TEST] if any(entry.at_test for entry in board.entries.values()) else [MAIN]


def methods(board: Board, track: str) -> list[str]:
    """Return the methods of a track in the board's order; what they are held against, ERM, is in both."""
    at_test = track == AT_TEST
    wanted = {name for name, entry in board.entries.items() if entry.at_test is at_test}
    if at_test:
        wanted |= {BASELINE, *(board.twins[name] for name in wanted if name in board.twins)}
    return [name for name in board.entries if name in wanted]


def of_method(board: Board, method: str) -> str:
    """Return the track that a method is ranked in, ERM's being the main one."""
    return AT_TEST if board.entries[method].at_test else MAIN


def among(track: str, attributes: Iterable[str]) -> str:
    """Return what a reader is told after a ranking's name, "" of the main track."""
    names = " or ".join(attributes)
    return f", with {names} read at test time" if track == AT_TEST else ""
