"""A trial's log: what its process prints, from the first line to the last, however much lies between."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.store import files

MOST = 4 * 2**20
"""Bytes of a log that are kept: of a longer one the beginning and the end."""

_BEGINNING = 2**20
_LOOK_SECONDS = 0.25


@contextmanager
def written(file: Path) -> Iterator[None]:
    """Let what this process and its children print go to a file, which grows no longer than it should."""
    log = files.append(file)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    ended = threading.Event()
    threading.Thread(target=_keep_short, args=(file, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def read(file: Path) -> str:
    """Return a log as text, "" where there is none; of a long one the beginning and the end."""
    try:
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            text = opened.read(min(size, MOST))
            if size > MOST:
                opened.seek(size - _BEGINNING)
                text = text[:_BEGINNING] + _left_out(size - 2 * _BEGINNING) + opened.read(_BEGINNING)
    except OSError:
        return ""
    return text.decode("utf-8", errors="replace")


def _keep_short(file: Path, ended: threading.Event) -> None:
    left, note = 0, b""
    while not ended.wait(_LOOK_SECONDS):
        with contextlib.suppress(OSError):
            size = file.stat().st_size
            if size > MOST:
                left += size - _BEGINNING - len(note)
                note = _left_out(left)
                files.shorten(file, _BEGINNING, note)


def _left_out(size: int) -> bytes:
    return f"\n... {size} bytes left out ...\n".encode()
