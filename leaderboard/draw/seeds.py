"""A method's groups, seed by seed, as a figure."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.compute import words
from leaderboard.compute.row import Row
from leaderboard.compute.sections import Section
from leaderboard.compute.seeds import SeedRow
from leaderboard.draw import parts
from leaderboard.draw.parts import Figure
from leaderboard.draw.svg import COLOURS, Drawing


def of_method(section: Section, row: Row, by_seed: Sequence[SeedRow]) -> Figure:
    """Return every group's Dice with its interval, and a dot for each seed."""
    numbers = {"all": row.number("dice", "overall")} | {g: row.group("dice", g) for g in section.groups}
    shown = [name for name, number in numbers.items() if number.there]
    data = [parts.interval(name, name, numbers[name]) for name in shown]
    dots = [
        {"name": name, "value": value, "said": f"{name}, seed {seed.seed}: {words.number(value)}"}
        for seed in by_seed
        for name, value in zip(("all", *section.groups), (seed.overall, *seed.groups), strict=True)
        if value is not None and name in shown
    ]
    base = None if section.baseline in (None, row.method) else section.row(str(section.baseline))
    erm = [] if base is None else [("all", base.number("dice", "overall"))]
    erm += [] if base is None else [(group, base.group("dice", group)) for group in section.groups]
    ticks = [
        {"name": name, "value": number.value, "said": f"ERM, {name}: {words.number(number.value)}"}
        for name, number in erm
        if number.there and name in shown
    ]
    low, value = (parts.axis(end, "Dice") for end in ("low", "value"))
    accent = {"value": COLOURS["accent"]}
    layers = [
        *(
            [
                parts.mark("tick", value, color={"value": COLOURS["ink"]})
                | {"data": {"values": ticks}, "mark": {"type": "tick", "thickness": 2, "size": 22}}
            ]
            if ticks
            else []
        ),
        parts.mark("rule", low, x2={"field": "high"}, color=accent),
        parts.mark("point", value, filled=True, color=accent)
        | {"mark": {"type": "point", "filled": True, "opacity": 1, "size": 90}},
        parts.mark("point", value, color={"value": COLOURS["ink"]})
        | {"data": {"values": dots}, "mark": {"type": "point", "size": 35, "opacity": 0.8}},
    ]
    label = f"Dice of {words.listed(shown, 8)} with 95% intervals and each seed"
    caption = f"{section.structure}, with 95% intervals. Open circles: single seeds."
    caption += " Upright lines: ERM." if ticks else ""
    return Figure("Dice of every group", caption, Drawing(parts.by_row(data, shown, layers), label))
