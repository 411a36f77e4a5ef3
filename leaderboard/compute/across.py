"""The methods over all attributes and structures of a board together: a critical-difference view."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import numpy as np

from harness import equity
from harness.equity.many import MANY
from harness.protocol import BASELINE
from leaderboard.compute import tracks
from leaderboard.compute.row import Number, Row
from leaderboard.compute.sections import Section
from leaderboard.kept import kept
from leaderboard.read.boards import Board


@dataclass(frozen=True)
class Line:
    """A method's mean ES-Dice over the views, and where it stands in each."""

    method: str
    title: str
    es: Number
    """Mean over the views, with the mean of their intervals: that of a mean cannot be wider."""
    mean_rank: float
    rank_low: int
    rank_high: int
    letters: str
    rows: tuple[Row, ...]
    """Its row in every view."""


@dataclass(frozen=True)
class Across:
    """Methods of a track by mean ES-Dice (sum), best first, over `views`; `missing` lack one of them."""

    views: tuple[Section, ...]
    lines: tuple[Line, ...]
    missing: tuple[str, ...]
    track: str = tracks.MAIN


def of_board(board: Board, sections: list[Section]) -> list[Across]:
    """Return the comparison of each track that has one."""
    found = (_of_track(board, sections, track) for track in tracks.of_board(board))
    return [one for one in found if one is not None]


def _of_track(board: Board, sections: list[Section], track: str) -> Across | None:
    """Return the comparison; None for a single view, for fewer than two methods, and for very many."""
    views = [section for section in sections if section.ranked and section.track == track]
    ranked = [[row.method for row in section.ranked] for section in views]
    names = [name for name in board.entries if all(name in methods for methods in ranked)]
    if len(views) < 2 or not 2 <= len(names) <= MANY:
        return None
    # One set of samples for all, those in which every structure is scored.
    rows = np.logical_and.reduce([board.rows(view.structure) for view in views])
    scores = [_scores(board, names, view, rows) for view in views]
    if any(len(one.kept) < 2 for one in scores):
        return None
    table = kept(equity.across, scores, least_seeds=equity.LEAST_SEEDS, baseline=BASELINE, twins=board.twins)
    lines = tuple(
        Line(
            row["method"],
            board.entries[row["method"]].info.title,
            _mean([view.row(row["method"]).number("dice", "es_sum") for view in views]),
            row["mean_rank"],
            row["rank_low"],
            row["rank_high"],
            row["letters"],
            tuple(view.row(row["method"]) for view in views),
        )
        for row in table.to_dict("records")
    )
    some = {name for methods in ranked for name in methods}
    missing = tuple(entry.info.title for name, entry in board.entries.items() if name in some - set(names))
    return Across(tuple(views), lines, missing, track)


def _mean(numbers: list[Number]) -> Number:
    value, low, high = (fmean(getattr(one, key) for one in numbers) for key in ("value", "low", "high"))
    return Number(value, low, high)


def _scores(board: Board, names: list[str], view: Section, rows: np.ndarray) -> equity.Scores:
    whole = {name: board.whole(board.entries[name], view.attribute, view.structure, "dice") for name in names}
    found = {name: None if values is None else values[:, rows] for name, values in whole.items()}
    scores = board.equity_scores(found, view.attribute, rows=rows)
    assert scores is not None
    return scores
