"""Temporary folders that a process holds as long as it lives; what dead ones left is found and removed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.store import claims, files

LOCK = "lease"
"""In each folder: locked by its process, and let go by the system however that ends."""

_YOUNG = 60.0
"""Seconds in which a process has surely locked the folder that it made."""

_NAME = re.compile(r"harness-[a-z]+-(\d+)-\w+")


@contextmanager
def leased(kind: str) -> Iterator[Path]:
    """Give a temporary folder, `harness-KIND-PROCESS-...`, until the block ends or the process dies."""
    from filelock import FileLock

    folder = Path(tempfile.mkdtemp(prefix=f"harness-{kind}-{os.getpid()}-"))
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire()
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def is_dead(folder: Path) -> bool:
    """Tell whether nobody holds a folder any more: the process that made it is gone."""
    found = _NAME.fullmatch(folder.name)
    alive = found is not None and claims.is_there(int(found[1]))
    if not (folder / LOCK).is_file():
        # Its process died between two system calls, or has not come to the second.
        return not folder.is_dir() or (found is not None and not alive)
    with contextlib.suppress(OSError), files.claimed(folder / LOCK) as nobodys:
        # Young and of a process that lives, it is about to be locked; else that one has the same number.
        return nobodys and not (alive and time.time() - folder.stat().st_mtime < _YOUNG)
    return False


def reap(before: Callable[[list[Path]], None] = lambda dead: None) -> list[Path]:
    """Remove the folders of dead processes; `before` is called with them, to end what they started."""
    found = dead()
    if found:
        before(found)
    for folder in found:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def dead() -> list[Path]:
    """Return the folders of dead processes."""
    found = [path for path in Path(tempfile.gettempdir()).glob("harness-*-*-*") if _NAME.fullmatch(path.name)]
    return [path for path in found if _is_ours(path) and is_dead(path)]


def _is_ours(path: Path) -> bool:
    """Tell whether a folder is one of this user's: in a shared place anyone may put a link of this name."""
    with contextlib.suppress(OSError):
        about = path.lstat()
        return path.is_dir() and not path.is_symlink() and (os.name == "nt" or about.st_uid == os.getuid())
    return False
