"""The audit as one page: what the model will see, by group and split, and what is wrong with it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import numpy as np
from PIL import Image

from harness.cohorts import SPLITS, describe
from harness.cohorts.thumbnails import outlined
from harness.errors import HarnessError
from harness.store import files

if TYPE_CHECKING:
    from harness.cohorts.audit import Finding
    from harness.cohorts.cohort import Cohort
    from harness.cohorts.survey import Survey
    from harness.commands.sight import Sight
    from harness.protocol import Protocol

TILES = 3
"""Samples of each group and split on the contact sheet."""
MOST_GROUPS = 10
LEAST_DRAWN = 10
"""A histogram of fewer samples is a row of spikes beside which the others are flat."""

_SIDE = 112  # pixels of a tile, doubled for fine screens
_BINS = 32
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00")


@dataclass(frozen=True)
class Tile:
    """One sample on the contact sheet."""

    sample: str
    data: str
    empty: bool


@dataclass(frozen=True)
class Line:
    """One group's histogram: points of an SVG polyline."""

    colour: str
    dash: str
    points: str


@dataclass(frozen=True)
class Plot:
    """Histograms of one quantity, a line a group, each of the same area."""

    title: str
    low: str
    high: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Plots:
    """An attribute's plots, and which line is which group."""

    key: tuple[tuple[str, str, str], ...]
    drawn: tuple[Plot, ...]


def write(
    file: Path,
    cohort: Cohort,
    protocol: Protocol,
    seen: Survey,
    findings: Sequence[Finding],
    sights: Sequence[Sight],
    spread: float,
) -> None:
    """Write the page, which needs nothing beside it. Raises HarnessError where it cannot be written."""
    groups = {name: _groups(cohort, name) for name in protocol.attributes}
    splits = [split for split in SPLITS if len(cohort.rows(split))]
    values = {
        "cohort": cohort,
        "protocol": protocol,
        "findings": findings,
        "sights": sights,
        "spread": f"{spread:g}",
        "splits": splits,
        "columns": _columns(cohort, protocol),
        "histograms": {name: _plots(protocol, seen, own) for name, own in groups.items()},
        "structures": list(protocol.structures),
        "sheet": {name: _sheet(cohort, seen, own, splits) for name, own in groups.items()},
        "most_groups": MOST_GROUPS,
        "least": LEAST_DRAWN,
        "more_groups": any(len(own) > MOST_GROUPS for own in groups.values()),
        "number": lambda value: "–" if np.isnan(value) else f"{value:.3f}",
    }
    folder = Path(__file__).parent / "templates"
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    text = env.get_template("audit.html.j2").render(**values)
    try:
        files.write(file, text.encode())
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror or error}; give another file for the page.") from None


def _groups(cohort: Cohort, attribute: str) -> dict[str, np.ndarray]:
    """Return each group's rows, those of unknown group last where there are any."""
    codes = cohort.codes(attribute)
    rows = {group: np.flatnonzero(codes == i) for i, group in enumerate(cohort.groups[attribute])}
    unknown = np.flatnonzero(codes < 0)
    return rows | ({"unknown": unknown} if len(unknown) else {})


def _columns(cohort: Cohort, protocol: Protocol) -> dict[str, list[tuple[str, list[tuple[int, int]]]]]:
    found: dict[str, dict[str, list[tuple[int, int]]]] = {}
    # A row for each split there is, in the order of SPLITS.
    for row in describe(cohort, protocol).to_dict("records"):
        counts = found.setdefault(row["attribute"], {}).setdefault(row["group"], [])
        counts.append((row["samples"], row["patients"]))
    return {attribute: list(groups.items()) for attribute, groups in found.items()}


def _plots(protocol: Protocol, seen: Survey, groups: dict[str, np.ndarray]) -> Plots:
    groups = {group: rows for group, rows in groups.items() if len(rows) >= LEAST_DRAWN}
    styles = {group: _style(i) for i, group in enumerate(groups)}
    drawn = [_plot("mean brightness of the image, 0 to 255", seen.brightness, groups, styles)]
    for structure in protocol.structures:
        size = np.sqrt(seen.size(protocol, structure))
        there = {group: rows[size[rows] > 0] for group, rows in groups.items()}
        title = f"size of {structure} where it is there, square root of its pixels"
        drawn.append(_plot(title, size, there, styles))
    return Plots(tuple((group, *style) for group, style in styles.items()), tuple(drawn))


def _style(i: int) -> tuple[str, str]:
    return _COLOURS[i % len(_COLOURS)], ("solid", "dashed")[i // len(_COLOURS) % 2]


def _plot(
    title: str, values: np.ndarray, groups: dict[str, np.ndarray], styles: dict[str, tuple[str, str]]
) -> Plot:
    known = np.concatenate([values[rows] for rows in groups.values()] or [values]).astype(float)
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    shares = {
        group: np.histogram(values[rows], edges)[0] / len(rows) for group, rows in groups.items() if len(rows)
    }
    most = max((float(share.max()) for share in shares.values()), default=1.0)
    lines = tuple(Line(*styles[group], _points(share / most)) for group, share in shares.items())
    return Plot(title, f"{low:.0f}", f"{high:.0f}", lines)


def _points(heights: np.ndarray) -> str:
    """Return a step line over the plot's width, heights within [0, 1]."""
    x = np.linspace(10, 410, len(heights) + 1)
    y = 145 - 130 * heights
    return " ".join(f"{a:.1f},{h:.1f} {b:.1f},{h:.1f}" for a, b, h in zip(x[:-1], x[1:], y, strict=True))


def _sheet(
    cohort: Cohort, seen: Survey, groups: dict[str, np.ndarray], splits: list[str]
) -> list[tuple[str, list[list[Tile]]]]:
    split = cohort.subjects["split"].to_numpy()
    shown = list(groups.items())[:MOST_GROUPS]
    return [
        (group, [_tiles(cohort, seen, rows[split[rows] == name]) for name in splits]) for group, rows in shown
    ]


def _tiles(cohort: Cohort, seen: Survey, rows: np.ndarray) -> list[Tile]:
    """Return tiles of samples spread over the rows; none where there are none."""
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, TILES).astype(int))] if len(rows) else rows
    names = cohort.subjects["sample"]
    return [
        Tile(str(names.iloc[row]), _data(cohort.images[row], cohort.masks[row]), bool(seen.empty[row]))
        for row in chosen
    ]


def _data(image: np.ndarray, mask: np.ndarray) -> str:
    """Return the image with the outline of its mask as an address that holds it."""
    step = 2 * _SIDE
    large = np.asarray(Image.fromarray(np.asarray(image)).resize((step, step), Image.Resampling.BICUBIC))
    grid = np.asarray(Image.fromarray(np.asarray(mask)).resize((step, step), Image.Resampling.NEAREST))
    file = io.BytesIO()
    Image.fromarray(outlined(large, grid)).save(file, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
