"""How many bytes a site's pictures may take, and how many cases and methods a board shows in its part."""

from __future__ import annotations

from dataclasses import dataclass

SITE = 60 << 20
A_TRIAL = 10_000
"""Bytes that a large site takes without pictures, a trial; see docs/performance.md."""
MOST, LEAST = 24 << 20, 3 << 20
"""Bytes of all pictures of a site, whatever the rest of it takes."""

PICTURE = 4 << 10, 24 << 10
"""Bytes of a picture: with fewer nothing is told apart in it, and it has no use for more."""
SEEN = 8 << 10
"""Bytes of a picture below which a photograph of its size loses what can be seen."""
MAPS = 24 << 10, 1 << 20
"""Bytes of what a method predicted of all cases that can be looked at, packed."""
OF_A_GROUP = 6
"""Pictures of a method and group: worst, median and best by itself, and on average over methods."""


@dataclass(frozen=True)
class Shares:
    """What a board's pictures are. image, picture, maps: the most bytes of a file of each kind."""

    cases: int
    methods: int
    image: int
    picture: int
    maps: int


def of_board(trials: int, boards: int) -> int:
    """Return the bytes for the pictures of each of a site's boards. trials: of all of them."""
    return min(MOST, max(LEAST, SITE - A_TRIAL * trials)) // boards


def shares(room: int, cases: int, methods: int, attributes: int, groups: int) -> Shares:
    """Return how many of the cases and methods are shown in `room` bytes, which no file's content exceeds.

    A quarter is for images, a quarter for maps, of the truth and of a method and attribute each, and half
    for the pictures of a method and group. groups: of all attributes together.
    """
    quarter, half, each = room // 4, room // 2, OF_A_GROUP * max(groups, 1)
    shown = min(cases, quarter // PICTURE[0])
    drawn = min(methods, half // (each * PICTURE[0]), max(quarter // MAPS[0] - 1, 0) // attributes)
    return Shares(
        cases=shown,
        methods=drawn,
        image=min(PICTURE[1], quarter // max(shown, 1)),
        picture=min(PICTURE[1], half // max(drawn * each, 1)),
        maps=min(MAPS[1], quarter // (drawn * attributes + 1)),
    )
