"""Learning curves: the training loss of every group by epoch."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pandas as pd

from harness.store import Store, names
from leaderboard.kept import made
from leaderboard.read.boards import Board


class _Changed(Exception):
    """A curve cannot be read, or is another than a moment ago."""


def of_method(store: Store, board: Board, method: str, attribute: str) -> pd.DataFrame | None:
    """Return columns epoch (from 0), group and value, the mean over seeds; None without a curve."""
    done = board.entries[method].done(attribute)
    trials = [trial for record in done for trial in board.trials_of(record)]
    said = {record.id: record.files.get(names.CURVE) for record in done}

    def digests() -> dict[str, str]:
        return {one: digest for one in trials if (digest := store.digest(one, names.CURVE))}

    read = digests()

    def anew() -> pd.DataFrame | None:
        curves = [store.spared(store.curve, one) for one in read]
        if any(curve is None for curve in curves) or read != digests():
            raise _Changed
        return _mean(curves, attribute)

    # Of a file that is not the one that its record hashes is told again each time, whatever is kept of it.
    if all(said.get(one) in (None, digest) for one, digest in read.items()):
        with contextlib.suppress(_Changed):
            return made(f"{__name__}.of_method", (list(read.items()), attribute), anew)
    return _mean([store.spared(store.curve, one) for one in read], attribute)


def _mean(curves: Sequence[pd.DataFrame | None], attribute: str) -> pd.DataFrame | None:
    there = [curve for curve in curves if curve is not None]
    rows = pd.concat(there) if there else pd.DataFrame(columns=["quantity", "attribute"])
    rows = rows[(rows["quantity"] == "loss") & (rows["attribute"] == attribute)]
    return None if rows.empty else rows.groupby(["epoch", "group"], sort=False)["value"].mean().reset_index()
