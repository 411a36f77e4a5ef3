"""A method's Dice by size of the true structure, and its gap at equal sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness import equity
from harness.equity import MIN_PATIENTS
from harness.equity.comparison import ALPHA
from harness.equity.standardise import standardised, strata
from leaderboard.compute.row import Number
from leaderboard.compute.sections import Section
from leaderboard.kept import kept
from leaderboard.read.boards import Board

NAMES = ("small", "medium", "large")
NOTHING = Number(note="a group has too few patients of one size")


@dataclass(frozen=True)
class Stratum:
    """Test samples whose true structure is about as large; groups: Dice by group, None where too few."""

    name: str
    low: float
    high: float
    samples: int
    groups: tuple[float | None, ...]


@dataclass(frozen=True)
class Anatomy:
    """A method by size, with its gap as it is and at equal sizes."""

    strata: tuple[Stratum, ...]
    gap: Number
    p: float
    at_equal_sizes: Number
    p_at_equal_sizes: float
    """p: of the gaps under random relabelling, as on the board."""

    @property
    def finding(self) -> str:
        """What the two gaps say."""
        if not self.at_equal_sizes.there:
            return "The groups' sizes overlap too little to compare them at equal sizes."
        if self.p > ALPHA:
            return "There is no gap beyond chance to explain."
        if self.p_at_equal_sizes > ALPHA:
            return "At equal sizes the gap cannot be told from chance: size may be all there is to it."
        return "The gap remains when sizes are adjusted for in thirds: size explains no more than a part."


def of_method(board: Board, section: Section, name: str) -> Anatomy | None:
    """Return a method by size of the section's structure; None where sizes or scores are missing."""
    attribute, structure, row = section.attribute, section.structure, section.row(name)
    size = board.size(structure)
    scores = board.matrix(name, attribute, structure, "dice")
    if size is None or scores is None:
        return None
    if board.tested(structure)[attribute].isna().all():
        return None
    whole = board.equity_scores({name: scores}, attribute, rows=board.rows(structure))
    if whole is None or len(whole.kept) < 2:
        return None
    level = standardised(whole, size)
    gap, p = (NOTHING, math.nan) if level is None else _gap(level)
    return Anatomy(_strata(scores, size, whole), row.number("dice", "gap"), row.noise["dice"].p, gap, p)


def _strata(scores: np.ndarray, size: np.ndarray, whole: equity.Scores) -> tuple[Stratum, ...]:
    average, stratum = np.nanmean(scores, axis=0), strata(size)
    found = []
    for t in range(int(stratum.max()) + 1):
        here = stratum == t
        means = tuple(_mean(average, here & (whole.groups == group), whole) for group in whole.order)
        name = NAMES[t] if stratum.max() + 1 == len(NAMES) else f"size {t + 1}"
        name = "empty" if not size[here].any() else name
        found.append(Stratum(name, float(size[here].min()), float(size[here].max()), int(here.sum()), means))
    return tuple(found)


def _mean(average: np.ndarray, mine: np.ndarray, whole: equity.Scores) -> float | None:
    few = len(set(whole.patients[mine].tolist())) < MIN_PATIENTS
    return None if few else float(average[mine].mean())


def _gap(scores: equity.Scores) -> tuple[Number, float]:
    row, noise = (
        table.query("quantity == 'gap' and group == ''").to_dict("records")[0]
        for table in kept(_with_noise, scores)
    )
    return Number.of(row), float(noise["p"])


def _with_noise(scores: equity.Scores) -> tuple[pd.DataFrame, pd.DataFrame]:
    draws = equity.resample(scores, resamples=equity.FEWER)
    return equity.summarise(draws), equity.noise_floor(draws)
