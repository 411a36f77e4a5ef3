"""What in a folder of records and a cache could go, how much it takes and what it costs to make again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.running.boards import on_no_board
from harness.running.paths import Paths
from harness.running.space import size_of
from harness.store import Store, claims, files, leases, names

_OLD = 86_400.0
"""Seconds, by the file system's clock, after which what another machine's process left aside is nobody's."""


@dataclass(frozen=True)
class Waste:
    """A file or a folder that could go: what it is, its bytes, and what is to be done to have it again.

    safe: nothing that was computed is lost with it, so that `harness gc` removes it unasked.
    """

    path: Path
    kind: str
    size: int
    again: str
    safe: bool


KINDS = {
    "left-over": "what processes that died left aside",
    "checkpoint": "checkpoints and logs of trials that are done or on no board",
    "embeddings": "outputs of frozen encoders",
    "cohort": "images and masks as arrays, and their digests",
    "site": "what sites were computed of: tables, figures and pictures",
    "record": "records that no board has a cell for",
}


def find(paths: Paths) -> list[Waste]:
    """Return what could go, the largest first."""
    store = Store(paths.runs)
    found = [*_left_over(paths), *_checkpoints(store), *_caches(paths.cache), *_records(store)]
    return sorted(found, key=lambda one: (-one.size, one.path))


def remove(found: list[Waste]) -> int:
    """Remove it; return the bytes that were freed. What is in use by then stays."""
    freed = 0
    for one in found:
        if one.kind == "checkpoint" and claims.holder(one.path / names.CLAIM) is not None:
            continue
        files.remove(one.path)
        freed += one.size if not one.path.exists() else 0
    return freed


def _left_over(paths: Paths) -> Iterator[Waste]:
    for root in (paths.runs, paths.cache):
        if not root.is_dir():
            continue
        for folder in (root, *root.glob("*/")):
            with contextlib.suppress(FileNotFoundError):
                files.sweep(folder)
        now = claims.now(root)
        for path in [one for depth in ("", "*/", "*/*/") for one in root.glob(f"{depth}.*{files.PART}")]:
            with contextlib.suppress(OSError):
                age = now - path.stat().st_mtime
                if age > claims.LEASE:
                    # A board that a dead machine held back amid a swap is one: its records are not on none.
                    files.put_back(path)
                if age > _OLD:
                    yield Waste(path, "left-over", size_of(path), "nothing: it was never whole", True)
    for folder in leases.dead():
        yield Waste(folder, "left-over", size_of(folder), "nothing: its process is gone", True)


def _checkpoints(store: Store) -> Iterator[Waste]:
    """Yield the work of trials that are done, or in no board's plan; a failed one's is for --retry-failed."""
    work = store.root / "work"
    if not work.is_dir():
        return
    planned = {row.trial for board in store.boards() for row in board.plan}
    for folder in work.iterdir():
        if folder.name.startswith(".") or claims.holder(store.claim(folder.name)) is not None:
            continue
        done = store.is_done(folder.name)
        if done or folder.name not in planned:
            again = (
                "nothing: its trial is done" if done else "the epochs that it holds, of a trial on no board"
            )
            yield Waste(folder, "checkpoint", size_of(folder), again, done)


def _caches(cache: Path) -> Iterator[Waste]:
    kinds = {
        "embeddings": ("embeddings", "one pass of the frozen encoder over the cohort, at the next run"),
        "cohorts": ("cohort", "reading the cohort's files once, at the next run"),
        "digests": ("cohort", "reading the arrays once, at the next run"),
        "site": ("site", "computing a site from nothing, at the next harness report"),
    }
    for name, (kind, again) in kinds.items():
        folder = cache / name
        for path in folder.iterdir() if folder.is_dir() else ():
            if not path.name.startswith("."):
                yield Waste(path, kind, size_of(path), again, False)


def _records(store: Store) -> Iterator[Waste]:
    for stray in on_no_board(store):
        path = store.path(stray.trial)
        record = store.spared(store.record, stray.trial)
        seconds = 0.0 if record is None else record.cost.fit_seconds + record.cost.predict_seconds
        again = f"{seconds:.0f} s of training, of {stray.method} under {stray.protocol}"
        yield Waste(path, "record", size_of(path), again, False)
