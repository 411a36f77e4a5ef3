"""What something takes beside a baseline, pair by pair in one run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

PAIRS = 5

Work = Callable[[], object]


@dataclass
class Row:
    """One line: the seconds of each pair; same: how many times the baseline's work ours is.

    joules: of ours once, of each device that tells.
    """

    what: str
    baseline: str
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    same: float = 1.0
    joules: dict[str, float] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Ours over the baseline's, pair by pair, in ascending order."""
        return sorted(a / b / self.same for a, b in zip(self.ours, self.theirs, strict=True))

    def measure(self, ours: Work, theirs: Work, pairs: int = PAIRS) -> Row:
        """Time both by turns, after one of each that is not counted."""
        for counted in range(-1, pairs):
            took = (seconds(ours), seconds(theirs))
            if counted >= 0:
                self.ours.append(took[0])
                self.theirs.append(took[1])
        return self


def seconds(work: Work) -> float:
    """Return the seconds that something takes of processors."""
    return both(work)[0]


def both(work: Work) -> tuple[float, float]:
    """Return the seconds that something takes, of processors and by the clock."""
    began, clock = os.times(), time.perf_counter()
    work()
    return sum(os.times()[:4]) - sum(began[:4]), time.perf_counter() - clock


def twice(
    what: str, baseline: str, ours: Work, theirs: Work, pairs: int, before: Work = lambda: None
) -> list[Row]:
    """Return two rows of the same pairs, by processors and by the clock; `before` precedes each of ours."""
    rows = [Row(what + how, baseline) for how in ("", ", by the clock")]
    for counted in range(-1, pairs):
        before()
        for row, mine, other in zip(rows, both(ours), both(theirs), strict=True):
            if counted >= 0:
                row.ours.append(mine)
                row.theirs.append(other)
    return rows
