"""Records -> a folder of static pages, written aside and put in place whole."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import HarnessError
from harness.store import Store, files, published
from leaderboard import kept
from leaderboard.compute import results, sections
from leaderboard.draw import drawer, room
from leaderboard.draw.drawer import drawing
from leaderboard.parallel import alike, mapped, uncollected, working
from leaderboard.read import boards
from leaderboard.write import exports, pages
from leaderboard.write.addresses import Link, links
from leaderboard.write.overview import Overview
from leaderboard.write.overview import of_page as overview_of

HERE = Path(__file__).parent

PACKED = 3_000
"""Trials of a site from which on its data are packed."""


def build(
    runs: Path, out: Path, images: bool = True, cache: Path | None = None, workers: int | None = None
) -> None:
    """Build the site of all records under `runs` into the folder `out`, index.html first.

    A section, figure or board that cannot be computed says why in its place, and the others stand.

    The same records give the same bytes, whatever is under `cache`, where what was computed is kept for the
    next time; None keeps nothing. It is built by a process a core, of small boards by one; `workers` says how
    many at most, and the bytes are the same. `images` False leaves every picture of a case out; a cohort that
    does not allow showing them has none in either case. The folder is replaced whole. Raises
    HarnessError where there are no records or they do not fit, or where `out` is not a site.
    """
    with replacing(out) as folder:
        fill(runs, folder, images, cache=cache, workers=workers)


def fill(
    runs: Path,
    folder: Path,
    images: bool,
    with_versions: bool = False,
    cache: Path | None = None,
    workers: int | None = None,
) -> None:
    """Write the site into a folder that is still aside; `with_versions` says that versions lie beside it."""
    store, unread = Store(runs), dict[str, str]()
    with TemporaryDirectory() as parts, uncollected(), kept.keeping(cache), working(workers), drawing():
        known = boards.known(store, unread)
        site = _Site(store, folder, Path(parts), images, with_versions, known, unread)
        while None in (overviews := site.write()):
            # Every page links to all boards: without those that could not be read, all are written again.
            site = site.without([i for i, found in enumerate(overviews) if found is None])
        shutil.copytree(HERE / "assets", folder / "assets")
        exports.join(folder, Path(parts), len(overviews), site.packed)
        if len(overviews) > 1:
            told = dict(sorted(unread.items()))
            found = [one for one in overviews if one]
            pages.write_overview(folder, found, told, with_versions, site.packed)


@dataclass(frozen=True)
class _Site:
    """The boards of a site, each of which is read, computed, written and let go before the next.

    parts: a folder for what becomes of all boards together; unread: boards that cannot be read, and why.
    """

    store: Store
    folder: Path
    parts: Path
    images: bool
    with_versions: bool
    known: Sequence[boards.Known]
    unread: dict[str, str]

    @cached_property
    def links(self) -> list[Link]:
        """Where the boards' pages are."""
        return links([one.name for one in self.known])

    @cached_property
    def trials(self) -> list[int]:
        """How many each board plans."""
        return [one.trials for one in self.known]

    @property
    def packed(self) -> bool:
        """Whether leaderboard.json and .csv are packed: of many trials they are most of a site."""
        return sum(self.trials) >= PACKED

    @property
    def room(self) -> int:
        """Bytes for the pictures of each board."""
        return room.of_board(sum(self.trials), len(self.known)) if self.images else 0

    def write(self) -> list[Overview | None]:
        """Write all boards; return what the overview says of each, None of one that cannot be read."""
        if not self.known:
            raise boards.none_readable(self.store)
        written = mapped(self._one, len(self.known), sum(self.trials) if alike(self.trials) else 0)
        for _, unread in written:
            self.unread.update(unread)
        return [overview for overview, _ in written]

    def without(self, places: Sequence[int]) -> _Site:
        """Return the same without some boards, of which nothing is left in the folder."""
        for path in self.folder.iterdir():
            files.remove(path)
        return replace(self, known=[one for i, one in enumerate(self.known) if i not in places])

    def _one(self, place: int) -> tuple[Overview | None, dict[str, str]]:
        unread: dict[str, str] = {}
        board = boards.read(self.store, self.known[place].key, unread)
        if board is None:
            return None, unread
        tables = sections.tables(board)
        if kept.missed():
            # Here, where one core is idle until all tables are put together.
            drawer.start(sum(self.trials))
        result = results.of_board(board, sections.of_tables(board, tables))
        page = pages.of_board(self.store, self.folder, result, self.room, self.links[place].url)
        # The pages draw their own figures, so that the processes of a large site share that work too.
        told = dict(sorted(self.unread.items()))
        writers: list[Callable[[], None]] = [
            partial(exports.write, self.parts, place, page.result),
            *pages.tasks(self.store, self.folder, page, self.links, told, self.with_versions, self.packed),
        ]
        mapped(lambda i: writers[i](), len(writers), sum(self.trials))
        overview = overview_of(page)
        if len(self.known) > 1:
            del board, page, writers, tables, result
            gc.collect()
        return overview, unread


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Give a folder to fill that takes `out`'s place whole, or not at all."""
    out = Path(out).resolve()
    if out.exists() and not _is_site(out):
        raise HarnessError(f"{out}: not a site of the leaderboard; give --out a new or empty folder.")
    with files.writing(out) as aside:
        # Here, where a folder that somebody who died held back while it was replaced has been put back.
        if (out / published.FILE).exists():
            raise HarnessError(
                f"{out}: holds versions of a board, which would go; harness publish adds to them."
            )
        yield aside


def _is_site(out: Path) -> bool:
    return out.is_dir() and ((out / "assets" / "site.css").is_file() or not any(out.iterdir()))
