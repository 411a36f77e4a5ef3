"""The figures of the site as Vega-Lite specs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from leaderboard import words
from leaderboard.across import Across, Line
from leaderboard.labels import HEIGHT, WIDTH, framed, names, short
from leaderboard.pages import SeedRow
from leaderboard.svg import COLOURS, draw
from leaderboard.tables import Number, Row, Section

MOST_ROWS = 30
"""More methods than this do not fit a figure: the first by rank are drawn, and the caption says so."""
STEP = 30
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")

Spec = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """A drawing with its words."""

    title: str
    caption: str
    svg: Markup


def of_section(section: Section) -> list[Figure]:
    """Return the figures beside a section's table: none where nothing is ranked."""
    if not section.ranked:
        return []
    left = len(section.ranked) - MOST_ROWS
    cut = f" The first {MOST_ROWS} by rank; {left} more are in the table." if left > 0 else ""
    return [
        Figure(
            "Equity-scaled Dice",
            "with 95% intervals. In colour: the first, and all that cannot be told apart from it." + cut,
            forest(section),
        ),
        Figure(
            "Dice of every group",
            "The band is as wide as the gap that chance makes in 95% of relabellings: groups inside one band "
            "may differ by chance alone." + cut,
            groups(section),
        ),
        Figure(
            "Performance against equity",
            "The dashed line joins the methods that no other beats in both. Thin lines: 95% intervals." + cut,
            pareto(section),
        ),
        *_cost(section, cut),
    ]


def _cost(section: Section, cut: str) -> list[Figure]:
    if not any(row.cost for row in section.ranked):
        return []
    caption = "ES-Dice with its 95% interval, and the time to train a seed and the model it starts from."
    return [Figure("Cost against equity", caption + cut, cost(section))]


def forest(section: Section) -> Markup:
    """ES-Dice of each method with its interval; those that share the first one's letters in colour."""
    rows = section.ranked[:MOST_ROWS]
    first = set(rows[0].letters)
    called = _called(rows)
    data = [
        _interval(row, called, row.number("dice", "es_sum"))
        | {"tied": row is rows[0] or bool(set(row.letters) & first)}
        for row in rows
    ]
    colour = {
        "condition": {"test": "datum.tied", "value": COLOURS["accent"]},
        "value": COLOURS["soft"],
    }
    layers = [
        _mark("rule", _x("low", "ES-Dice (sum)"), x2={"field": "high"}, color=colour, size={"value": 2}),
        _mark("point", _x("value", "ES-Dice (sum)"), color=colour, filled=True, size={"value": 90}),
    ]
    best = rows[0]
    label = f"ES-Dice with 95% intervals, {len(rows)} methods; {best.title} highest"
    return draw(_rows(data, list(called.values()), layers), label)


def groups(section: Section) -> Markup:
    """Every group's Dice, over a band as wide as the gap that chance makes."""
    rows = section.ranked[:MOST_ROWS]
    called = _called(rows)
    shown = [group for group in section.groups if any(row.group("dice", group).there for row in rows)]
    dots = [
        {
            "name": called[row.method],
            "group": group,
            "value": n.value,
            "said": _said(f"{row.title}, {group}", n),
        }
        for row in rows
        for group in shown
        if (n := row.group("dice", group)).there
    ]
    bands = []
    for row in rows:
        own = [n.value for group in shown if (n := row.group("dice", group)).there]
        middle, floor = (max(own) + min(own)) / 2, row.noise["dice"].floor_95
        said = f"{row.title}: noise floor of the gap {words.number(floor)}"
        bands.append(
            {"name": called[row.method], "low": middle - floor / 2, "high": middle + floor / 2, "said": said}
        )
    scale = {"domain": shown, "range": [COLOURS[f"g{i % 6}"] for i in range(len(shown))]}
    shapes = {"domain": shown, "range": [SHAPES[i % 6] for i in range(len(shown))]}
    layers = [
        _mark(
            "bar", _x("low", "Dice"), x2={"field": "high"}, color={"value": COLOURS["band"]},
            size={"value": 18},
        ) | {"data": {"values": bands}},
        _mark(
            "point", _x("value", "Dice"), filled=True, size={"value": 80}, opacity={"value": 1},
            color={"field": "group", "type": "nominal", "scale": scale},
            shape={"field": "group", "type": "nominal", "scale": shapes},
        ),
    ]  # fmt: skip
    label = (
        f"Dice of each group ({', '.join(shown)}) for {len(rows)} methods, beside the gap that chance makes"
    )
    return draw(_rows(dots, list(called.values()), layers), label)


def pareto(section: Section) -> Markup:
    """Dice against the gap, with the methods that no other beats in both joined by a line."""
    rows = section.ranked[:MOST_ROWS]
    called = _called(rows)
    data: list[Spec] = [
        {
            "name": called[row.method], "dice": row.number("dice", "overall").value,
            "gap": row.number("dice", "gap").value, "low": row.number("dice", "gap").low,
            "high": row.number("dice", "gap").high,
            "left": row.number("dice", "overall").low, "right": row.number("dice", "overall").high,
            "span": (_ends(row.number("dice", "overall")), _ends(row.number("dice", "gap"))),
            "said": f"{row.title}: Dice {words.number(row.number('dice', 'overall').value)}, "
            f"gap {words.number(row.number('dice', 'gap').value)}",
        }
        for row in rows
    ]  # fmt: skip
    front = [a for a in data if not any(_dominates(b, a) for b in data)]
    x: Spec = {
        "field": "dice", "type": "quantitative", "title": "Dice (further right: better)",
        "scale": {"zero": False}, "axis": {"tickCount": 5},
    }  # fmt: skip
    y: Spec = {
        "field": "gap", "type": "quantitative", "title": "gap (further up: fairer)",
        "scale": {"reverse": True, "zero": True}, "axis": {"tickCount": 5, "labelColor": COLOURS["soft"]},
    }  # fmt: skip
    x, y = framed(data, x, 0), framed(data, y, 1)
    silent = {"type": "rule", "aria": False, "opacity": 0.5, "color": COLOURS["soft"]}
    layers: list[Spec] = [
        {
            "mark": {"type": "line", "strokeDash": [4, 3], "aria": False},
            "data": {"values": front},
            "encoding": {"x": x, "y": y, "color": {"value": COLOURS["accent"]}},
        },
        {"mark": silent, "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}}},
        {"mark": silent, "encoding": {"y": y, "x": x | {"field": "left"}, "x2": {"field": "right"}}},
        _mark("point", x, filled=True, y=y, size={"value": 80}, color={"value": COLOURS["accent"]}),
        *names(data, x, y),
    ]  # fmt: skip
    label = f"Dice against gap; not beaten in both: {words.listed([point['name'] for point in front], 6)}"
    return draw({"width": WIDTH, "height": HEIGHT, "data": {"values": data}, "layer": layers}, label)


def cost(section: Section) -> Markup:
    """Seconds of training against ES-Dice with its interval."""
    rows = [row for row in section.ranked[:MOST_ROWS] if row.cost]
    called, data = _called(rows), []
    for row in rows:
        es, seconds = row.number("dice", "es_sum"), row.cost.fit_seconds if row.cost else 0.0
        data.append(
            _interval(row, called, es) | {"seconds": seconds, "span": ((seconds, seconds), _ends(es))}
        )
    x: Spec = {
        "field": "seconds", "type": "quantitative", "title": "training, seconds a seed",
        "scale": {"zero": True}, "axis": {"tickCount": 5},
    }  # fmt: skip
    y: Spec = {
        "field": "value", "type": "quantitative", "title": "ES-Dice (sum)",
        "scale": {"zero": False}, "axis": {"tickCount": 5, "labelColor": COLOURS["soft"]},
    }  # fmt: skip
    x, y = framed(data, x, 0), framed(data, y, 1)
    return draw(_labelled(data, x, y), f"Training time against ES-Dice of {len(rows)} methods")


def _labelled(data: list[Spec], x: Spec, y: Spec) -> Spec:
    silent = {"type": "rule", "aria": False, "opacity": 0.5, "color": COLOURS["soft"]}
    layers: list[Spec] = [
        {"mark": silent, "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}}},
        _mark("point", x, filled=True, y=y, size={"value": 80}, color={"value": COLOURS["accent"]}),
        *names(data, x, y),
    ]
    return {"width": WIDTH, "height": HEIGHT, "data": {"values": data}, "layer": layers}


def of_across(found: Across, structure: str) -> list[Figure]:
    """Return the figures under the table across views; ranks are drawn for one structure."""
    return [together(found), ranks(found, structure)]


def together(found: Across) -> Figure:
    """Mean ES-Dice over all views, and a line for every largest set of methods not told apart."""
    lines = found.lines[:MOST_ROWS]
    called = _called(lines)
    order = list(called.values())
    data = [
        {
            "name": called[m.method],
            "value": m.es.value,
            "low": m.es.low,
            "high": m.es.high,
            "said": _said(m.title, m.es),
        }
        for m in lines
    ]
    title = "mean ES-Dice (sum)"
    forest = _rows(
        data,
        order,
        [
            _mark("rule", _x("low", title), x2={"field": "high"}, color={"value": COLOURS["accent"]}),
            _mark(
                "point",
                _x("value", title),
                filled=True,
                color={"value": COLOURS["accent"]},
                size={"value": 90},
            ),
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
    dots = _mark("point", x, filled=True, color={"value": COLOURS["soft"]}, size={"value": 60})
    cliques = _rows(members, order, [joined, dots]) | {"width": {"step": 18}}
    cliques["encoding"] = {"y": cliques["encoding"]["y"] | {"axis": None}}
    spec = {"hconcat": [forest | {"width": WIDTH - 18 * len(letters)}, cliques], "spacing": 12}
    views = words.listed([f"{view.structure} by {view.attribute}" for view in found.views], 12)
    return Figure(
        "All attributes and structures together",
        f"Mean over {views}, with 95% intervals. Methods joined by a line cannot be told apart.",
        draw(spec, f"Mean ES-Dice of {len(lines)} methods over {len(found.views)} views"),
    )


def ranks(found: Across, structure: str) -> Figure:
    """The ranks that cannot be excluded of each method, a bar for each attribute, in one structure."""
    lines = found.lines[:MOST_ROWS]
    called = _called(lines)
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
    scale = {"domain": attributes, "range": [COLOURS[f"g{i % 6}"] for i in range(len(attributes))]}
    shapes = {"domain": attributes, "range": [SHAPES[i % 6] for i in range(len(attributes))]}
    colour = {"field": "attribute", "type": "nominal", "scale": scale}
    shape = {"field": "attribute", "type": "nominal", "scale": shapes}
    beside: Spec = {"field": "attribute", "type": "nominal", "sort": attributes}
    ends = [
        _mark(
            "point",
            x | {"field": end},
            filled=True,
            color=colour,
            shape=shape,
            size={"value": 45},
            yOffset=beside,
        )
        for end in ("low", "high")
    ]
    bars = _mark("rule", x, x2={"field": "high"}, color=colour, size={"value": 2}, yOffset=beside)
    spec = _rows(data, list(called.values()), [bars, *ends]) | {"height": {"step": 11}}
    return Figure(
        f"Ranks by attribute, {structure}",
        "that cannot be excluded: a bar from the best to the worst, for each attribute.",
        draw(spec, f"Rank ranges of {len(lines)} methods by {words.listed(attributes, 6)}"),
    )


def seeds(section: Section, row: Row, by_seed: Sequence[SeedRow]) -> Figure:
    """Every group's Dice with its interval, and a dot for each seed."""
    numbers = {"all": row.number("dice", "overall")} | {g: row.group("dice", g) for g in section.groups}
    shown = [name for name, number in numbers.items() if number.there]
    data = [
        {"name": name, "value": n.value, "low": n.low, "high": n.high, "said": _said(name, n)}
        for name, n in numbers.items()
        if n.there
    ]
    dots = [
        {"name": name, "value": value, "said": f"{name}, seed {seed.seed}: {words.number(value)}"}
        for seed in by_seed
        for name, value in zip(("all", *section.groups), (seed.overall, *seed.groups), strict=True)
        if value is not None and name in shown
    ]
    layers = [
        _mark("rule", _x("low", "Dice"), x2={"field": "high"}, color={"value": COLOURS["accent"]}),
        _mark("point", _x("value", "Dice"), filled=True, color={"value": COLOURS["accent"]})
        | {"mark": {"type": "point", "filled": True, "opacity": 1, "size": 90}},
        _mark("point", _x("value", "Dice"), color={"value": COLOURS["ink"]})
        | {"data": {"values": dots}, "mark": {"type": "point", "size": 35, "opacity": 0.8}},
    ]
    label = f"Dice of {words.listed(shown, 8)} with 95% intervals and each seed"
    caption = f"{section.structure}, with 95% intervals. Open circles: single seeds."
    return Figure("Dice of every group", caption, draw(_rows(data, shown, layers), label))


def _dominates(one: Spec, other: Spec) -> bool:
    as_good: bool = one["dice"] >= other["dice"] and one["gap"] <= other["gap"]
    return bool(as_good and (one["dice"] > other["dice"] or one["gap"] < other["gap"]))


def _called(rows: Sequence[Row | Line]) -> dict[str, str]:
    """Return for each method, in order, what a figure calls it."""
    return short({row.method: row.title for row in rows})


def _interval(row: Row, called: dict[str, str], number: Number) -> Spec:
    return {
        "name": called[row.method],
        "value": number.value,
        "low": number.low,
        "high": number.high,
        "said": _said(row.title, number),
    }


def _ends(number: Number) -> tuple[float, float]:
    return min(number.low, number.value), max(number.high, number.value)


def _said(name: str, number: Number) -> str:
    return f"{name}: {words.number(number.value)} ({words.interval(number)})"


def _x(name: str, title: str) -> Spec:
    scale = {"zero": False, "nice": True}
    return {"field": name, "type": "quantitative", "title": title, "scale": scale, "axis": {"tickCount": 5}}


def _mark(kind: str, x: Spec, filled: bool | None = None, **encoding: Any) -> Spec:
    mark: Spec = {"type": kind} | ({} if filled is None else {"filled": filled, "opacity": 1})
    return {
        "mark": mark,
        "encoding": {"x": x, "description": {"field": "said", "type": "nominal"}} | encoding,
    }


def _rows(data: Sequence[Spec], order: list[str], layers: list[Spec]) -> Spec:
    y = {"field": "name", "type": "nominal", "title": None, "sort": order, "axis": {"grid": False}}
    return {
        "width": WIDTH,
        "height": {"step": STEP},
        "data": {"values": list(data)},
        "encoding": {"y": y},
        "layer": layers,
    }
