"""The worst, median and best test cases as small pictures with the outlines of truth and prediction."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from PIL import Image

from harness.equity import MIN_PATIENTS
from harness.errors import HarnessError
from harness.store import Record, Store, names
from leaderboard.draw.room import MOST, SEEN, Shares, shares
from leaderboard.kept import keeps, kept, made
from leaderboard.read.boards import Board

SIDE = 256
TRUTH = (0, 229, 255)
PREDICTION = (255, 61, 139)
PLACES = ("worst", "median", "best")
MAP_SIDE = 128
MOST_EXPLORED = 300
"""Of more test cases so many, evenly chosen, can be looked at: each is a picture of some kilobytes."""
QUALITIES = (80, 60, 40, 20, 5)


Made = TypeVar("Made")
Packed: TypeAlias = tuple[int, int, str]
"""Label maps in a text: the side of each, of how many cases one is there, and the text."""


class _NotWhole(Exception):
    """A record's label maps cannot be drawn."""


class _Changed(Exception):
    """A record's label maps are others than a moment ago."""


@dataclass(frozen=True)
class Case:
    """One picture: a test sample as one trial segmented it. `dice` is of the board's first structure."""

    place: str
    sample: str
    dice: float
    url: str
    """From the root of the site."""


@dataclass(frozen=True)
class Strip:
    """One test sample as every method segmented it."""

    place: str
    sample: str
    cases: list[tuple[str, Case]]
    """Method title and picture."""


@dataclass
class Gallery:
    """Draws a board's pictures into the site's folder, each once."""

    board: Board
    store: Store
    folder: Path
    prefix: str
    """Folder of the pictures, from the root of the site."""
    room: int = MOST
    """Bytes that all of them may take."""
    methods: int | None = None
    """How many methods' predictions are asked for; None for all."""
    _cases: dict[str, np.ndarray] = field(default_factory=dict)
    _whole: dict[str, bool] = field(default_factory=dict)
    _latest: tuple[str, tuple[dict[str, int], np.ndarray], list[str]] | None = None
    """The label maps that were read last: of one record, because those of a board may not fit into memory."""

    def __post_init__(self) -> None:
        self._cases = self.store.spared(self.store.cases, self.board.name) or {}
        self._position = {str(s): i for i, s in enumerate(self._cases.get("samples", []))}
        if self._cases and not self._are_all_in(self._position):
            path = self.store.board_file(self.board.name, names.CASES)
            self.store.tell(HarnessError(f"{path}: its samples are not the board's; no case is shown."))
            self._cases = {}

    @property
    def allowed(self) -> bool:
        """Whether the cohort lets its images be shown."""
        return bool(self._cases) and self.board.record.cohort.get("publish_images") is True

    def of_method(self, method: str, attribute: str) -> dict[str, list[Case]]:
        """Return group -> the worst, median and best case of the method's first finished seed."""
        first = self._first(self.board.entries[method].done(attribute))
        if first is None:
            return {}
        dice = self._dice(first)
        return {
            group: [self._case(first, row, place, dice[row]) for place, row in _places(rows, dice)]
            for group, rows in self._groups(attribute).items()
        }

    @cached_property
    def shares(self) -> Shares:
        """What of the board is shown in the room that its pictures have."""
        board = self.board
        cases = min(int(board.rows(board.structures[0]).sum()), MOST_EXPLORED)
        methods = len(board.entries) if self.methods is None else self.methods
        groups = sum(len(self._groups(attribute)) for attribute in board.attributes)
        return shares(self.room, cases, methods, len(board.attributes), groups)

    @property
    def coarse(self) -> bool:
        """Whether a picture may be so coarse that one sees it."""
        return min(self.shares.image, self.shares.picture) < SEEN

    @cached_property
    def explored(self) -> dict[int, int]:
        """Each case that can be looked at, by its place among the ranking structure's, to its row."""
        rows = np.flatnonzero(self.board.rows(self.board.structures[0]))
        most = self.shares.cases
        return {case: int(rows[case]) for case in (i * len(rows) // most for i in range(most))}

    def write_explored(self) -> None:
        """Write the image of each such case, and the true label maps of all."""
        if not self.explored:
            return
        found = [self._position[self._sample(row)] for row in self.explored.values()]
        for case, at in zip(self.explored, found, strict=True):
            self._put(self.image_url(case), kept(_shown, self._cases["images"][at], self.shares.image))
        self._write_maps("truth", kept(_small, self._cases["masks"][found], self.shares.maps))

    def write_predicted(self, method: str, attribute: str) -> bool:
        """Write the label maps of the method's first finished seed; tell whether there are any."""
        first = self._first(self.board.entries[method].done(attribute))
        if first is None:
            return False
        samples, most = [self._sample(row) for row in self.explored.values()], self.shares.maps
        if not samples:
            return False

        def packed(position: dict[str, int], labels: np.ndarray) -> Packed:
            return _small(labels[[position[sample] for sample in samples]], most)

        self._write_maps(f"{method} {attribute}", self._of_maps("maps", first, [samples, most], packed))
        return True

    def image_url(self, case: int | str) -> str:
        """Return where a case's image lies, from the root of the site."""
        return f"{self.prefix}/case-{case}.webp"

    def maps_url(self, name: str) -> str:
        """Return where the label maps lie of the truth, or of "METHOD ATTRIBUTE"."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        return f"{self.prefix}/maps-{digest}.js"

    def _write_maps(self, name: str, found: Packed) -> None:
        side, step, packed = found
        told = {"name": name, "side": side, "cases": list(self.explored)[::step], "packed": packed}
        self._put(self.maps_url(name), f"Board.samples.receive({json.dumps(told)});\n".encode())

    def _put(self, url: str, data: bytes) -> None:
        path = self.folder / url
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def across_methods(self, attribute: str, methods: Sequence[str]) -> dict[str, list[Strip]]:
        """Return group -> the cases worst, median and best on average, each as some methods did it."""
        found = {name: self._first(self.board.entries[name].done(attribute)) for name in methods}
        first = {name: record for name, record in found.items() if record is not None}
        if not first:
            return {}
        dice = {name: self._dice(record) for name, record in first.items()}
        chosen = self._chosen(list(dice.values()), attribute)
        strips = {
            group: [Strip(place, self._sample(row), []) for place, row in places]
            for group, places in chosen.items()
        }
        for name, record in first.items():  # method by method: each one's label maps are read once
            for group, places in chosen.items():
                for strip, (place, row) in zip(strips[group], places, strict=True):
                    case = self._case(record, row, place, dice[name][row])
                    strip.cases.append((record.method.title, case))
        return strips

    def draw_ahead(self, method: str, attribute: str, methods: Sequence[str]) -> None:
        """Draw a method's cases of `across_methods` for what is kept, while its label maps are at hand.

        They are those of its own where a record of another cannot be drawn, and others are drawn there then.
        """
        done = [found[0] for name in methods if (found := self.board.entries[name].done(attribute))]
        own = self._first(self.board.entries[method].done(attribute))
        if own is None or not keeps():
            return
        for places in self._chosen([self._dice(record) for record in done], attribute).values():
            for _, row in places:
                self._draw(own, self._sample(row))

    def _chosen(self, dice: list[np.ndarray], attribute: str) -> dict[str, Sequence[tuple[str, int]]]:
        """Return group -> the rows of the cases worst, median and best on average."""
        average = np.mean(dice, axis=0)
        return {group: _places(rows, average) for group, rows in self._groups(attribute).items()}

    def _first(self, done: list[Record]) -> Record | None:
        """Return the first record whose predictions can be drawn; None without any, or where none may be."""
        return next((record for record in done if self.allowed and self._is_whole(record)), None)

    def _is_whole(self, record: Record) -> bool:
        if record.id not in self._whole:
            try:
                self._whole[record.id] = self._of_maps("whole", record, None, lambda position, labels: True)
            except _NotWhole:  # which is told of again each time, and so never kept
                self._whole[record.id] = False
        return self._whole[record.id]

    def _of_maps(
        self, what: str, record: Record, of: object, make: Callable[[dict[str, int], np.ndarray], Made]
    ) -> Made:
        """Return what is made of a record's label maps and of `of`, the maps read where nothing is kept.

        Raises _NotWhole where they cannot be drawn.
        """
        if not keeps():
            return make(*self._predicted(record)[0])
        told = [record.files.get(names.PREDICTIONS), self._samples, of]
        trials = self.board.trials_of(record)
        content = [self.store.digest(trial, names.PREDICTIONS) for trial in trials]

        def anew() -> Made:
            maps, read = self._predicted(record)
            if read != content:
                raise _Changed
            return make(*maps)

        try:
            return made(f"{__name__}.{what}", [content, trials, told], anew)
        except _Changed:  # while the site was being built: of what is there by now, and nothing is kept of it
            return make(*self._predicted(record)[0])

    def _predicted(self, record: Record) -> tuple[tuple[dict[str, int], np.ndarray], list[str]]:
        """Return the position of each sample and the label maps of a trial, and the digests of their files.

        Raises _NotWhole where they are damaged.
        """
        if self._latest is not None and self._latest[0] == record.id:
            return self._latest[1:]
        trials, read = self.board.trials_of(record), list[str]()
        parts = [self.store.spared(self.store.predictions, trial, read) for trial in trials]
        there = [part for part in parts if part is not None]
        if len(there) < len(trials):
            raise _NotWhole
        samples, labels = (np.concatenate(arrays) for arrays in zip(*there, strict=True))
        position = {str(sample): i for i, sample in enumerate(samples)}
        if not self._are_all_in(position):
            path = self.store.path(record.id) / names.PREDICTIONS
            self.store.tell(HarnessError(f"{path}: its samples are not the board's; none is shown."))
            raise _NotWhole
        self._latest = record.id, (position, labels), read
        return self._latest[1:]

    def _are_all_in(self, position: dict[str, int]) -> bool:
        return position.keys() >= set(self._samples)

    def _groups(self, attribute: str) -> dict[str, np.ndarray]:
        column = self.board.test[attribute]
        groups = {
            group: np.flatnonzero((column == group).to_numpy(bool))
            for group in self.board.record.groups[attribute]
        }
        patients = self.board.test["patient"]
        return {
            group: rows for group, rows in groups.items() if patients.iloc[rows].nunique() >= MIN_PATIENTS
        }

    def _dice(self, record: Record) -> np.ndarray:
        dice: np.ndarray = self.board.scores[record.id][0, 0]
        return dice

    def _sample(self, row: int) -> str:
        return self._samples[row]

    @cached_property
    def _samples(self) -> list[str]:
        return [str(sample) for sample in self.board.test["sample"]]

    def _case(self, record: Record, row: int, place: str, dice: float) -> Case:
        sample = self._sample(row)
        url = f"{self.prefix}/{record.id}-{row}.webp"
        if not (self.folder / url).exists():
            self._put(url, self._draw(record, sample))
        return Case(place, sample, float(dice), url)

    def _draw(self, record: Record, sample: str) -> bytes:
        image, truth = (self._cases[what][self._position[sample]] for what in ("images", "masks"))
        most = self.shares.picture

        def drawn(position: dict[str, int], labels: np.ndarray) -> bytes:
            return encoded(picture(image, truth, labels[position[sample]]), most)

        return self._of_maps("picture", record, [sample, image, truth, most], drawn)


def picture(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> Image.Image:
    """Return the image, uint8 [H, W, 3], with the outlines of two label maps, uint8 [H, W]."""
    pixels = np.asarray(resized(image)).copy()
    for labels, colour in ((truth, TRUTH), (prediction, PREDICTION)):
        pixels[outline(labels)] = colour
    return Image.fromarray(pixels)


def resized(image: np.ndarray) -> Image.Image:
    """Return an image, uint8 [H, W, 3], as large as every picture."""
    return Image.fromarray(image).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _shown(image: np.ndarray, most: int) -> bytes:
    return encoded(resized(image), most)


def encoded(picture: Image.Image, most: int) -> bytes:
    """Return a picture as WebP of at most so many bytes: coarser, then smaller, until it is."""
    for quality in QUALITIES:
        held = io.BytesIO()
        # Slower methods make a twentieth less of it, and take twice the time.
        picture.save(held, "WEBP", quality=quality, method=2)
        if held.tell() <= most:
            return held.getvalue()
    return encoded(picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX), most)


def _small(maps: np.ndarray, most: int) -> Packed:
    """Return label maps, uint8 [N, H, W], packed into at most so many bytes: smaller, then fewer of them.

    The side of each, of how many one is there, and all of these.
    """
    for side in (MAP_SIDE, MAP_SIDE // 2, MAP_SIDE // 4):
        small = [Image.fromarray(one).resize((side, side), Image.Resampling.NEAREST) for one in maps]
        grids = np.stack([np.asarray(one) for one in small])
        if len(packed := _packed(grids)) <= most:
            return side, 1, packed
    step = 2
    while len(packed := _packed(grids[::step])) > most:
        step *= 2
    return side, step, packed


def _packed(grids: np.ndarray) -> str:
    return base64.b64encode(gzip.compress(grids.tobytes(), 6, mtime=0)).decode("ascii")


def outline(labels: np.ndarray) -> np.ndarray:
    """Return the edges between labels on the picture's grid, bool [SIDE, SIDE]."""
    grid = np.asarray(Image.fromarray(labels).resize((SIDE, SIDE), Image.Resampling.NEAREST))
    edge = np.zeros(grid.shape, bool)
    edge[:-1] |= grid[:-1] != grid[1:]
    edge[:, :-1] |= grid[:, :-1] != grid[:, 1:]
    return edge


def _places(rows: np.ndarray, dice: np.ndarray) -> Sequence[tuple[str, int]]:
    order = rows[np.argsort(dice[rows], kind="stable")]
    found = dict(zip(PLACES, (order[0], order[(len(order) - 1) // 2], order[-1]), strict=True))
    return [(place, int(row)) for place, row in found.items()]
