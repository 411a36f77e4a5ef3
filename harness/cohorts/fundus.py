"""Draw SLO-like fundus images around the optic disc, with their masks of rim and cup."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

RIM, CUP = 1, 2

_REACH = np.array([-0.3, 0.3])  # no disc, nor the crescent at it, reaches further from its centre

# All arithmetic is in float64: what libm or BLAS differ by between platforms (1e-16) then does
# not survive rounding to 8 bits.


@dataclass(frozen=True)
class Eye:
    """What one eye looks like; lengths in widths of the image, brightness from 0 to 1.

    cup: vertical cup-to-disc ratio; notch: how much the cup is drawn out up and down; contrast: cup
    above rim; slope: how far within the cup's margin, in disc radii, its bright floor ends; blur: width
    of the floor's margin in disc radii; ragged: irregularity of the outline; haze: share of all contrast
    that the media swallow.
    """

    cup: float
    notch: float
    contrast: float
    slope: float
    blur: float
    ragged: float
    haze: float


def draw(eye: Eye, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the image, uint8 [size, size], and the mask, uint8 [size, size]: 0, RIM or CUP."""
    axis = (np.arange(size) + 0.5) / size
    x, y = axis[None, :], axis[:, None]
    side = rng.choice([-1.0, 1.0])  # which way the fovea lies: right or left eye
    centre = rng.uniform(0.42, 0.58, 2)
    radius = rng.uniform(0.13, 0.165)
    u, v = _disc_frame(x - centre[0], y - centre[1], radius, rng)
    polar = _polar(u, v)
    brightness = _retina(size, polar, rng)

    near = (
        slice(*np.searchsorted(axis, centre[1] + _REACH)),
        slice(*np.searchsorted(axis, centre[0] + _REACH)),
    )
    u, v, polar = u[near], v[near], _Polar(polar.distance[near], polar.turn[near])
    disc, cup = _outlines(polar, u, v, side, eye, rng)
    brightness[near] += _crescent(u, side, disc, rng)
    brightness[near] += rng.uniform(0.10, 0.2) * _inside(disc, rng.uniform(0.05, 0.12))
    brightness[near] += eye.contrast * _inside(cup + eye.slope, eye.blur)
    mask = np.zeros((size, size), dtype=np.uint8)
    mask[near] = np.where(disc < 0, np.where(cup < 0, CUP, RIM), 0)

    vessels = _vessels(size, centre, radius, side, rng)
    brightness *= 1 - rng.uniform(0.4, 0.55) * vessels
    brightness = brightness.mean() + (1 - eye.haze) * (brightness - brightness.mean())
    image = _speckle(brightness * _illumination(x, y, size, rng), rng)
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8), mask


def _disc_frame(
    dx: np.ndarray, dy: np.ndarray, radius: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates in disc radii, [size, size] each: origin in the disc, tilted, taller than wide."""
    tilt, tall = rng.normal(0, 0.15), rng.uniform(1.0, 1.15)
    c, s = math.cos(tilt), math.sin(tilt)
    return (c * dx + s * dy) / radius, (c * dy - s * dx) / (radius * tall)


def _outlines(
    disc: _Polar, u: np.ndarray, v: np.ndarray, side: float, eye: Eye, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each pixel is outside disc and cup, in disc radii, negative within."""
    out_of_disc = disc.distance - _outline(disc, 1.0, rng.normal(0, 0.025, 6))
    cup = _polar(u - side * rng.uniform(0.0, 0.1), v - rng.normal(0, 0.03))
    waves = rng.normal(0, eye.ragged, 6)
    waves[0] -= eye.notch  # cos 2t: narrower sideways, drawn out up and down
    out_of_cup = cup.distance - _outline(cup, eye.cup, waves)
    return out_of_disc, np.maximum(out_of_cup, out_of_disc + 0.08)  # some rim is left everywhere


class _Polar(NamedTuple):
    """Distance from an origin, and the direction from it as a complex number of length 1: [H, W]."""

    distance: np.ndarray
    turn: np.ndarray


def _polar(u: np.ndarray, v: np.ndarray) -> _Polar:
    distance = np.sqrt(u * u + v * v)
    inverse = 1 / np.maximum(distance, 1e-9)
    turn = np.empty(distance.shape, dtype=np.complex128)
    turn.real, turn.imag = u * inverse, v * inverse
    return _Polar(distance, turn)


def _outline(polar: _Polar, radius: float, weights: np.ndarray) -> np.ndarray:
    """Return how far a closed curve is from the origin in each direction: a circle with 2, 3 and 4 lobes."""
    two, three, four = (complex(a, -b) for a, b in weights.reshape(3, 2))  # Re(conj(w) z) = a cos + b sin
    turn = polar.turn
    lobes = turn * turn * (two + turn * (three + turn * four))
    curve: np.ndarray = radius * (1 + lobes.real)
    return curve


def _inside(outside: np.ndarray, width: float) -> np.ndarray:
    """Return 1 within, 0 outside, and a smooth step of the given width across the margin."""
    t = np.clip(0.5 - outside / width, 0, 1)
    return t * t * (3 - 2 * t)


def _retina(size: int, disc: _Polar, rng: np.random.Generator) -> np.ndarray:
    """Return background brightness: choroidal mottle, and nerve fibres running out of the disc."""
    base = rng.uniform(0.34, 0.44) + _noise(size, 5, 0.03, rng) + _noise(size, 22, 0.018, rng)
    sixteen = disc.turn
    for _ in range(4):
        sixteen = sixteen * sixteen
    a, b, c, d = rng.normal(0, 0.012, 4)
    waves = (sixteen * (complex(a, b) + complex(c, d) * sixteen)).real
    poles = np.abs(disc.turn.imag)  # fibres are thickest above and below
    fibres = (waves + 0.05) * poles / (1 + 0.15 * disc.distance * disc.distance)
    brightness: np.ndarray = base + fibres
    return brightness


def _crescent(u: np.ndarray, side: float, disc: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the bright crescent of bare sclera that many discs have towards the fovea."""
    if rng.random() > 0.35:
        return np.zeros_like(disc)
    width = rng.uniform(0.1, 0.28)
    ring = _inside(disc - width, 0.12)
    return rng.uniform(0.06, 0.16) * ring * np.clip(side * u - 0.25, 0, 1)


def _noise(size: int, cells: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise [size, size]: a grid of normal numbers, interpolated."""
    at = (np.arange(size) + 0.5) * cells / size
    low = at.astype(int)
    t = at - low
    t = t * t * (3 - 2 * t)
    weights = np.zeros((size, cells + 1))
    weights[np.arange(size), low] = 1 - t
    weights[np.arange(size), low + 1] = t
    noise: np.ndarray = weights @ rng.normal(0, strength, (cells + 1, cells + 1)) @ weights.T
    return noise


def _vessels(
    size: int, centre: np.ndarray, radius: float, side: float, rng: np.random.Generator
) -> np.ndarray:
    """Return how much each pixel is covered by a vessel, 0 to 1 [size, size]."""
    points, widths = _vessel_points(centre, radius, side, 1 / size, rng)
    reach = math.ceil(widths.max() * size) + 1
    offsets = np.arange(-reach, reach + 1)
    pixel = np.floor(points * size).astype(int)
    columns = pixel[:, 0, None] + offsets
    rows = pixel[:, 1, None] + offsets
    dx = columns + 0.5 - points[:, 0, None] * size
    dy = rows + 0.5 - points[:, 1, None] * size
    apart = np.sqrt(dx[:, None, :] ** 2 + dy[:, :, None] ** 2)
    cover = np.clip(widths[:, None, None] * size + 0.5 - apart, 0, 1)
    flat = (rows[:, :, None] + reach) * (size + 2 * reach) + columns[:, None, :] + reach
    canvas = np.zeros((size + 2 * reach) ** 2)
    np.maximum.at(canvas, flat.ravel(), cover.ravel())
    return canvas.reshape(size + 2 * reach, -1)[reach : reach + size, reach : reach + size]


def _vessel_points(
    centre: np.ndarray, radius: float, side: float, step: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return points along all vessels [P, 2] and half their width there [P], within the image.

    Four pairs of trunks leave the disc up and down, two bending towards the fovea and two
    away from it; each sends out branches.
    """
    step *= 1.5
    trunks, length = 8, int(0.75 / step)
    start = (
        np.tile(centre, (trunks, 1)) + radius * rng.normal(0, 0.12, (trunks, 2)) - [side * 0.25 * radius, 0]
    )
    up = np.tile([-1.0, 1.0], trunks // 2)
    nasal = np.repeat([0.0, 0.0, 0.0, 1.0], 2)
    lean = np.where(nasal > 0, rng.uniform(-1.0, -0.5, trunks), rng.uniform(-0.25, 0.55, trunks))
    bend = np.where(nasal > 0, rng.normal(0, 0.8, trunks), rng.uniform(0.6, 2.2, trunks))
    heading = math.pi / 2 - lean  # from the horizontal, towards the fovea
    width = rng.uniform(0.006, 0.0115, trunks) * np.where(nasal > 0, 0.7, 1.0)
    paths, angles, widths = _walk(start, heading, -bend, width, length, step, rng)

    branches = 16
    parent = rng.integers(0, trunks, branches)
    at = rng.integers(length // 12, length // 2, branches)
    turned = angles[parent, at] + rng.choice([-1.0, 1.0], branches) * rng.uniform(0.35, 0.9, branches)
    twigs, _, thin = _walk(
        paths[parent, at],
        turned,
        rng.normal(0, 1.2, branches),
        0.65 * widths[parent, at],
        length // 2,
        step,
        rng,
    )
    # Walks are drawn in a frame where the fovea lies to the right and trunks run upwards.
    for walk, origin, way in ((paths, start, up), (twigs, start[parent], up[parent])):
        walk[..., 0] = origin[:, None, 0] + side * (walk[..., 0] - origin[:, None, 0])
        walk[..., 1] = origin[:, None, 1] + way[:, None] * (walk[..., 1] - origin[:, None, 1])
    points = np.concatenate([paths.reshape(-1, 2), twigs.reshape(-1, 2)])
    half = np.concatenate([widths.ravel(), thin.ravel()])
    inside = ((points > 0) & (points < 1)).all(axis=1)
    return points[inside], half[inside]


def _walk(
    start: np.ndarray,
    heading: np.ndarray,
    bend: np.ndarray,
    width: np.ndarray,
    length: int,
    step: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return smooth random walks: points [K, T, 2], headings [K, T] and tapering half widths [K, T]."""
    along = np.arange(length) * step
    swing = rng.normal(0, 0.25, (len(start), 1)) * np.sin(along * rng.uniform(15, 35, (len(start), 1)))
    angles = heading[:, None] + bend[:, None] * along + swing
    moves = step * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    paths = start[:, None] + np.cumsum(moves, axis=1) - moves[:, :1]
    return paths, angles, width[:, None] * (1 - 0.6 * along / along[-1])


def _illumination(x: np.ndarray, y: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the uneven light of the scanner, around 1: a slope, and corners that fall off."""
    slope = rng.normal(0, 0.12, 2)
    corners = rng.uniform(0.1, 0.5)
    distance = (x - 0.5) ** 2 + (y - 0.5) ** 2
    light: np.ndarray = 1 + slope[0] * (x - 0.5) + slope[1] * (y - 0.5) - corners * distance
    light += _noise(size, 3, 0.05, rng)
    return light


def _speckle(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the image with a laser's multiplicative speckle, the scanner's lines and its noise."""
    size = len(image)
    grain = rng.normal(0, 1, (size + 1, size + 1))
    grain = grain[1:, 1:] + 0.7 * grain[:-1, 1:] + 0.7 * grain[1:, :-1] + 0.49 * grain[:-1, :-1]
    strength = rng.uniform(0.04, 0.08)
    speckled: np.ndarray = image * (1 + strength * grain + rng.normal(0, 0.008, (size, 1)))
    return speckled
