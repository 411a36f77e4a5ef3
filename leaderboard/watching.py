"""Builds the site again whenever a trial has finished."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from harness.store import Store, names
from leaderboard.site import build


def watch(
    runs: Path, out: Path, images: bool = True, seconds: float = 2.0, cache: Path | None = None
) -> Iterator[float]:
    """Build now and after every change of the records, looking every so many seconds; never ends.

    Yields the seconds that each build took. Raises what `build` raises, but waits for a first record
    where there is none yet.
    """
    seen: frozenset[tuple[str, int]] | None = None
    while True:
        now = _fingerprint(runs)
        if now and now != seen:
            began = time.monotonic()
            build(runs, out, images, cache)
            seen = now
            yield time.monotonic() - began
        time.sleep(seconds)


def _fingerprint(runs: Path) -> frozenset[tuple[str, int]]:
    """Return name and time of every protocol and record: both appear whole, so these are enough."""
    store, found = Store(runs), []
    files = [store.board_file(name) for name in store.protocols()]
    files += [store.path(trial) / names.RECORD for trial in store.ids()]
    for path in files:
        try:
            found.append((str(path), path.stat().st_mtime_ns))
        except OSError:
            continue
    return frozenset(found)
