"""Small figures as SVG text: intervals of groups on one line each, a curve with its band."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from markupsafe import Markup, escape

_WIDTH, _LEFT, _RIGHT, _ROW = 480, 158, 20, 26
_LETTERS = 23
"""Letters of a name that fit beside the axis on one line; a longer one has two."""

Line = tuple[str, float, float, float]
"""A group's name, its estimate, and the ends of its interval, NaN for none."""


def intervals(lines: Sequence[Line], label: str, heads: Sequence[int] = ()) -> Markup:
    """Return a row a group: its mean as a dot on its interval; "" without any number.

    heads: which lines are a name above the following ones, and have no number.
    """
    there = [line for line in lines if not math.isnan(line[1])]
    if not there:
        return Markup("")
    ends = [value for line in there for value in line[1:] if not math.isnan(value)]
    low, high = _round_out(min(ends), max(ends))
    height = _ROW * len(lines) + 34
    parts = [_head(height, label)]
    for tick in _ticks(low, high):
        x = _x(tick, low, high)
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="{height - 28}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 10}" text-anchor="middle">{tick:g}</text>')
    for i, line in enumerate(lines):
        parts += _row(line, i * _ROW + 18, low, high, head=i in heads)
    return Markup("".join(parts) + "</svg>")


def curve(points: Sequence[tuple[float, float, float, float]], label: str, along: str) -> Markup:
    """Return a curve with its band, `Point`s of `harness.equity.along`; "" for fewer than two."""
    if len(points) < 2:
        return Markup("")
    first, last = points[0][0], points[-1][0]
    low, high = _round_out(min(p[2] for p in points), max(p[3] for p in points))
    height = 220

    def at(x: float, y: float) -> str:
        across = 60 + (x - first) / max(last - first, 1e-12) * (_WIDTH - 80)
        return f"{across:.1f},{10 + (high - y) / (high - low) * 160:.1f}"

    band = [at(p[0], p[3]) for p in points] + [at(p[0], p[2]) for p in reversed(points)]
    line = " ".join(at(p[0], p[1]) for p in points)
    parts = [_head(height, label)]
    for tick in _ticks(low, high):
        y = 10 + (high - tick) / (high - low) * 160
        parts.append(f'<line class="axis" x1="60" y1="{y:.1f}" x2="{_WIDTH - 20}" y2="{y:.1f}"/>')
        parts.append(f'<text x="52" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(f'<polygon class="band" points="{" ".join(band)}"/><polyline class="line" points="{line}"/>')
    parts.append(f'<text x="60" y="190">{_plain(first)}</text>')
    parts.append(f'<text x="{_WIDTH - 20}" y="190" text-anchor="end">{_plain(last)}</text>')
    parts.append(f'<text x="{_WIDTH / 2:.0f}" y="210" text-anchor="middle">{escape(along)}</text></svg>')
    return Markup("".join(parts))


def _head(height: int, label: str) -> str:
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}">'
    )


def _row(line: Line, y: int, low: float, high: float, head: bool) -> list[str]:
    name, mean, start, end = line
    parts = _name(name, y, "head" if head else "ink")
    if head:
        return parts
    if math.isnan(mean):
        return [*parts, f'<text x="{_LEFT + 6}" y="{y + 4}">too few</text>']
    if not math.isnan(start):
        one, other = _x(start, low, high), _x(end, low, high)
        parts.append(f'<line class="line" x1="{one:.1f}" y1="{y}" x2="{other:.1f}" y2="{y}"/>')
    return [*parts, f'<circle class="dot" cx="{_x(mean, low, high):.1f}" cy="{y}" r="4.5"/>']


def _name(name: str, y: int, kind: str) -> list[str]:
    """Return a name beside its line, of two rows where it is long, cut where it is longer."""
    rows = textwrap.wrap(name, _LETTERS, max_lines=2, placeholder=" …") or [""]
    first = y + 4 if len(rows) == 1 else y - 3
    return [
        f'<text class="{kind}" x="{_LEFT - 10}" y="{first + 13 * i}" text-anchor="end">{escape(row)}</text>'
        for i, row in enumerate(rows)
    ]


def _x(value: float, low: float, high: float) -> float:
    return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)


def _plain(value: float) -> str:
    """Return a number of three digits as people write it, 2,104 and not 2.1e+03."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _round_out(low: float, high: float) -> tuple[float, float]:
    """Return ends on whole steps beyond both."""
    step = _step(low, high)
    first, last = math.floor(low / step) * step, math.ceil(high / step) * step
    return (first, last) if last > first else (first, first + step)


def _ticks(low: float, high: float) -> list[float]:
    step = _step(low, high)
    return [round(low + i * step, 10) for i in range(round((high - low) / step) + 1)]


def _step(low: float, high: float) -> float:
    rough = max(high - low, 1e-3) / 4
    power = 10 ** math.floor(math.log10(rough))
    return float(next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.999))
