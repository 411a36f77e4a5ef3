"""What the mean Dice hides where truths are empty: the structure found where it is, and where it is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness import equity
from harness.store import FALSE_POSITIVE_AREA
from leaderboard.compute.row import Number
from leaderboard.compute.sections import Section
from leaderboard.kept import kept
from leaderboard.read.boards import Board


@dataclass(frozen=True)
class PresenceRow:
    """A method: Dice where the structure is present and over all, detection, and what it finds in nothing.

    sensitivity: share of the truths that have it in which something is predicted; specificity: of those that
    have it not, in which nothing is; area: mean area predicted in the latter, in pixels or mm².
    """

    method: str
    title: str
    present: Number
    whole: Number
    sensitivity: Number
    specificity: Number
    area: Number


@dataclass(frozen=True)
class Presence:
    """A section's truths: how many have the structure, out of how many, and each method on both kinds."""

    there: int
    of: int
    ranks: bool
    """Whether Dice where it is present is what ranks."""
    rows: tuple[PresenceRow, ...]

    @property
    def sentence(self) -> str:
        """What is ranked, and why."""
        empty = self.of - self.there
        said = f"{empty} of {self.of} truths are empty ({empty / self.of:.0%}). "
        if self.ranks:
            return (
                f"{said}Every score above is over the {self.there} in which the structure is present: over "
                "all, it would measure how often nothing is found in nothing."
            )
        return f"{said}Scores above are over all of them; both empty is 1, one empty 0."


def of_section(board: Board, section: Section) -> Presence | None:
    """Return a section's methods in order of rank; None where every truth has the structure."""
    there = board.there(section.structure)
    if there.all() or not there.any():
        return None
    rows = []
    for row in section.rows:
        entry = board.entries[row.method]
        values = {
            key: board.whole(entry, section.attribute, section.structure, key)
            for key in ("dice", "missed", FALSE_POSITIVE_AREA)
        }
        dice, missed, area = values["dice"], values["missed"], values[FALSE_POSITIVE_AREA]
        if dice is None or missed is None or area is None:
            continue  # nothing has finished
        mean = _Mean(board, section.attribute)
        rows.append(
            PresenceRow(
                row.method,
                row.title,
                mean(dice, there),
                mean(dice, np.ones_like(there)),
                mean(1 - missed, there),
                mean(1 - missed, ~there),
                mean(area, ~there, higher_is_better=False),
            )
        )
    ranks = not bool(board.rows(section.structure).all())
    return Presence(int(there.sum()), len(there), ranks, tuple(rows))


@dataclass(frozen=True)
class _Mean:
    """The mean of some samples' scores with its interval, as the board's other means have it."""

    board: Board
    attribute: str

    def __call__(self, values: np.ndarray, rows: np.ndarray, higher_is_better: bool = True) -> Number:
        own = values[:, rows]
        if np.isnan(own).all() or self.board.test[self.attribute][rows].isna().all():
            return Number(note="not recorded")
        scores = self.board.equity_scores({"": own}, self.attribute, higher_is_better, rows)
        assert scores is not None
        (line,) = kept(_levels, scores).query("quantity == 'overall'").to_dict("records")
        return Number.of(line)


def _levels(scores: equity.Scores) -> pd.DataFrame:
    return equity.summarise(equity.resample(scores, resamples=equity.FEWER))
