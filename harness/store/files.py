"""How a file or a folder appears whole, or not at all."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydantic import BaseModel

_SWAP = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep other processes out until the block ends; a process that dies lets go."""
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """Give a folder to fill; it takes `target`'s place whole, or not at all.

    Every file is synced before the two folders swap names, so a crash leaves the old one or the new one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield aside
        for file in aside.iterdir():
            _sync(file)
        _sync(aside)
        if target.exists():
            _swap(aside, target)
        else:
            aside.rename(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that appears whole."""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(aside, path)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy; the file appears whole."""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".npy")
    with os.fdopen(handle, "wb") as file:
        np.save(file, array)
    os.replace(aside, path)


def write_json(path: Path, model: BaseModel) -> None:
    """Write a model as indented JSON with a final newline."""
    path.write_text(model.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _swap(one: Path, other: Path) -> None:
    """Let two folders take each other's name, in one step where the file system can."""
    libc = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        swapped = hasattr(libc, "renamex_np") and libc.renamex_np(*names, _SWAP) == 0
    else:
        here = ctypes.c_int(-100)  # AT_FDCWD
        swapped = hasattr(libc, "renameat2") and libc.renameat2(here, names[0], here, names[1], _SWAP) == 0
    if not swapped:
        between = one.with_name(one.name + ".old")
        other.rename(between)
        one.rename(other)
        between.rename(one)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
