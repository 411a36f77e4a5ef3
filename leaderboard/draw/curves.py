"""Learning curves by group, as a figure."""

from __future__ import annotations

import pandas as pd

from harness.store import Store
from leaderboard.compute import curves
from leaderboard.draw.labels import WIDTH
from leaderboard.draw.parts import Figure, Spec, by_colour, by_shape
from leaderboard.draw.svg import COLOURS, Drawing
from leaderboard.read.boards import Board


def of_method(store: Store, board: Board, method: str, attribute: str) -> Figure | None:
    """Return the training loss by epoch for each group, averaged over seeds; None below two epochs."""
    mean = curves.of_method(store, board, method, attribute)
    if mean is None or mean["epoch"].nunique() < 2:
        return None  # a point is no curve
    seeds = len(board.entries[method].done(attribute))
    names = [group for group in board.record.groups[attribute] if (mean["group"] == group).any()]
    return Figure(
        "Training loss of every group",
        f"by epoch, mean over {seeds} seed{'s' if seeds != 1 else ''}.",
        Drawing(_spec(mean, names), f"Training loss by epoch of {', '.join(names)}"),
    )


def _spec(mean: pd.DataFrame, names: list[str]) -> Spec:
    data = [
        {
            "epoch": int(row["epoch"]) + 1,
            "group": row["group"],
            "loss": row["value"],
            "said": f"{row['group']}, epoch {int(row['epoch']) + 1}: {row['value']:.3f}",
        }
        for row in mean.to_dict("records")
    ]
    return {
        "width": WIDTH,
        "height": 180,
        "data": {"values": data},
        "encoding": {
            "x": {
                "field": "epoch",
                "type": "quantitative",
                "title": "epoch",
                "axis": {"tickMinStep": 1, "format": "d", "grid": False},
                "scale": {"zero": False},
            },
            "y": {
                "field": "loss",
                "type": "quantitative",
                "title": "loss",
                "axis": {"tickCount": 5, "labelColor": COLOURS["soft"]},
            },
            "color": by_colour("group", names),
        },
        "layer": [
            {"mark": {"type": "line", "aria": False, "strokeWidth": 2}},
            {
                "mark": {"type": "point", "filled": True, "size": 40, "opacity": 1},
                "encoding": {
                    "shape": by_shape("group", names),
                    "description": {"field": "said", "type": "nominal"},
                },
            },
        ],
    }
