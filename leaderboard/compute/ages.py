"""A method's Dice along a numeric attribute such as age: a curve with a band, where bins hide the shape."""

from __future__ import annotations

import numpy as np

from harness.equity.along import Point as Point
from harness.equity.along import smooth as smooth
from leaderboard.read.boards import Board


def of_method(board: Board, name: str, attribute: str) -> list[Point]:
    """Return the curve on the structure that ranks; empty where no numbers are behind the groups."""
    scores = board.matrix(name, attribute, board.structures[0], "dice")
    column = f"{attribute}_value"
    if scores is None or column not in board.test:
        return []
    tested = board.tested(board.structures[0])
    value = tested[column].to_numpy(float)
    known = ~np.isnan(value)
    patients = tested["patient"].to_numpy().astype(str)
    return smooth(value[known], np.nanmean(scores, axis=0)[known], patients[known])
