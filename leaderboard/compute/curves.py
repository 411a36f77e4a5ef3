"""Learning curves: the training loss of every group by epoch."""

from __future__ import annotations

import pandas as pd

from harness.store import Store, names
from leaderboard.read.boards import Board


def of_method(store: Store, board: Board, method: str, attribute: str) -> pd.DataFrame | None:
    """Return columns epoch (from 0), group and value, the mean over seeds; None without a curve."""
    done = board.entries[method].done(attribute)
    trials = [trial for record in done for trial in board.trials_of(record)]
    there = [trial for trial in trials if (store.path(trial) / names.CURVE).is_file()]
    curves = [curve for one in there if (curve := store.spared(store.curve, one)) is not None]
    rows = pd.concat(curves) if curves else pd.DataFrame(columns=["quantity", "attribute"])
    rows = rows[(rows["quantity"] == "loss") & (rows["attribute"] == attribute)]
    return None if rows.empty else rows.groupby(["epoch", "group"], sort=False)["value"].mean().reset_index()
