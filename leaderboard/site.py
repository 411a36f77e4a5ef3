"""Records -> a folder of static pages, written aside and put in place whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from harness.errors import HarnessError
from harness.store import Store, files, published
from leaderboard.compute import results
from leaderboard.parallel import mapped, uncollected
from leaderboard.read import boards
from leaderboard.write import exports, pages

HERE = Path(__file__).parent


def build(runs: Path, out: Path, images: bool = True) -> None:
    """Build the site of all records under `runs` into the folder `out`, index.html first.

    A section, figure or board that cannot be computed says why in its place, and the others stand.

    The same records give the same bytes. `images` False leaves every picture of a case out; a cohort that
    does not allow showing them has none in either case. The folder is replaced whole. Raises
    HarnessError where there are no records or they do not fit, or where `out` is not a site.
    """
    with replacing(out) as folder:
        fill(runs, folder, images)


def fill(runs: Path, folder: Path, images: bool, with_versions: bool = False) -> None:
    """Write the site into a folder that is still aside; `with_versions` says that versions lie beside it."""
    store = Store(runs)
    with uncollected():
        unread: dict[str, str] = {}
        found = boards.of_store(store, unread)
        computed = [results.of_board(board) for board in found]
        shutil.copytree(HERE / "assets", folder / "assets")
        # The pages draw their own figures, so that the processes of a large site share that work too.
        writers: list[Callable[[], None]] = [
            partial(exports.write, folder, computed),
            *pages.tasks(store, folder, computed, images, unread, with_versions),
        ]
        mapped(lambda i: writers[i](), len(writers), sum(len(board.scores) for board in found))


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
