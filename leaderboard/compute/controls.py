"""A method beside its twins: what is left of its gain when one thing is taken away from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from harness import equity
from harness.equity import FEWER, LEAST_SEEDS
from harness.equity.comparison import ALPHA
from harness.multiplicity import holm
from leaderboard.compute.row import Number
from leaderboard.kept import kept
from leaderboard.read.boards import Board, Entry

NOTHING = Number()


@dataclass(frozen=True)
class Twin:
    """One control under an attribute: its scores, and the method's minus its, paired.

    better: whether the method's ES-Dice is higher (True) or lower (False) beyond chance, after Holm's
    adjustment over the method's controls; None where it cannot be told.
    """

    name: str
    done: int
    planned: int
    error: str = ""
    es: Number = NOTHING
    gap: Number = NOTHING
    es_difference: Number = NOTHING
    gap_difference: Number = NOTHING
    p: float = math.nan
    better: bool | None = None

    @property
    def finding(self) -> str:
        """What the comparison says, in words."""
        if not self.es_difference.there:
            return f"failed: {self.error}" if self.error else self.es_difference.note or "not run yet"
        if math.isnan(self.p):
            return f"not tested: fewer than {LEAST_SEEDS} seeds"
        if self.better is None:
            return "the method cannot be told apart from it"
        return "the method is better" if self.better else "the method is worse"


def of_method(board: Board, method: str, attribute: str) -> list[Twin]:
    """Return a method's controls for the structure that ranks, with their differences from it."""
    own = board.matrix(method, attribute, board.structures[0], "dice")
    found = [_twin(board, entry, own, attribute) for entry in board.controls.get(method, [])]
    adjusted = holm(np.array([twin.p for twin in found]))
    return [
        replace(twin, p=float(p), better=twin.es_difference.value > 0 if p <= ALPHA else None)
        for twin, p in zip(found, adjusted, strict=True)
    ]


def _twin(board: Board, entry: Entry, own: np.ndarray | None, attribute: str) -> Twin:
    failed = entry.failed(attribute)
    twin = Twin(
        name=entry.name.partition(": ")[2],
        done=len(entry.done(attribute)),
        planned=len(entry.under(attribute)),
        error=failed[0].error if failed else "",
    )
    scores = board.scores_of(entry, attribute, board.structures[0], "dice")
    if scores is None or own is None or board.tested(board.structures[0])[attribute].isna().all():
        return twin
    both = board.equity_scores({"method": own, "twin": scores}, attribute)
    assert both is not None
    common = int((~np.isnan(own).all(axis=1) & ~np.isnan(scores).all(axis=1)).sum())
    levels, apart = kept(_with_differences, both)
    return replace(
        twin,
        es=_number(levels[levels["method"] == "twin"], "es_sum", "estimate"),
        gap=_number(levels[levels["method"] == "twin"], "gap", "estimate"),
        es_difference=_number(apart, "es_sum", "difference"),
        gap_difference=_number(apart, "gap", "difference"),
        p=float(apart.loc[apart["quantity"] == "es_sum", "p"].iloc[0]) if common >= LEAST_SEEDS else math.nan,
    )


def _with_differences(both: equity.Scores) -> tuple[pd.DataFrame, pd.DataFrame]:
    draws = equity.resample(both, resamples=FEWER)
    return equity.summarise(draws), equity.compare(draws, baseline="twin", least_seeds=LEAST_SEEDS)


def _number(table: pd.DataFrame, quantity: str, key: str) -> Number:
    (row,) = table[table["quantity"] == quantity].to_dict("records")
    return Number.of(row, key)
