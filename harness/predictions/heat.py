"""Maps of where in a structure two groups' errors lie, as SVG text: each group's, and their difference."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup, escape

from harness.predictions.aligned import REACH

_CELL, _GAP, _TOP = 6, 24, 38
_LEVELS = 12
_LEAST = 0.05
"""The palest full colour stands for so much error at least: a map of hardly any looks like that."""


def heat(
    worst: tuple[str, np.ndarray], best: tuple[str, np.ndarray], cluster: np.ndarray, label: str, lying: str
) -> Markup:
    """Return three maps side by side: both groups' errors and how much more the first has.

    worst, best: a group's name and its mean error at each place, float [S, S] from 0 to 1; cluster: bool
    [S, S], the places to outline; label: the text for who cannot see it; lying: which way up it is.
    """
    side = len(cluster) * _CELL
    width, height = 3 * side + 2 * _GAP, _TOP + side + 70
    apart = worst[1] - best[1]
    most = max(float(worst[1].max()), float(best[1].max()), _LEAST)
    far = max(float(np.abs(apart).max()), _LEAST)
    shown = (
        (worst[0], worst[1] / most, "errors"),
        (best[0], best[1] / most, "errors"),
        (f"{worst[0]} less {best[0]}", apart / far, "more or fewer"),
    )
    parts = [
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}">'
    ]
    for i, (name, values, what) in enumerate(shown):
        x = i * (side + _GAP)
        parts.append(f'<text class="ink" x="{x}" y="14">{escape(_short(name))}</text>')
        parts.append(f'<text x="{x}" y="30">{what}</text>')
        parts.append(f'<g transform="translate({x} {_TOP})">{_panel(values)}{_outline(cluster)}</g>')
    under = _TOP + side
    parts.append(_scale(0, under, 2 * side + _GAP, [0.0, most], ("0", f"{100 * most:.0f} of 100")))
    ends = (f"−{100 * far:.0f}", f"+{100 * far:.0f} of 100")
    parts.append(_scale(2 * (side + _GAP), under, side, [-far, far], ends))
    parts.append(f'<text x="0" y="{height - 8}">{escape(lying)}</text></svg>')
    return Markup("".join(parts))


def _panel(values: np.ndarray) -> str:
    """Return the cells of a map of values from -1 to 1, neighbours of one shade as one."""
    side = len(values) * _CELL
    level = np.rint(values * _LEVELS).astype(int)
    parts = [f'<rect class="frame" width="{side}" height="{side}"/>']
    for row, own in enumerate(level):
        starts = np.flatnonzero(np.diff(own, prepend=own[0] + 1))
        for start, end in zip(starts, [*starts[1:], len(own)], strict=True):
            if own[start]:
                parts.append(_cell(row, int(start), int(end), int(own[start])))
    middle, radius = side / 2, side / 2 / REACH
    return "".join(parts) + f'<circle class="body" cx="{middle:g}" cy="{middle:g}" r="{radius:.1f}"/>'


def _cell(row: int, start: int, end: int, level: int) -> str:
    kind = "more" if level > 0 else "fewer"
    return (
        f'<rect class="{kind}" x="{start * _CELL}" y="{row * _CELL}" width="{(end - start) * _CELL}" '
        f'height="{_CELL}" fill-opacity="{min(abs(level) / _LEVELS, 1):.2f}"/>'
    )


def _outline(cluster: np.ndarray) -> str:
    """Return the edges between the places of a cluster and the others as one path."""
    padded = np.pad(cluster, 1)
    across = padded[1:, 1:-1] != padded[:-1, 1:-1]
    down = padded[1:-1, 1:] != padded[1:-1, :-1]
    edges = [f"M{x * _CELL} {y * _CELL}h{_CELL}" for y, x in np.argwhere(across)]
    edges += [f"M{x * _CELL} {y * _CELL}v{_CELL}" for y, x in np.argwhere(down)]
    return f'<path class="cluster" d="{"".join(edges)}"/>'


def _scale(x: int, y: int, width: int, ends: list[float], names: tuple[str, str]) -> str:
    """Return a legend: shades from one end to the other, their values below."""
    steps = np.linspace(ends[0], ends[1], 13)
    each, most = width / len(steps), max(map(abs, ends))
    parts = [
        f'<rect class="{"more" if value > 0 else "fewer"}" x="{x + i * each:.1f}" y="{y + 10}" '
        f'width="{each:.1f}" height="8" fill-opacity="{abs(value) / most:.2f}"/>'
        for i, value in enumerate(steps)
    ]
    parts.append(f'<rect class="frame" x="{x}" y="{y + 10}" width="{width}" height="8"/>')
    parts.append(f'<text x="{x}" y="{y + 34}">{names[0]}</text>')
    parts.append(f'<text x="{x + width}" y="{y + 34}" text-anchor="end">{names[1]}</text>')
    return "".join(parts)


def _short(name: str) -> str:
    return name if len(name) <= 22 else name[:21] + "…"
