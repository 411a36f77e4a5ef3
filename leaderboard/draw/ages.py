"""A method's Dice along a numeric attribute such as age, as a figure."""

from __future__ import annotations

from harness.equity import MIN_PATIENTS
from leaderboard.compute import ages, words
from leaderboard.draw.labels import WIDTH
from leaderboard.draw.parts import Figure, Spec
from leaderboard.draw.svg import COLOURS, Drawing
from leaderboard.read.boards import Board


def of_method(board: Board, name: str, attribute: str) -> Figure | None:
    """Return the curve of an attribute that has numbers behind its groups, else None."""
    points = ages.of_method(board, name, attribute)
    if len(points) < 2:
        return None
    structure = board.structures[0]
    ends = [
        f"{words.number(y)} ({words.number(low)} to {words.number(high)}) at {x:.0f}"
        for x, y, low, high in (points[0], points[-1])
    ]
    label = f"{structure} Dice along {attribute}: {ends[0]}, {ends[1]}"
    caption = (
        f"{structure}, smoothed over neighbours, with the 95% band that resampling patients gives; "
        f"only where at least {MIN_PATIENTS} patients count."
    )
    return Figure(f"Dice along {attribute}", caption, Drawing(_spec(points, attribute), label))


def _spec(points: list[ages.Point], attribute: str) -> Spec:
    data = [{"x": x, "value": y, "low": low, "high": high} for x, y, low, high in points]
    x = {"field": "x", "type": "quantitative", "title": attribute, "scale": {"zero": False}}
    y = {"field": "low", "type": "quantitative", "title": "Dice", "scale": {"zero": False}}
    band: Spec = {
        "mark": {"type": "area", "aria": False},
        "encoding": {"x": x, "y": y, "y2": {"field": "high"}, "color": {"value": COLOURS["band"]}},
    }
    line: Spec = {
        "mark": {"type": "line"},
        "encoding": {"x": x, "y": y | {"field": "value"}, "color": {"value": COLOURS["accent"]}},
    }
    return {"width": WIDTH, "height": 180, "data": {"values": data}, "layer": [band, line]}
