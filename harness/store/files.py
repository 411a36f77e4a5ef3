"""How a file or a folder appears whole, or not at all: written aside, synced, renamed, for all who write."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import platform
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    from pydantic import BaseModel

PART = ".part"
"""How the name of a folder ends that is being filled; no reader looks into one."""

_PLACE = re.compile(rf"\..*?(?:\.([0-9a-f]{{8}}))?\.[0-9a-f]{{8}}\{PART}")

_NO_LOCKS = (OSError, NotImplementedError)
"""What a file system that locks nothing answers."""

_HERE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
"""This machine, in the names of its places: whether a process of another one lives, no lock tells."""

_LOCK, _NEW, _OLD = "lock", "new", "old"

_SWAP = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS

# One after the other, 3,000 pages of a site take ten seconds to sync; asked for at the same time, one: the
# system brings to the disk together what waits together.
_SYNCS_AT_ONCE = 16

_NEIGHBOURS = 1_000
"""Names that each writing looks through for what the dead have left; a run looks through them all."""

_LOCKLESS = 60.0
"""Seconds after which a place without a lock is nobody's: its process died between two system calls."""


@contextmanager
def claimed(file: Path) -> Iterator[bool]:
    """Tell, without waiting, whether this process alone has the file until the block ends; the dead let go.

    Among the processes of one machine: other machines' are kept apart by `harness.store.claims`.
    """
    # Here and not above: most who import the store only read, and the library takes a tenth of a second.
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    with contextlib.suppress(Timeout, *_NO_LOCKS):
        lock.acquire(timeout=0)
    try:
        yield lock.is_locked
    finally:
        lock.release()


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """Give a folder to fill; it takes `target`'s place whole when the block ends, or not at all.

    Every file is synced before the two folders swap names, so a crash leaves the old one or the new one.
    """
    make(target.parent)
    with _place(target) as aside:
        aside.mkdir()
        yield aside
        _sync_tree(aside)
        _put_in_place(aside, target)
        _sync(target.parent)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path to write a file to; it takes `target`'s place when the block ends without an error."""
    with _place(target) as aside:
        yield aside
        _sync(aside)
        _rename(aside, target)
        _sync(target.parent)


def write(target: Path, data: bytes | memoryview) -> None:
    """Write a file whole or not at all; one that is there is replaced."""
    with replacing(target) as aside:
        put(aside, data)


def note(target: Path, data: bytes) -> None:
    """Write a file that only this process writes: whole for all who read it, but not after a power cut.

    Nothing waits for the disk: for what is written a few times a second and is of no use to a later process.
    """
    aside = target.with_name(f".{target.name}{PART}")
    aside.write_bytes(data)
    _rename(aside, target)


def touch(path: Path) -> None:
    """Give a file the time that it is by the clock of its own file system."""
    os.utime(path)


def is_taken(folder: Path) -> bool:
    """Tell whether a folder is there by asking to make it, which no memory of this machine answers.

    Over NFS a file that another machine made may go unseen for seconds; that its name is taken does not.
    """
    make(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        return True
    with contextlib.suppress(OSError):
        folder.rmdir()
    return False


def seen(path: Path, seconds: float) -> bool:
    """Tell whether a file is there; one that another machine has just made may go unseen so long."""
    until = time.monotonic() + seconds
    while not path.is_file():
        if time.monotonic() > until:
            return False
        # The server is asked for the names in a folder that is opened.
        with contextlib.suppress(OSError), os.scandir(path.parent):
            time.sleep(0.1)
    return True


def shorten(path: Path, size: int, note: bytes) -> None:
    """Cut a log that is being written off after so many bytes, and append a note."""
    with path.open("ab") as file:
        file.truncate(size)
        file.write(note)


def create(target: Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises FileExistsError where one is there."""
    with _place(target) as aside:
        put(aside, data)
        _sync(aside)
        _link(aside, target)
        _sync(target.parent)


def mark(target: Path, data: bytes) -> None:
    """Write a small file whole, or raise FileExistsError where one is there; none may be after a power cut.

    Nothing waits for the disk: it says something of a process, which would be gone as well.
    """
    aside = target.with_name(f".{target.name}.{_HERE}.{secrets.token_hex(4)}{PART}")
    try:
        aside.write_bytes(data)
        _link(aside, target)
    finally:
        _remove(aside)


def probe(folder: Path) -> Path:
    """Return a name for a file that only tries what a folder can; the next sweep takes one that was left."""
    return folder / f".probe.{_HERE}.{secrets.token_hex(4)}{PART}"


def put(path: Path, data: bytes | memoryview) -> None:
    """Write a file in a folder that is still aside; who puts the folder in its place syncs it."""
    with stream(path) as file:
        file.write(data)


def stream(path: Path) -> BinaryIO:
    """Open a new file for writing in a folder that is still aside."""
    _check_aside(path)
    return path.open("wb")


def _check_aside(path: Path) -> None:
    if not any(folder.name.endswith(PART) for folder in path.parents):
        raise RuntimeError(f"{path}: no folder that `writing` gave; a file in its place is `write`'s")


def mapped(path: Path, kind: type, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Lay out an empty .npy array in a folder that is still aside, memory-mapped."""
    import numpy as np

    _check_aside(path)
    return np.lib.format.open_memmap(path, "w+", kind, shape)


def write_json(path: Path, model: BaseModel) -> None:
    """Write a model, in a folder that is still aside, as indented JSON with a final newline."""
    put(path, as_json(model))


def as_json(model: BaseModel) -> bytes:
    """Return a model as indented JSON with a final newline."""
    return (model.model_dump_json(indent=2) + "\n").encode()


def publish(part: Path, target: Path) -> None:
    """Put a folder that several processes filled, named with `PART`, where no folder is yet."""
    _sync_tree(part)
    _rename(part, target)
    _sync(target.parent)


def move(folder: Path, target: Path) -> None:
    """Give a folder another name, where nothing is yet."""
    make(target.parent)
    _rename(folder, target)
    for parent in {folder.parent, target.parent}:
        _sync(parent)


def append(path: Path) -> int:
    """Open a log for as long as a process lives; return the descriptor. It alone grows where it lies."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)


def make(folder: Path) -> None:
    """Make a folder and those above it, so that they are there after a power cut too."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(made):
        _sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder, there or not, whole or not at all; what the system does not let go stays."""
    if not path.is_dir() or path.is_symlink():
        _remove(path)
        return
    # Out of sight first: half a folder could be taken for one.
    with contextlib.suppress(OSError), _place(path) as aside:
        _rename(path, aside)
        _sync(path.parent)


def flush(array: np.memmap[Any, Any]) -> None:
    """Bring what was written to a memory-mapped array to the disk."""
    _flush(array)


def sweep(folder: Path, most: int | None = None) -> None:
    """Remove what processes that died have left aside; what one held back while it swapped is put back.

    most: names in the folder that are looked at, None for all.
    """
    with os.scandir(folder) as entries:
        aside = [entry.name for entry in itertools.islice(entries, most) if entry.name.endswith(PART)]
    found = [(folder / name, _PLACE.fullmatch(name)) for name in aside]
    left = [path for path, name in found if name is not None and name[1] in (None, _HERE)]
    for place in left:
        # It may be gone at any moment: who is alive removes its own.
        with contextlib.suppress(OSError):
            if not (place / _LOCK).exists():
                if time.time() - place.stat().st_mtime > _LOCKLESS:
                    _remove(place)
                continue
            with claimed(place / _LOCK) as nobodys:
                if nobodys:
                    put_back(place)
                    _remove(place)


def put_back(place: Path) -> None:
    """Undo half a swap of one who died: what was held back returns where nothing has taken its place."""
    held = place / _OLD
    for old in held.iterdir() if held.is_dir() else ():
        if not os.path.lexists(place.with_name(old.name)):
            _rename(old, place.with_name(old.name))
            _sync(place.parent)


@contextmanager
def _place(target: Path) -> Iterator[Path]:
    """Give a path beside `target` that is this process's own; what is left of it in the end is removed.

    It is PLACE/new/NAME, and PLACE/lock is held: a process that dies lets go, and the next that writes
    beside it knows that nobody will come back.
    """
    from filelock import FileLock

    # Looking through all would make each of many records cost as much as there are.
    sweep(target.parent, _NEIGHBOURS)
    while True:
        place = target.with_name(f".{target.name[:40]}.{_HERE}.{secrets.token_hex(4)}{PART}")
        place.mkdir()
        lock = FileLock(place / _LOCK)
        try:
            lock.acquire()
        except FileNotFoundError:
            pass
        except _NO_LOCKS as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                _remove(place)
                raise
            # Without locks nobody sweeps it either: `harness gc` does, once it is old.
            break
        # Another process may have taken the lock first, in the moment that it was nobody's, and swept it.
        if lock.is_locked and (place / _LOCK).exists():
            break
        lock.release()
    with contextlib.ExitStack() as ending:
        ending.callback(lock.release)
        ending.callback(_remove, place)
        (place / _NEW).mkdir()
        yield place / _NEW / target.name


def _put_in_place(aside: Path, target: Path) -> None:
    """Let a folder take `target`'s place; whatever was there is then at `aside`."""
    try:
        _rename(aside, target)
    except OSError:
        if not os.path.lexists(target):
            raise
        if not _swap(aside, target):
            held = aside.parents[1] / _OLD / target.name
            held.parent.mkdir()
            _rename(target, held)
            _rename(aside, target)


def _sync_tree(folder: Path) -> None:
    # In no order: until the folder is renamed nobody looks into it.
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        list(pool.map(_sync, [folder, *folder.rglob("*")]))


# All that changes what lies on the disk for good goes through the functions below: a test cuts the power
# before and after each call of each.


def _sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folder, and writes its names in order.
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush(array: np.memmap[Any, Any]) -> None:
    array.flush()


def _rename(one: Path, other: Path) -> None:
    os.replace(one, other)


def _link(aside: Path, target: Path) -> None:
    """Give a file its name unless that is taken. Raises FileExistsError."""
    try:
        os.link(aside, target)
    except FileExistsError:
        # NFS asks again where an answer was lost, and hears that what it made is there.
        if os.stat(aside).st_nlink == 1:
            raise
    except OSError:  # a file system without hard links
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(aside, target)


def _swap(one: Path, other: Path) -> bool:
    """Let two folders take each other's name in one step; return whether the file system can."""
    if os.name == "nt":
        return False
    import ctypes

    libc = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        return hasattr(libc, "renamex_np") and libc.renamex_np(*names, _SWAP) == 0
    here = ctypes.c_int(-100)  # AT_FDCWD
    return hasattr(libc, "renameat2") and libc.renameat2(here, names[0], here, names[1], _SWAP) == 0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
