"""Names of methods in figures: short, and beside points moved apart where they would overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from unicodedata import east_asian_width

from leaderboard.draw.svg import COLOURS

WIDTH = 380
HEIGHT = 220
FONT = 12
LONGEST = 30
"""Characters of a title that a figure has room for."""
_BESIDE = 8
_LETTER = 0.58 * FONT
_WIDE_LETTER = 1.0 * FONT
"""Of m and w, and of the letters of Chinese, Japanese and Korean."""
_FAR = 20
"""A name further from its point than this gets a line to it."""
_MARGIN = 0.04
_PLACES = tuple(
    (side, below)
    for below in (4, -8, 16, -22, 30, -36, 44, -50, 58, -64, 72, -78, 86, -92)
    for side in (1, -1)
)
"""Where to try: to the right (1) or left (-1) of the point, and pixels below it."""

Spec = dict[str, Any]
Box = tuple[float, float, float, float]
Place = tuple[int, int]
Point = tuple[float, float]


def short(titles: Mapping[str, str]) -> dict[str, str]:
    """Return for each method a title that a figure has room for; those that look alike get their id."""
    cut = {method: _cut(title, LONGEST) for method, title in titles.items()}
    often = Counter(cut.values())
    return {
        method: name if often[name] == 1 else f"{_cut(titles[method], LONGEST // 2)} [{method}]"
        for method, name in cut.items()
    }


def _cut(title: str, longest: int) -> str:
    return title if len(title) <= longest else title[: longest - 1].rstrip() + "…"


def framed(data: Sequence[Spec], encoding: Spec, axis: int) -> Spec:
    """Return the encoding of an axis, 0 or 1, with ends that leave room around all points and intervals.

    A datum's `span` is the low and high end of its intervals, ((x, x), (y, y)).
    """
    ends = [end for datum in data for end in datum["span"][axis]]
    low, high = min(ends), max(ends)
    room = _MARGIN * ((high - low) or abs(high) or 1.0)
    low = min(low - room, 0.0) if low < 0 else 0.0 if encoding["scale"]["zero"] else low - room
    domain = [low, high + room]
    return encoding | {"scale": encoding["scale"] | {"domain": domain, "nice": False}}


def names(data: Sequence[Spec], x: Spec, y: Spec) -> list[Spec]:
    """Return layers with each point's `name` beside it, and a line to it from one that had to move away.

    x and y are the encodings of the points, `framed`. Points that coincide have one name together. A point
    whose name fits nowhere has none.
    """
    data = _together(data, x, y)
    points = list(zip(_pixels(data, x, WIDTH), _pixels(data, y, HEIGHT), strict=True))
    placed = _places([datum["name"] for datum in data], points)
    texts, leaders = [], []
    for datum, (across, down), place in zip(data, points, placed, strict=True):
        if place is None:
            continue
        side, below = place
        at = {
            **{key: datum[key] for key in (x["field"], y["field"], "name")},
            "side": side,
            "across": _value(across + side * _BESIDE, x, WIDTH),
            "down": _value(down + below, y, HEIGHT),
        }
        texts.append(at)
        if abs(below) > _FAR:
            leaders.append(at | {"down": _value(down + below - 4, y, HEIGHT)})
    rule: Spec = {
        "data": {"values": leaders},
        "mark": {"type": "rule", "aria": False, "color": COLOURS["soft"], "strokeWidth": 0.7},
        "encoding": {"x": x, "y": y, "x2": {"field": "across"}, "y2": {"field": "down"}},
    }
    text: Spec = {
        "data": {"values": texts},
        "mark": {
            "type": "text",
            "align": {"expr": "datum.side > 0 ? 'left' : 'right'"},
            "baseline": "alphabetic",
            "fontSize": FONT,
        },
        "encoding": {
            "x": x | {"field": "across"},
            "y": y | {"field": "down"},
            "text": {"field": "name"},
            "color": {"value": COLOURS["ink"]},
            "stroke": {"value": COLOURS["paper"]},
        },
    }
    return [rule, text] if leaders else [text]


def _together(data: Sequence[Spec], x: Spec, y: Spec) -> list[Spec]:
    """Return one datum for all that a reader sees as one point, with all their names."""
    found: dict[tuple[int, int], list[Spec]] = {}
    for datum, across, down in zip(data, _pixels(data, x, WIDTH), _pixels(data, y, HEIGHT), strict=True):
        found.setdefault((round(across), round(down)), []).append(datum)
    return [
        same[0] | {"name": _cut(", ".join(one["name"] for one in same), LONGEST)}
        if len(same) > 1
        else same[0]
        for same in found.values()
    ]


def _places(texts: Sequence[str], points: Sequence[Point]) -> list[Place | None]:
    """Return for each point where its name stands, the higher points first; the points stay free too."""
    taken = [(a - 5, d - 5, a + 5, d + 5) for a, d in points]
    chosen: list[Place | None] = [None] * len(points)
    for i in sorted(range(len(points)), key=lambda i: points[i][::-1]):
        for place in _PLACES:
            box = _box(points[i], place, _width(texts[i]))
            if _inside(box) and not any(_meet(box, other) for other in taken):
                chosen[i] = place
                taken.append(box)
                break
    return chosen


def _width(text: str) -> float:
    wide = sum(letter in "mwMW@%" or east_asian_width(letter) in "WF" for letter in text)
    return _LETTER * (len(text) - wide) + _WIDE_LETTER * wide


def _pixels(data: Sequence[Spec], encoding: Spec, size: int) -> list[float]:
    """Return where the values stand, from the left or from the top."""
    low, high = encoding["scale"]["domain"]
    along = [(float(datum[encoding["field"]]) - low) / (high - low) for datum in data]
    return [size * (1 - at if _upwards(encoding, size) else at) for at in along]


def _value(pixel: float, encoding: Spec, size: int) -> float:
    low, high = encoding["scale"]["domain"]
    along = pixel / size
    return float(low + (high - low) * (1 - along if _upwards(encoding, size) else along))


def _upwards(encoding: Spec, size: int) -> bool:
    return size == HEIGHT and not encoding["scale"].get("reverse")


def _box(point: Point, place: Place, width: float) -> Box:
    (across, down), (side, below) = point, place
    near, far = across + side * _BESIDE, across + side * (_BESIDE + width)
    return min(near, far), down + below - FONT, max(near, far), down + below + 3


def _inside(box: Box) -> bool:
    """Tell whether a name stays in the picture; to the right of the axes it may reach out a little."""
    return box[0] >= 0 and box[1] >= -FONT and box[2] <= WIDTH + 60 and box[3] <= HEIGHT


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
