"""The figures beside a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from markupsafe import Markup

from harness.protocol import BASELINE
from leaderboard.compute import words
from leaderboard.compute.sections import Section
from leaderboard.compute.stability import Stability
from leaderboard.draw import parts
from leaderboard.draw.labels import framed
from leaderboard.draw.parts import MOST_ROWS, Figure, Spec
from leaderboard.draw.svg import COLOURS, render


def of_section(section: Section, found: Stability | None) -> list[tuple[str, Callable[[], Figure]]]:
    """Return titles and makers of the figures beside a section's table: none where nothing is ranked."""
    if not section.ranked:
        return []
    makers: list[tuple[str, str, Callable[[Section], Markup]]] = [
        (
            "Equity-scaled Dice",
            "with 95% intervals. In colour: the first, and all that cannot be told apart from it.",
            forest,
        ),
        (
            "Dice of every group",
            "The band is as wide as the gap that chance makes in 95% of relabellings: groups inside one band "
            "may differ by chance alone.",
            groups,
        ),
        (
            "Performance against equity",
            "The dashed line joins the methods that no other beats in both. Thin lines: 95% intervals.",
            pareto,
        ),
    ]
    if any(row.cost for row in section.ranked):
        caption = "ES-Dice with its 95% interval, and the time to train a seed and the model it starts from."
        makers.append(("Cost against equity", caption, cost))
    if any(row.versus is not None and row.versus.tested for row in section.ranked):
        caption = (
            f"ES-Dice (sum) minus ERM’s{_as_many(section)}, with 95% intervals for all pairs together. The "
            f"band is the margin of {section.margin:g}: equivalent is what lies in it with its 90% interval."
        )
        makers.append(("Better, worse, equivalent, or cannot tell", caption, against))
    if found is not None and found.choices:
        caption = (
            f"under {len(found.choices)} other choices of definition, metric, checkpoint and seeds: the "
            "larger a dot, the more of them. The line is the range that cannot be excluded here."
        )
        makers.append(("Rank under other choices", caption, partial(choices, found=found)))
    return [(title, partial(_figure, title, caption, make, section)) for title, caption, make in makers]


def _as_many(section: Section) -> str:
    """Return what has to be said of the baseline where some methods of a section train longer than ERM."""
    longer = any(row.versus is not None and row.versus.baseline != BASELINE for row in section.ranked)
    return " with as many epochs" if longer else ""


def _figure(title: str, caption: str, make: Callable[[Section], Markup], section: Section) -> Figure:
    left = len(section.ranked) - MOST_ROWS
    cut = f" The first {MOST_ROWS} by rank; {left} more are in the table." if left > 0 else ""
    return Figure(title, caption + cut, make(section))


def forest(section: Section) -> Markup:
    """ES-Dice of each method with its interval; those that share the first one's letters in colour."""
    rows = section.ranked[:MOST_ROWS]
    first = set(rows[0].letters)
    called = parts.called(rows)
    data = [
        parts.interval(called[row.method], row.title, row.number("dice", "es_sum"))
        | {"tied": row is rows[0] or bool(set(row.letters) & first)}
        for row in rows
    ]
    colour = {
        "condition": {"test": "datum.tied", "value": COLOURS["accent"]},
        "value": COLOURS["soft"],
    }
    low, value = (parts.axis(end, "ES-Dice (sum)") for end in ("low", "value"))
    layers = [
        parts.mark("rule", low, x2={"field": "high"}, color=colour, size={"value": 2}),
        parts.mark("point", value, color=colour, filled=True, size={"value": 90}),
    ]
    best = rows[0]
    label = f"ES-Dice with 95% intervals, {len(rows)} methods; {best.title} highest"
    return render(parts.by_row(data, list(called.values()), layers), label)


_VERDICTS = ("better", "worse", "equivalent", "cannot tell")


def against(section: Section) -> Markup:
    """Each method's difference from the baseline with its interval, over the margin of equivalence."""
    rows = [row for row in section.ranked[:MOST_ROWS] if row.versus is not None and row.versus.tested]
    called = parts.called(rows)
    data = [
        parts.interval(called[row.method], row.title, row.versus.number)
        | {
            "told": row.versus.told,
            "said": f"{row.title}: {words.signed(row.versus.number.value)} "
            f"({words.signed(row.versus.number.low)} to {words.signed(row.versus.number.high)}), "
            f"{row.versus.told}" + (f", beside {row.versus.than}" if row.versus.baseline != BASELINE else ""),
        }
        for row in rows
        if row.versus is not None
    ]
    margin = {"low": -section.margin, "high": section.margin, "zero": 0.0}
    low, value = (
        parts.axis(end, f"ES-Dice (sum) minus ERM’s{_as_many(section)}") for end in ("low", "value")
    )
    colour, shape = parts.by_colour("told", _VERDICTS), parts.by_shape("told", _VERDICTS)
    band: Spec = {
        "mark": {"type": "rect", "aria": False},
        "data": {"values": [margin]},
        "encoding": {
            "x": low, "x2": {"field": "high"}, "y": {"value": 0}, "y2": {"value": "height"},
            "color": {"value": COLOURS["band"]},
        },
    }  # fmt: skip
    none: Spec = {
        "mark": {"type": "rule", "aria": False},
        "data": {"values": [margin]},
        "encoding": {
            "x": low | {"field": "zero"}, "y": {"value": 0}, "y2": {"value": "height"},
            "color": {"value": COLOURS["soft"]},
        },
    }  # fmt: skip
    layers = [
        band,
        none,
        parts.mark("rule", low, x2={"field": "high"}, color=colour, size={"value": 2}),
        parts.mark("point", value, color=colour, shape=shape, filled=True, size={"value": 90}),
    ]
    told = [f"{sum(datum['told'] == verdict for datum in data)} {verdict}" for verdict in _VERDICTS]
    what = f"ES-Dice minus ERM's{_as_many(section)} of {len(rows)} methods"
    label = f"{what}, margin {section.margin:g}: {', '.join(told)}"
    return render(parts.by_row(data, list(called.values()), layers), label)


def choices(section: Section, found: Stability) -> Markup:
    """Every method's ranks under other choices, over the range of ranks that cannot be excluded."""
    rows = section.ranked[:MOST_ROWS]
    called = parts.called(rows)
    ranges = [
        {
            "name": called[row.method], "low": row.rank_low, "high": row.rank_high,
            "said": f"{row.title}: rank {words.rank(row)}, under {found.within(row)} of "
            f"{len(found.choices)} other choices in that range",
        }
        for row in rows
    ]  # fmt: skip
    dots = [
        {
            "name": called[row.method], "rank": rank, "times": times,
            "said": f"{row.title}: rank {rank} under {times} of {len(found.choices)} other choices",
        }
        for row in rows
        for rank, times in sorted(Counter(found.ranks(row.method)).items())
    ]  # fmt: skip
    most = len(section.ranked)
    x: Spec = {
        "field": "low", "type": "quantitative", "title": "rank",
        "scale": {"domain": [0.5, most + 0.5], "nice": False},
        "axis": {"tickMinStep": 1, "format": "d"},
    }  # fmt: skip
    size: Spec = {
        "field": "times", "type": "quantitative", "legend": None,
        "scale": {"domain": [0, len(found.choices)], "range": [20, 320]},
    }  # fmt: skip
    ends = x | {"field": "low"}, {"field": "high"}
    layers = [
        parts.mark("rule", ends[0], x2=ends[1], color={"value": COLOURS["soft"]}, size={"value": 2}),
        parts.mark("point", x | {"field": "rank"}, filled=True, color={"value": COLOURS["accent"]}, size=size)
        | {"data": {"values": dots}},
    ]
    label = f"Ranks of {len(rows)} methods under {len(found.choices)} other choices"
    return render(parts.by_row(ranges, list(called.values()), layers), label)


def groups(section: Section) -> Markup:
    """Every group's Dice, over a band as wide as the gap that chance makes."""
    rows = section.ranked[:MOST_ROWS]
    called = parts.called(rows)
    shown = [group for group in section.groups if any(row.group("dice", group).there for row in rows)]
    dots = [
        {
            "name": called[row.method],
            "group": group,
            "value": n.value,
            "said": parts.said(f"{row.title}, {group}", n),
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
    low, value = (parts.axis(end, "Dice") for end in ("low", "value"))
    layers = [
        parts.mark("bar", low, x2={"field": "high"}, color={"value": COLOURS["band"]}, size={"value": 18})
        | {"data": {"values": bands}},
        parts.mark(
            "point", value, filled=True, size={"value": 80}, opacity={"value": 1},
            color=parts.by_colour("group", shown), shape=parts.by_shape("group", shown),
        ),
    ]  # fmt: skip
    label = (
        f"Dice of each group ({', '.join(shown)}) for {len(rows)} methods, beside the gap that chance makes"
    )
    return render(parts.by_row(dots, list(called.values()), layers), label)


def pareto(section: Section) -> Markup:
    """Dice against the gap, with the methods that no other beats in both joined by a line."""
    rows = section.ranked[:MOST_ROWS]
    called = parts.called(rows)
    data: list[Spec] = []
    for row in rows:
        dice, gap = row.number("dice", "overall"), row.number("dice", "gap")
        datum = {
            "name": called[row.method],
            "dice": dice.value, "left": dice.low, "right": dice.high,
            "gap": gap.value, "low": gap.low, "high": gap.high,
            "span": (parts.ends(dice), parts.ends(gap)),
            "said": f"{row.title}: Dice {words.number(dice.value)}, gap {words.number(gap.value)}",
        }  # fmt: skip
        data.append(datum)
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
    line: Spec = {
        "mark": {"type": "line", "strokeDash": [4, 3], "aria": False},
        "data": {"values": front},
        "encoding": {"x": x, "y": y, "color": {"value": COLOURS["accent"]}},
    }
    label = f"Dice against gap; not beaten in both: {words.listed([point['name'] for point in front], 6)}"
    return render(parts.labelled(data, x, y, across=True, under=[line]), label)


def cost(section: Section) -> Markup:
    """Seconds of training against ES-Dice with its interval."""
    rows = [row for row in section.ranked[:MOST_ROWS] if row.cost]
    called, data = parts.called(rows), []
    for row in rows:
        es, seconds = row.number("dice", "es_sum"), row.cost.fit_seconds if row.cost else 0.0
        datum = parts.interval(called[row.method], row.title, es)
        data.append(datum | {"seconds": seconds, "span": ((seconds, seconds), parts.ends(es))})
    x: Spec = {
        "field": "seconds", "type": "quantitative", "title": "training, seconds a seed",
        "scale": {"zero": True}, "axis": {"tickCount": 5},
    }  # fmt: skip
    y: Spec = {
        "field": "value", "type": "quantitative", "title": "ES-Dice (sum)",
        "scale": {"zero": False}, "axis": {"tickCount": 5, "labelColor": COLOURS["soft"]},
    }  # fmt: skip
    x, y = framed(data, x, 0), framed(data, y, 1)
    return render(parts.labelled(data, x, y), f"Training time against ES-Dice of {len(rows)} methods")


def _dominates(one: Spec, other: Spec) -> bool:
    as_good: bool = one["dice"] >= other["dice"] and one["gap"] <= other["gap"]
    return bool(as_good and (one["dice"] > other["dice"] or one["gap"] < other["gap"]))
