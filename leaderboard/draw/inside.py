"""What is drawn inside a section's table: intervals, groups and rank ranges, on axes that all rows share."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from markupsafe import Markup, escape

from leaderboard.compute import words
from leaderboard.compute.row import Number, Row
from leaderboard.compute.sections import Section

MOST_LANES = 9
"""More sets of methods that cannot be told apart than this are written as letters, not drawn as brackets."""
MANY_ROWS = 200
"""From as many rows on marks say nothing when pointed at: half a page's bytes were such words."""
SHAPES = (
    "M-5,0A5,5,0,1,1,5,0A5,5,0,1,1,-5,0Z",
    "M-4.5,-4.5H4.5V4.5H-4.5Z",
    "M0,-5.5L5.5,4.5H-5.5Z",
    "M0,-6L6,0L0,6L-6,0Z",
    "M-2,-5.5H2V-2H5.5V2H2V5.5H-2V2H-5.5V-2H-2Z",
    "M0,5.5L5.5,-4.5H-5.5Z",
)
"""Of groups, around a point: told apart without their colours."""
_ROOM = 0.04
_MOST_WIDTHS = 5
"""An axis has room for intervals up to so many times as long as the middle one."""
_TICKS = 3
_SPECIAL = re.compile("[&<>'\"]")


@dataclass(frozen=True)
class Axis:
    """A line from `low` to `high` with its ticks. Places on it are in percent: it is as wide as its cell.

    So a drawing is stretched on a wide screen and its letters and marks stay as large as they are.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    digits: int = 2

    @staticmethod
    def around(values: Iterable[float], least: float = 0.0) -> Axis | None:
        """Return an axis with room for all values, at least as long as `least`; None where there are none."""
        there = [value for value in values if not math.isnan(value)]
        if not there:
            return None
        low, high = min(there), max(there)
        room = max(_ROOM * (high - low), (least - (high - low)) / 2, 0.001)
        low, high = low - room, high + room
        step = _step((high - low) / _TICKS)
        first = math.ceil(low / step - 1e-9)
        ticks = tuple(i * step for i in range(first, math.floor(high / step + 1e-9) + 1))
        return Axis(low, high, ticks, max(1, -math.floor(math.log10(step) + 1e-9)))

    def at(self, value: float) -> str:
        """Return where a value stands, from the left in percent."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(max(share, 0.0), 1.0):.1f}".removesuffix(".0") + "%"

    def label(self, value: float, signed: bool = False) -> str:
        """Return what stands at a tick."""
        return words.signed(value, self.digits) if signed and value else words.number(value, self.digits)


def _step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, ... times a power of ten that is at least as large."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


@dataclass(frozen=True)
class Drawn:
    """What is drawn in a table. lanes: the letters that are brackets; axes: column to what is in its head."""

    lanes: Sequence[str]
    legend: Markup
    axes: dict[str, Markup]
    cells: dict[tuple[str, str], Markup]

    def axis(self, column: str) -> Markup:
        """Return the axis in the head of a column, nothing where it has none."""
        return self.axes.get(column, Markup())

    def cell(self, column: str, row: Row) -> Markup:
        """Return the drawing in a column of a method's row, nothing where there is none."""
        return self.cells.get((column, row.method), Markup())


def of_section(section: Section, n: int) -> Drawn:
    """Draw what is in a section's table. n: its place on the page, for the names of what its rows share."""
    inside = Inside(section, n)
    makers = {"rank": inside.rank, "es_sum": inside.es, "gap": inside.gap, "versus": inside.versus}
    cells = {(key, row.method): make(row) for key, make in makers.items() for row in section.rows}
    return Drawn(inside.lanes, inside.legend(), {key: inside.axis(key) for key in makers}, cells)


@dataclass(frozen=True)
class Inside:
    """Draws a section's table."""

    section: Section
    n: int

    @cached_property
    def score(self) -> Axis | None:
        """The axis of ES-Dice."""
        numbers = [row.number("dice", "es_sum") for row in self.section.ranked]
        return Axis.around([end for n in numbers for end in (n.value, n.low, n.high)], least=0.02)

    @cached_property
    def groups(self) -> Axis | None:
        """The axis of the groups' Dice, with room for the band of the noise floor."""
        rows = [row for row in self.section.rows if row.scored]
        ends = [n.value for row in rows for _, n in self._groups(row)]
        ends += [end for row in rows for end in self._band(row) or ()]
        return Axis.around([*ends, *(row.number("dice", "overall").value for row in rows)], least=0.02)

    @cached_property
    def difference(self) -> Axis | None:
        """The axis of differences from the baseline, which has 0 and the margin of equivalence on it."""
        tested = [row.versus.number for row in self.section.rows if row.versus and row.versus.tested]
        if not tested:
            return None
        # With few seeds some intervals are hundreds wide, and would make points of all others: they run out.
        most = _MOST_WIDTHS * statistics.median(n.high - n.low for n in tested)
        ends = [end for n in tested for end in (n.low, n.high) if n.high - n.low <= most]
        return Axis.around([*ends, *(n.value for n in tested), -self.section.margin, self.section.margin])

    @cached_property
    def _members(self) -> dict[str, list[int]]:
        """Places in the ranking of those that have each letter."""
        found: dict[str, list[int]] = {}
        for place, row in enumerate(self.section.ranked):
            for letter in row.letters:
                found.setdefault(letter, []).append(place)
        return found

    @cached_property
    def lanes(self) -> Sequence[str]:
        """The letters that are drawn as brackets: none where all are told apart, or there are too many."""
        joined = sorted(letter for letter, places in self._members.items() if len(places) > 1)
        return joined if len(joined) <= MOST_LANES else []

    def axis(self, key: str) -> Markup:
        """Return the axis for the head of the column `key`, nothing where it has none."""
        axis, marks = self._axis(key), []
        if axis is None:
            return Markup()
        signed = key == "versus"
        for tick in axis.ticks:
            marks.append(tag("text", x=axis.at(tick), y=12, said=axis.label(tick, signed)))
        grid = [tag("line", x1=axis.at(t), x2=axis.at(t), y1=0, y2="100%") for t in axis.ticks]
        erm = self._yardstick(key)
        if erm is not None:
            grid.append(tag("line", x1=axis.at(erm), x2=axis.at(erm), y1=0, y2="100%", class_="yard"))
        shared = tag("defs", said=tag("symbol", id=self._grid(key), said=Markup("").join(grid)))
        return drawing("axis", shared, *marks)

    def es(self, row: Row) -> Markup:
        """Return a method's ES-Dice with its interval."""
        number = row.number("dice", "es_sum")
        return self._interval("es_sum", number, _colour(row), row) if number.there else Markup()

    def versus(self, row: Row) -> Markup:
        """Return a method's difference from its yardstick with its interval, over the margin."""
        axis = self.difference
        if axis is None or row.versus is None or not row.versus.tested:
            return Markup()
        margin = self.section.margin
        band = tag("rect", class_="f-band", y="50%", height=14, transform="translate(0 -7)",
                    **_span(axis, -margin, margin))  # fmt: skip
        return self._interval("versus", row.versus.number, _colour(row), row, band)

    def gap(self, row: Row) -> Markup:
        """Return the Dice of every group of a method over a band as wide as the gap that chance makes."""
        axis, own = self.groups, self._groups(row)
        if axis is None or not own:
            return Markup()
        marks = [self._use_grid("gap")]
        if (band := self._band(row)) is not None:
            marks.append(tag("rect", class_="f-band", y="50%", height=22, transform="translate(0 -11)",
                              **_span(axis, *band)))  # fmt: skip
        low, high = min(n.value for _, n in own), max(n.value for _, n in own)
        marks.append(tag("line", class_="s-soft", x1=axis.at(low), x2=axis.at(high), y1="50%", y2="50%"))
        # The worst last, so that what coincides hides no worst group.
        for i, number in sorted(own, key=lambda one: -one[1].value):
            marks.append(_mark(i, x=axis.at(number.value), y="50%"))
        said = ", ".join(f"{self.section.groups[i]} {words.number(n.value)}" for i, n in own)
        return drawing("gap", *self._title(f"{row.title}: {said}"), *marks)

    def rank(self, row: Row) -> Markup:
        """Return the ranks that cannot be excluded, on a line of all ranks, and a method's brackets."""
        if row.rank_low is None or row.rank_high is None:
            return Markup()
        most = len(self.section.ranked)
        axis = Axis(0.0, float(most), ())
        track = tag("line", class_="s-line", x1="0%", x2="100%", y1=4, y2=4)
        bar = tag(
            "rect", class_="f-soft", y=1.5, height=5, rx=2, **_span(axis, row.rank_low - 1, row.rank_high)
        )
        return drawing("rank", track, bar) + self._brackets(row)

    def legend(self) -> Markup:
        """Return the groups with their marks, for the head of the column of groups."""
        shown = [(i, g) for i, g in enumerate(self.section.groups) if self._shown(g)]
        return Markup(" ").join(
            Markup('<span class="of">{}{}</span>').format(drawing("mark", _mark(i, x=7, y=7)), group)
            for i, group in shown
        )

    def _brackets(self, row: Row) -> Markup:
        if not self.lanes:
            return Markup()
        place, marks = self._places[row.method], []
        for lane, letter in enumerate(self.lanes):
            members = self._members[letter]
            x = 5 + 9 * lane
            if place in members:
                marks.append(tag("circle", cx=x, cy="50%", r=3.5))
            if members[0] <= place <= members[-1]:
                ends = ("50%" if place == members[0] else 0), ("50%" if place == members[-1] else "100%")
                thin = None if place in members else "passing"
                marks.append(tag("line", x1=x, x2=x, y1=ends[0], y2=ends[1], class_=thin))
        return drawing("lanes", *marks, width=9 * len(self.lanes) + 1)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {row.method: place for place, row in enumerate(self.section.ranked)}

    def _interval(self, key: str, number: Number, colour: str, row: Row, *under: Markup) -> Markup:
        axis = self._axis(key)
        assert axis is not None, "a number of a row is on its axis"
        marks = [self._use_grid(key), *under]
        if not math.isnan(number.low):
            ends = {"x1": axis.at(number.low), "x2": axis.at(number.high)}
            marks.append(tag("line", class_=f"bar s-{colour}", y1="50%", y2="50%", **ends))
        marks.append(tag("circle", class_=f"f-{colour}", cx=axis.at(number.value), cy="50%", r=4.5))
        return drawing(key.partition("_")[0], *marks)

    def _axis(self, key: str) -> Axis | None:
        return {"es_sum": self.score, "gap": self.groups, "versus": self.difference}.get(key)

    def _yardstick(self, key: str) -> float | None:
        """Return where the baseline stands on an axis, which a line in every row recalls."""
        if key == "versus":
            return 0.0
        if key != "es_sum" or self.section.baseline is None:
            return None
        number = self.section.row(self.section.baseline).number("dice", "es_sum")
        return number.value if number.there else None

    def _grid(self, key: str) -> str:
        return f"grid-{key.partition('_')[0]}-{self.n}"

    def _use_grid(self, key: str) -> Markup:
        return tag("use", href=f"#{self._grid(key)}")

    def _shown(self, group: str) -> bool:
        return any(row.group("dice", group).there for row in self.section.rows)

    def _groups(self, row: Row) -> list[tuple[int, Number]]:
        numbers = [(i, row.group("dice", group)) for i, group in enumerate(self.section.groups)]
        return [(i, number) for i, number in numbers if number.there]

    def _band(self, row: Row) -> tuple[float, float] | None:
        """Return the ends of the band around the middle of the groups, None where chance is not known."""
        own, noise = [n.value for _, n in self._groups(row)], row.noise.get("dice")
        if not own or noise is None or math.isnan(noise.floor_95):
            return None
        middle = (max(own) + min(own)) / 2
        return middle - noise.floor_95 / 2, middle + noise.floor_95 / 2

    def _title(self, said: str) -> list[Markup]:
        return [tag("title", said=said)] if len(self.section.rows) < MANY_ROWS else []


def _mark(i: int, **at: Any) -> Markup:
    """Return the mark of a group by its place; no two of the first 36 are alike."""
    return tag("use", href=f"#mark{(i + i // 6) % 6}", class_=f"f-{colour_of(i)}", **at)


def colour_of(group: int) -> str:
    """Return the name of a group's colour, by its place."""
    return f"g{group % 6}"


def _colour(row: Row) -> str:
    """Return the colour of a row's intervals: what the paired test against the baseline says."""
    if row.versus is None:
        return "even"
    return {"better": "good", "worse": "bad"}.get(row.versus.told, "even")


def _span(axis: Axis, low: float, high: float) -> dict[str, Any]:
    start, end = (float(axis.at(value)[:-1]) for value in (low, high))
    return {"x": f"{start:g}%", "width": f"{max(end - start, 0.0):.4g}%"}


def drawing(kind: str, *marks: Markup, width: int | None = None, label: str = "") -> Markup:
    """Return a drawing. Without a label what it shows stands in numbers beside it: nobody is told twice."""
    said = Markup("").join(marks)
    if label:
        return tag("svg", class_=f"in {kind}", width=width, role="img", aria_label=label, said=said)
    return tag("svg", class_=f"in {kind}", width=width, aria_hidden="true", said=said)


def tag(name: str, said: str | Markup = "", **attributes: Any) -> Markup:
    """Return an element with its attributes, those that are None left out; all that is said is escaped."""
    # Escaped one by one: Markup.format takes five times as long, and a page has thousands of points.
    own = "".join(
        f' {_attribute(key)}="{_escaped(value)}"' for key, value in attributes.items() if value is not None
    )
    return Markup(f"<{name}{own}>{_escaped(said)}</{name}>")


@cache
def _attribute(key: str) -> str:
    return escape(key.rstrip("_").replace("_", "-"))


def _escaped(value: object) -> str:
    """Return what `escape` does, which takes five times as long: hardly anything here has to be escaped."""
    if type(value) in (str, int, float) and not _SPECIAL.search(text := str(value)):
        return text
    return escape(value)
