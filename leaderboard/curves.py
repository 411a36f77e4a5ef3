"""Learning curves by group, as a figure."""

from __future__ import annotations

import pandas as pd

from harness.store import Store, names
from leaderboard.data import Board
from leaderboard.figures import SHAPES, Figure, Spec
from leaderboard.labels import WIDTH
from leaderboard.svg import COLOURS, draw


def of_method(store: Store, board: Board, method: str, attribute: str) -> Figure | None:
    """Return the training loss by epoch for each group, averaged over seeds; None without a curve."""
    done = board.entries[method].done(attribute)
    there = [record.id for record in done if (store.path(record.id) / names.CURVE).is_file()]
    curves = [curve for one in there if (curve := store.spared(store.curve, one)) is not None]
    rows = pd.concat(curves) if curves else pd.DataFrame(columns=["quantity", "attribute"])
    rows = rows[(rows["quantity"] == "loss") & (rows["attribute"] == attribute)]
    if rows.empty:
        return None
    mean = rows.groupby(["epoch", "group"], sort=False)["value"].mean().reset_index()
    names = [group for group in board.record.groups[attribute] if (mean["group"] == group).any()]
    return Figure(
        "Training loss of every group",
        f"by epoch, mean over {len(done)} seed{'s' if len(done) != 1 else ''}.",
        draw(_spec(mean, names), f"Training loss by epoch of {', '.join(names)}"),
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
    colours = {"domain": names, "range": [COLOURS[f"g{i % 6}"] for i in range(len(names))]}
    shapes = {"domain": names, "range": [SHAPES[i % 6] for i in range(len(names))]}
    colour = {"field": "group", "type": "nominal", "scale": colours}
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
            "color": colour,
        },
        "layer": [
            {"mark": {"type": "line", "aria": False, "strokeWidth": 2}},
            {
                "mark": {"type": "point", "filled": True, "size": 40, "opacity": 1},
                "encoding": {
                    "shape": {"field": "group", "type": "nominal", "scale": shapes},
                    "description": {"field": "said", "type": "nominal"},
                },
            },
        ],
    }
