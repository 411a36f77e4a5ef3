"""Who works at what, on a file system that several machines share: claims, kept alive and taken over.

A claim on FILE is FILE.1, made where there was none, which one process alone can do. Its holder touches it
every few seconds. Who finds it unchanged for as long as its lease, by his own steady clock, takes over: he
makes FILE.2, which again only one can do. No clock is compared and no lock server asked: docs/cluster.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from harness.store import files

LEASE = float(os.environ.get("HARNESS_LEASE") or 60.0)
"""Seconds without a sign of life after which a claim of another machine is nobody's."""

BEATS = 6
"""Signs of life in one lease: several may be late before one is missed."""

_SOON = 0.05

_HELD: set[str] = set()
_SEEN: dict[Path, tuple[tuple[int, int], float]] = {}


@dataclass(frozen=True)
class Holder:
    """Who holds a claim. token: of this claim alone; began: when its process started, in ticks."""

    host: str
    machine: str
    process: int
    began: str
    token: str
    lease: float
    since: str
    about: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def claimed(
    file: Path, about: Mapping[str, Any] | None = None, lost: Callable[[], None] | None = None
) -> Iterator[bool]:
    """Tell, without waiting, whether this process alone has a claim until the block ends.

    about: what others are told of it; lost: called, in another thread, where this process was silent for so
    long that another has taken over.
    """
    mine = _take(file, about or {})
    try:
        with _kept_alive(mine, lost):
            yield mine is not None
    finally:
        if mine is not None:
            _release(file, mine)


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Keep other processes out until the block ends, on whichever machine; waits for the one that is in."""
    files.make(file.parent)
    wait = _SOON
    while (mine := _take(file, {})) is None:
        time.sleep(wait)
        wait = min(2 * wait, 1.0)
    try:
        with _kept_alive(mine, None):
            yield
    finally:
        _release(file, mine)


def holder(file: Path) -> Holder | None:
    """Return who holds a claim, None where nobody does or he is known to be dead.

    That a process of another machine is dead is known once this process has watched for a whole lease.
    """
    found = _latest(file)
    if found is None or _is_dead(found[1]):
        return None
    read = _read(found[1])
    return read[1] if read is not None else None


def last(file: Path) -> tuple[Holder, float] | None:
    """Return who made the last claim, dead or not, and his last sign of life by the store's clock."""
    found = _latest(file)
    read = None if found is None else _read(found[1])
    return None if read is None else (read[1], read[0][1] / 1e9)


def is_known_dead(file: Path) -> bool:
    """Tell whether the last claim's process is known to be dead; see `holder`."""
    found = _latest(file)
    return found is not None and _is_dead(found[1])


def now(folder: Path) -> float:
    """Return what time it is by the clock of a folder's file system, this machine's where it is read-only."""
    mine = files.probe(folder)
    try:
        files.mark(mine, b"")
        return mine.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        files.remove(mine)


def give_back(file: Path) -> bool:
    """Free a claim whose holder is dead; return whether nobody holds it now."""
    if _latest(file) is None:
        return True
    with claimed(file) as own:
        return own


@dataclass(frozen=True)
class _Mine:
    """A claim of this process."""

    path: Path
    token: str


def _take(file: Path, about: Mapping[str, Any]) -> _Mine | None:
    """Make the next claim on a file unless a living process holds the last; None where one does."""
    last = _latest(file)
    if last is not None and not _is_dead(last[1]):
        return None
    number, before = (0, None) if last is None else (last[0], _read(last[1]))
    if last is not None and before is None:
        return None
    path, token = file.with_name(f"{file.name}.{number + 1}"), secrets.token_hex(8)
    _HELD.add(token)
    try:
        files.mark(path, json.dumps(vars(_me(token, about))).encode())
    except (FileExistsError, FileNotFoundError):  # taken; or who held it has ended and tidied the folder away
        _HELD.discard(token)
        return None
    except BaseException:
        _HELD.discard(token)
        raise
    # Another may have taken over and ended since the last one was looked at, or its holder woken up.
    if last is not None and _read(last[1]) != before:
        _HELD.discard(token)
        files.remove(path)
        return None
    return _Mine(path, token)


def _release(file: Path, mine: _Mine) -> None:
    _HELD.discard(mine.token)
    read = _read(mine.path)
    if read is None or read[1].token != mine.token:
        return  # tidied away with its folder, and in its place may be another's
    # The newest first: who finds an older one meanwhile finds a dead one.
    for number in range(int(mine.path.suffix[1:]), 0, -1):
        files.remove(file.with_name(f"{file.name}.{number}"))


@contextmanager
def _kept_alive(mine: _Mine | None, lost: Callable[[], None] | None) -> Iterator[None]:
    """Give a sign of life every few seconds, in a thread of its own."""
    if mine is None:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(mine.path, lost, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(mine: Path, lost: Callable[[], None] | None, ended: threading.Event) -> None:
    following = mine.with_suffix(f".{int(mine.suffix[1:]) + 1}")
    while not ended.wait(LEASE / BEATS):
        with contextlib.suppress(OSError):
            files.touch(mine)
        # Looked at twice: who withdraws his claim has it for a moment. `Path.exists` would raise where a
        # server does not answer, and with that the signs of life would end.
        if lost is None or not os.path.exists(following):
            continue
        if not ended.wait(1.0) and os.path.exists(following):
            lost()
            return


def _latest(file: Path) -> tuple[int, Path] | None:
    """Return the number and the path of the newest claim on a file."""
    start, found = f"{file.name}.", 0
    try:
        with os.scandir(file.parent) as entries:
            for entry in entries:
                if entry.name.startswith(start) and entry.name[len(start) :].isdigit():
                    found = max(found, int(entry.name[len(start) :]))
    except FileNotFoundError:
        return None
    return (found, file.with_name(f"{file.name}.{found}")) if found else None


def _read(path: Path) -> tuple[tuple[int, int], Holder] | None:
    """Return a claim's stamp, which each sign of life changes, and its holder; None where it is gone."""
    try:
        # Opened, since NFS asks the server for the times of a file that is opened, and of no other.
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            content = file.read()
    except OSError:
        return None
    stamp = (about.st_ino, about.st_mtime_ns)
    try:
        return stamp, Holder(**json.loads(content))
    except (ValueError, TypeError):
        # It appeared whole: half of it was cut off with the power. An empty one is being made.
        return stamp, Holder("unknown", machine() if content else "", 0, "cut off", "", LEASE, "")


def _is_dead(path: Path) -> bool:
    """Tell whether a claim's holder is surely dead, or has been silent for his lease while we watched."""
    read = _read(path)
    if read is None:
        return False
    stamp, holder = read
    if holder.machine == machine():
        if holder.began == "cut off":
            return True
        if holder.process == os.getpid():
            return holder.token not in _HELD
        return not lives(holder.process, holder.began)
    seen = _SEEN.get(path)
    if seen is None or seen[0] != stamp:
        _SEEN[path] = (stamp, time.monotonic())
        return False
    return time.monotonic() - seen[1] > holder.lease


def _me(token: str, about: Mapping[str, Any]) -> Holder:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    process = os.getpid()
    return Holder(platform.node(), machine(), process, _began(process) or "", token, LEASE, now, dict(about))


@cache
def machine() -> str:
    """Return what names this kernel since it started, and the processes that it numbers together."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{platform.node()} {uuid.getnode():x}"


def lives(process: int, began: str) -> bool:
    """Tell whether a process of this machine is there, and not another that got its number."""
    return is_there(process) and _began(process) in (began, "")


def is_there(process: int) -> bool:
    """Tell whether a process of this machine has this number, one that died and is not yet gone left out."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return _began(process) is not None


def _began(process: int) -> str | None:
    """Return when a process started, in ticks; None for one that is dead and not yet gone, "" for unknown."""
    try:
        told = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return None if told[0] in "ZX" else told[19]
