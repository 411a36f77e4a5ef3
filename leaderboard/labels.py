"""Names beside the points of a figure, moved apart where they would lie on one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leaderboard.svg import COLOURS

WIDTH = 380
HEIGHT = 220
FONT = 12
_BESIDE = 8
_PLACES = tuple((side, below) for below in (-6, 14, -18, 26, -30, 38) for side in (1, -1))
"""Where to try: to the right (1) or left (-1) of the point, and pixels below it."""

Spec = dict[str, Any]
Box = tuple[float, float, float, float]
Place = tuple[int, int]


def names(data: Sequence[Spec], x: Spec, y: Spec) -> Spec:
    """Return a layer with each point's `method` beside it; x and y are the encodings of the points.

    A datum's `span` is the low and high end of its intervals, ((x, x), (y, y)), which set the axes' ends.
    """
    places = _places(data, x, y)
    values = [datum | {"side": s, "below": b} for datum, (s, b) in zip(data, places, strict=True)]
    mark = {
        "type": "text",
        "align": {"expr": "datum.side > 0 ? 'left' : 'right'"},
        "dx": {"expr": f"datum.side * {_BESIDE}"},
        "dy": {"expr": "datum.below"},
        "fontSize": FONT,
    }
    text = {"field": "method"}
    return {
        "data": {"values": values},
        "mark": mark,
        "encoding": {"x": x, "y": y, "text": text, "color": {"value": COLOURS["ink"]}},
    }


def _places(data: Sequence[Spec], x: Spec, y: Spec) -> list[Place]:
    """Return for each point where its name stands, the higher points first; the points stay free too."""
    across, down = _pixels(data, x, 0, WIDTH), _pixels(data, y, 1, HEIGHT)
    if not y["scale"].get("reverse"):
        down = [HEIGHT - at for at in down]
    taken = [(a - 5, d - 5, a + 5, d + 5) for a, d in zip(across, down, strict=True)]
    chosen = [_PLACES[0]] * len(data)
    for i in sorted(range(len(data)), key=lambda i: (down[i], across[i])):
        width = 0.6 * FONT * len(data[i]["method"])
        boxes = {place: _box(across[i], down[i], place, width) for place in _PLACES}
        free = [place for place, box in boxes.items() if not any(_meet(box, other) for other in taken)]
        chosen[i] = free[0] if free else _PLACES[0]
        taken.append(boxes[chosen[i]])
    return chosen


def _pixels(data: Sequence[Spec], encoding: Spec, axis: int, size: int) -> list[float]:
    """Return where the values stand, but for the rounding of the axis to nice numbers."""
    ends = [end for datum in data for end in datum["span"][axis]]
    low, high = min(ends), max(ends)
    if encoding["scale"]["zero"]:
        low = min(low, 0.0)
    return [size * (float(datum[encoding["field"]]) - low) / (high - low or 1.0) for datum in data]


def _box(across: float, down: float, place: Place, width: float) -> Box:
    side, below = place
    near, far = across + side * _BESIDE, across + side * (_BESIDE + width)
    return min(near, far), down + below - FONT, max(near, far), down + below + 2


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
