"""The figure under the table across attributes and structures, whose columns have the ranks by each."""

from __future__ import annotations

from leaderboard.compute import words
from leaderboard.compute.across import Across
from leaderboard.draw import parts
from leaderboard.draw.labels import WIDTH
from leaderboard.draw.parts import MOST_ROWS, Figure, Spec
from leaderboard.draw.svg import COLOURS, Drawing


def together(found: Across) -> Figure:
    """Mean ES-Dice over all views, and a line for every largest set of methods not told apart."""
    lines = found.lines[:MOST_ROWS]
    called = parts.called(lines)
    order = list(called.values())
    data = [parts.interval(called[line.method], line.title, line.es) for line in lines]
    low, value = (parts.axis(end, "mean ES-Dice (sum)") for end in ("low", "value"))
    accent = {"value": COLOURS["accent"]}
    forest = parts.by_row(
        data,
        order,
        [
            parts.mark("rule", low, x2={"field": "high"}, color=accent),
            parts.mark("point", value, filled=True, color=accent, size={"value": 90}),
        ],
    )
    letters = sorted({letter for line in lines for letter in line.letters})
    members = [
        {"name": called[m.method], "letter": letter, "said": f"{m.title}: {letter}"}
        for m in lines
        for letter in m.letters
    ]
    x: Spec = {
        "field": "letter", "type": "nominal", "title": None, "sort": letters,
        "axis": {"labelAngle": 0, "orient": "bottom"},
    }  # fmt: skip
    detail = {"field": "letter", "type": "nominal"}
    joined: Spec = {
        "mark": {"type": "line", "strokeWidth": 3, "aria": False},
        "encoding": {"x": x, "detail": detail, "color": {"value": COLOURS["soft"]}},
    }
    dots = parts.mark("point", x, filled=True, color={"value": COLOURS["soft"]}, size={"value": 60})
    cliques = parts.by_row(members, order, [joined, dots]) | {"width": {"step": 18}}
    cliques["encoding"] = {"y": cliques["encoding"]["y"] | {"axis": None}}
    spec = {"hconcat": [forest | {"width": WIDTH - 18 * len(letters)}, cliques], "spacing": 12}
    views = words.listed([f"{view.structure} by {view.attribute}" for view in found.views], 12)
    methods, over = words.counted(len(lines), "method"), words.counted(len(found.views), "view")
    return Figure(
        "All attributes and structures together",
        f"Mean over {views}, with 95% intervals. Methods joined by a line cannot be told apart.",
        Drawing(spec, f"Mean ES-Dice of {methods} over {over}"),
    )
