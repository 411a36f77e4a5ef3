"""What the figures of the site are made of: parts of Vega-Lite specs, and what a mark says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from leaderboard.compute import words
from leaderboard.compute.across import Line
from leaderboard.compute.row import Number, Row
from leaderboard.draw.labels import HEIGHT, WIDTH, names, short
from leaderboard.draw.svg import COLOURS, Drawing
from leaderboard.spared import Spared

MOST_ROWS = 30
"""More methods than this do not fit a figure: the first by rank are drawn, and the caption says so."""
_STEP = 30
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")

Spec = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """A drawing with its words."""

    title: str
    caption: str
    svg: Markup | Drawing

    def whole(self) -> Figure:
        """Return the figure once it is drawn. Raises what drawing raises."""
        return self if isinstance(self.svg, Markup) else replace(self, svg=self.svg.svg)


Begun = Sequence[tuple[str, Figure | None]]
"""Figures that are being drawn, each with what its page calls it."""


def whole(begun: Begun, spared: Spared) -> list[Figure]:
    """Return figures once they are drawn; one that cannot be costs itself only."""
    found = [whole_one(name, figure, spared) for name, figure in begun]
    return [figure for figure in found if figure is not None]


def whole_one(name: str, figure: Figure | None, spared: Spared) -> Figure | None:
    """Return a figure once it is drawn, None for one that cannot be."""
    return None if figure is None else spared.build(name, figure.whole, None)


def called(rows: Sequence[Row | Line]) -> dict[str, str]:
    """Return for each method, in order, what a figure calls it."""
    return short({row.method: row.title for row in rows})


def interval(name: str, title: str, number: Number) -> Spec:
    """Return the datum of a number with its interval; `name`: its row, `title`: what it says of itself."""
    return {
        "name": name,
        "value": number.value,
        "low": number.low,
        "high": number.high,
        "said": said(title, number),
    }


def ends(number: Number) -> tuple[float, float]:
    """Return the lowest and highest value that is drawn of a number with its interval."""
    return min(number.low, number.value), max(number.high, number.value)


def said(title: str, number: Number) -> str:
    """Return what shows when the pointer is on a mark."""
    return f"{title}: {words.number(number.value)} ({words.interval(number)})"


def axis(name: str, title: str) -> Spec:
    """Return the encoding of a field along an axis that need not start at 0."""
    scale = {"zero": False, "nice": True}
    return {"field": name, "type": "quantitative", "title": title, "scale": scale, "axis": {"tickCount": 5}}


def by_colour(name: str, values: Sequence[str]) -> Spec:
    """Return the encoding that gives each value of a field its colour."""
    colours = [COLOURS[f"g{i % 6}"] for i in range(len(values))]
    return {"field": name, "type": "nominal", "scale": {"domain": list(values), "range": colours}}


def by_shape(name: str, values: Sequence[str]) -> Spec:
    """Return the encoding that gives each value of a field its shape, for eyes that see few colours."""
    shapes = [_SHAPES[i % 6] for i in range(len(values))]
    return {"field": name, "type": "nominal", "scale": {"domain": list(values), "range": shapes}}


def mark(kind: str, x: Spec, filled: bool | None = None, **encoding: Any) -> Spec:
    """Return a layer of marks that say what they are."""
    drawn: Spec = {"type": kind} | ({} if filled is None else {"filled": filled, "opacity": 1})
    return {
        "mark": drawn,
        "encoding": {"x": x, "description": {"field": "said", "type": "nominal"}} | encoding,
    }


def by_row(data: Sequence[Spec], order: list[str], layers: list[Spec]) -> Spec:
    """Return the spec of a figure with a line of marks for each name."""
    y = {"field": "name", "type": "nominal", "title": None, "sort": order, "axis": {"grid": False}}
    return {
        "width": WIDTH,
        "height": {"step": _STEP},
        "data": {"values": list(data)},
        "encoding": {"y": y},
        "layer": layers,
    }


def labelled(data: list[Spec], x: Spec, y: Spec, across: bool = False, under: Sequence[Spec] = ()) -> Spec:
    """Return the spec of a figure with a named point for each datum, and its interval from low to high.

    x, y: `labels.framed`; `across`: whether there is one from left to right too; `under`: layers below all.
    """
    silent = {"type": "rule", "aria": False, "opacity": 0.5, "color": COLOURS["soft"]}
    up: Spec = {"mark": silent, "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}}}
    side: Spec = {"mark": silent, "encoding": {"y": y, "x": x | {"field": "left"}, "x2": {"field": "right"}}}
    layers = [
        *under,
        up,
        *([side] if across else []),
        mark("point", x, filled=True, y=y, size={"value": 80}, color={"value": COLOURS["accent"]}),
        *names(data, x, y),
    ]
    return {"width": WIDTH, "height": HEIGHT, "data": {"values": data}, "layer": layers}
