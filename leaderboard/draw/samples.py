"""Every test case of a method as a point: its true size against its Dice, and against ERM's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from harness.equity import MIN_PATIENTS
from leaderboard.compute import words
from leaderboard.compute.sections import Section
from leaderboard.draw.inside import Axis, colour_of, drawing, tag
from leaderboard.draw.parts import Figure
from leaderboard.kept import kept
from leaderboard.read.boards import Board

MOST_POINTS = 1_500
"""Of more test cases the worst third of so many are drawn and every n-th of the others."""
_LEFT, _WIDTH, _TOP, _HEIGHT = 11.0, 86.0, 3.0, 84.0


@dataclass(frozen=True)
class Point:
    """A test case: its place, where it is drawn, the place of its group and what it says of itself."""

    case: int
    x: float
    y: float
    group: int
    said: str


def of_method(board: Board, section: Section, method: str) -> list[Figure]:
    """Return a method's figures of single cases: none without scores."""
    dice = mean(board, section, method)
    if dice is None:
        return []
    own = groups(board, section)
    known = np.flatnonzero(~np.isnan(dice) & (own >= 0))
    cases, left = drawn_of(known, dice), ""
    if len(cases) < len(known):
        left = (
            f" Of {len(known)} cases {len(cases)} are drawn: those with the lowest Dice, and of the others, "
            "in order of Dice, every n-th."
        )
    figures, size = [], board.size(section.structure)
    if size is not None and cases:
        points = [
            Point(i, size[i], dice[i], own[i], _said(section, i, own[i], dice[i], size[i])) for i in cases
        ]
        caption = (
            "its true size in pixels against its Dice, the mean over seeds. Point at one to see which it is."
            + left
        )
        figures.append(_figure("Every test case", caption, section, points, "true size, pixels", "Dice"))
    base = None if section.baseline in (None, method) else mean(board, section, str(section.baseline))
    if base is not None and cases:
        both = [i for i in cases if not np.isnan(base[i])]
        points = [
            Point(i, base[i], dice[i], own[i], f"{_said(section, i, own[i], dice[i])}, ERM {base[i]:.3f}")
            for i in both
        ]
        caption = (
            "its Dice with ERM against its Dice with this method: above the line, this one is better." + left
        )
        figures.append(
            _figure("Case by case against ERM", caption, section, points, "Dice, ERM", "Dice", True)
        )
    return figures


def drawn_of(cases: np.ndarray, dice: np.ndarray) -> list[int]:
    """Return which of the cases, int [N], are drawn, ascending; see `MOST_POINTS`. dice: of all samples."""
    if len(cases) <= MOST_POINTS:
        return [int(case) for case in cases]
    order = cases[np.argsort(dice[cases], kind="stable")]
    worst = MOST_POINTS // 3
    step = -(-(len(order) - worst) // (MOST_POINTS - worst))
    return sorted(int(case) for case in [*order[:worst], *order[worst::step]])


def mean(board: Board, section: Section, method: str) -> np.ndarray | None:
    """Return each test case's Dice, float [samples], the mean over seeds; None where it has no rank."""
    values = board.matrix(method, section.attribute, section.structure, "dice")
    if values is None or section.row(method).rank is None:
        return None
    there = ~np.isnan(values).all(axis=1)
    return np.asarray(values[there].mean(axis=0)) if there.any() else None


def groups(board: Board, section: Section) -> np.ndarray:
    """Return the place of each case's group, int [samples], -1 for unknown and groups too small."""
    tested = board.tested(section.structure)
    found = np.full(len(tested), -1)
    for place, group in enumerate(section.groups):
        own = (tested[section.attribute] == group).to_numpy(bool)
        if tested["patient"][own].nunique() >= MIN_PATIENTS:
            found[own] = place
    return found


def _said(section: Section, case: int, group: int, dice: float, size: float | None = None) -> str:
    pixels = "" if size is None else f", {size:.0f} pixels"
    return f"case {case + 1}, {words.isolated(section.groups[group])}{pixels}: Dice {words.number(dice)}"


def _figure(
    title: str, caption: str, section: Section, points: Sequence[Point], x: str, y: str, line: bool = False
) -> Figure:
    across = Axis.around([point.x for point in points])
    up = Axis.around([point.y for point in points])
    assert across is not None, "there are points"
    assert up is not None, "there are points"
    if line:
        both = Axis.around([across.low, across.high, up.low, up.high])
        assert both is not None
        across = up = both
    shown = sorted({point.group for point in points})
    label = f"{title} of {section.name}: {len(points)} points"
    numbers = np.array([(point.x, point.y, point.case, point.group) for point in points])
    # A page is mostly these points, and of most methods they are those of before.
    said = [point.said for point in points]
    svg = Markup(kept(_scatter, numbers, said, (across, up), (x, y), line, label))
    legend = Markup(" ").join(
        Markup('<span class="of">{}{}</span>').format(
            drawing(
                "mark", tag("use", href=f"#mark{(i + i // 6) % 6}", class_=f"f-{colour_of(i)}", x=7, y=7)
            ),
            section.groups[i],
        )
        for i in shown
    )
    return Figure(
        title, f"{section.structure}: {caption}", Markup('<div class="legend">{}</div>{}').format(legend, svg)
    )


def _scatter(
    numbers: np.ndarray,
    said: Sequence[str],
    axes: tuple[Axis, Axis],
    names: tuple[str, str],
    line: bool,
    label: str,
) -> str:
    """Draw points, float [N, 4]: x, y, its case and its group; said: what each says of itself."""
    across, up = axes
    marks = [*_frame(across, up, *names), *([_diagonal()] if line else [])]
    for (x, y, case, group), words_ in zip(numbers.tolist(), said, strict=True):
        place = {"x": _across(across, x), "y": _down(up, y)}
        href = f"#dot{int(group + group // 6) % 6}"
        title = tag("title", said=words_)
        marks.append(tag("use", said=title, href=href, class_=f"f-{colour_of(int(group))}",
                         data_case=int(case), **place))  # fmt: skip
    return str(drawing("scatter", *marks, label=label))


def _frame(across: Axis, up: Axis, x: str, y: str) -> list[Markup]:
    whole = across.high > 10
    found = []
    for tick in across.ticks:
        at = _across(across, tick)
        found.append(tag("line", x1=at, x2=at, y1=f"{_TOP}%", y2=f"{_TOP + _HEIGHT}%"))
        found.append(tag("text", x=at, y="93%", said=f"{tick:,.0f}" if whole else across.label(tick)))
    for tick in up.ticks:
        at = _down(up, tick)
        found.append(tag("line", x1=f"{_LEFT}%", x2=f"{_LEFT + _WIDTH}%", y1=at, y2=at))
        found.append(tag("text", x=f"{_LEFT - 5}%", y=at, said=up.label(tick)))
    found.append(tag("text", x=f"{_LEFT + _WIDTH / 2}%", y="99%", said=x))
    # To the right of the uppermost tick, which it may come near to on a phone.
    return [*found, tag("text", x=f"{_LEFT + 4}%", y="1%", said=y)]


def _diagonal() -> Markup:
    ends = {"x1": f"{_LEFT}%", "x2": f"{_LEFT + _WIDTH}%", "y1": f"{_TOP + _HEIGHT}%", "y2": f"{_TOP}%"}
    return tag("line", class_="s-soft", **ends)


def _across(axis: Axis, value: float) -> str:
    return f"{_LEFT + _WIDTH * float(axis.at(value)[:-1]) / 100:.1f}%"


def _down(axis: Axis, value: float) -> str:
    return f"{_TOP + _HEIGHT * (1 - float(axis.at(value)[:-1]) / 100):.1f}%"
