"""The figures below a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from leaderboard.compute import words
from leaderboard.compute.sections import Section
from leaderboard.compute.stability import Stability
from leaderboard.draw import parts
from leaderboard.draw.labels import framed
from leaderboard.draw.parts import MOST_ROWS, Figure, Spec
from leaderboard.draw.svg import COLOURS, Drawing


def of_section(section: Section) -> list[tuple[str, Callable[[], Figure]]]:
    """Return titles and makers of the figures below a section's table: what it does not show itself.

    None where nothing is ranked.
    """
    if not section.ranked:
        return []
    makers = [
        (
            "Performance against equity",
            "The dashed line joins the methods that no other beats in both. Thin lines: 95% intervals.",
            pareto,
        )
    ]
    if any(row.cost for row in section.ranked):
        caption = "ES-Dice with its 95% interval, and the time to train a seed and the model it starts from."
        makers.append(("Cost against equity", caption, cost))
    return [(title, partial(_figure, title, caption, make, section)) for title, caption, make in makers]


def of_choices(section: Section, found: Stability) -> Figure:
    """Return the figure of the ranks under other choices."""
    caption = (
        f"under {len(found.choices)} other choices of definition, metric, checkpoint and seeds: the "
        "larger a dot, the more of them. The line is the range that cannot be excluded here."
    )
    return _figure("Rank under other choices", caption, partial(choices, found=found), section)


def _figure(title: str, caption: str, make: Callable[[Section], Drawing], section: Section) -> Figure:
    left = len(section.ranked) - MOST_ROWS
    cut = f" The first {MOST_ROWS} by rank; {left} more are in the table." if left > 0 else ""
    return Figure(title, caption + cut, make(section))


def choices(section: Section, found: Stability) -> Drawing:
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
    choices = words.counted(len(found.choices), "other choice")
    label = f"Ranks of {words.counted(len(rows), 'method')} under {choices}"
    return Drawing(parts.by_row(ranges, list(called.values()), layers), label)


def pareto(section: Section) -> Drawing:
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
    return Drawing(parts.labelled(data, x, y, across=True, under=[line]), label)


def cost(section: Section) -> Drawing:
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
    return Drawing(
        parts.labelled(data, x, y), f"Training time against ES-Dice of {words.counted(len(rows), 'method')}"
    )


def _dominates(one: Spec, other: Spec) -> bool:
    as_good: bool = one["dice"] >= other["dice"] and one["gap"] <= other["gap"]
    return bool(as_good and (one["dice"] > other["dice"] or one["gap"] < other["gap"]))
