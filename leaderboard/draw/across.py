"""The figures under the table across attributes and structures."""

from __future__ import annotations

from leaderboard.compute import words
from leaderboard.compute.across import Across
from leaderboard.draw import parts
from leaderboard.draw.labels import WIDTH
from leaderboard.draw.parts import MOST_ROWS, Figure, Spec
from leaderboard.draw.svg import COLOURS, render


def of_across(found: Across, structure: str) -> list[Figure]:
    """Return the figures under the table across views; ranks are drawn for one structure."""
    return [together(found), ranks(found, structure)]


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
    return Figure(
        "All attributes and structures together",
        f"Mean over {views}, with 95% intervals. Methods joined by a line cannot be told apart.",
        render(spec, f"Mean ES-Dice of {len(lines)} methods over {len(found.views)} views"),
    )


def ranks(found: Across, structure: str) -> Figure:
    """The ranks that cannot be excluded of each method, a bar for each attribute, in one structure."""
    lines = found.lines[:MOST_ROWS]
    called = parts.called(lines)
    places = [i for i, view in enumerate(found.views) if view.structure == structure]
    attributes = [found.views[i].attribute for i in places]
    data = [
        {
            "name": called[line.method],
            "attribute": found.views[i].attribute,
            "low": line.rows[i].rank_low,
            "high": line.rows[i].rank_high,
            "said": f"{line.title}, by {found.views[i].attribute}: rank {words.rank(line.rows[i])}",
        }
        for line in lines
        for i in places
    ]
    most = max(len(found.views[i].ranked) for i in places)
    x: Spec = {
        "field": "low", "type": "quantitative", "title": "rank",
        "scale": {"domain": [0.5, most + 0.5], "nice": False},
        "axis": {"tickMinStep": 1, "format": "d"},
    }  # fmt: skip
    beside: Spec = {"field": "attribute", "type": "nominal", "sort": attributes}
    colour, shape = parts.by_colour("attribute", attributes), parts.by_shape("attribute", attributes)
    at_ends = [
        parts.mark(
            "point", x | {"field": end}, filled=True, color=colour, shape=shape, size={"value": 45},
            yOffset=beside,
        )
        for end in ("low", "high")
    ]  # fmt: skip
    bars = parts.mark("rule", x, x2={"field": "high"}, color=colour, size={"value": 2}, yOffset=beside)
    spec = parts.by_row(data, list(called.values()), [bars, *at_ends]) | {"height": {"step": 11}}
    return Figure(
        f"Ranks by attribute, {structure}",
        "that cannot be excluded: a bar from the best to the worst, for each attribute.",
        render(spec, f"Rank ranges of {len(lines)} methods by {words.listed(attributes, 6)}"),
    )
