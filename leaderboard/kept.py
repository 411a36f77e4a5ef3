"""What pure functions returned, kept by the digest of all that they read: a site is built again fast.

A key is the digest of the code, of what it stands on and of every argument, so nothing that is kept is of
another input; an entry that is damaged, of another key or cannot be read is computed anew. While values are
kept, each one is given as it is read back, also the first time: whether it was there makes no difference.
Nothing of an entry is ever run: it is JSON, and arrays as bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd
import PIL
import pyarrow
import scipy

from harness import equity
from harness.equity import Tables
from harness.store import files
from leaderboard.parallel import shared

FOLDER = "site"
"""Below the cache: a folder for the code that computed, and in it a file a value."""

UNUSED = 30 * 86_400.0
"""Seconds after which what no site has asked for goes."""

MOST = 2 << 30
"""Bytes that the values of one code may take; from there on the ones that were used last go first."""

_DAY = 86_400.0
_KINDS: dict[str, Any] = {"Tables": Tables}
"""Dataclasses that are kept, field by field."""

_NUMBERS = ("OMP_", "OPENBLAS_", "MKL_", "BLIS_", "NPY_", "VECLIB_")
"""How the names of variables begin by which libraries are told how to compute."""

_TEXTS = frozenset({str, type(None)})

_LOG = logging.getLogger(__name__)

Result = TypeVar("Result")
Asked = ParamSpec("Asked")

_here: Kept | None = None


def kept(function: Callable[Asked, Result], *args: Asked.args, **kwargs: Asked.kwargs) -> Result:
    """Return `function(*args, **kwargs)`, of a function of its arguments alone, from what is kept if it can.

    The arguments are numbers, texts, bytes, arrays, dataclasses and collections of these, and the value is
    made of those and of data frames. Raises what the function raises, which is not kept.
    """
    if _here is None:
        return function(*args, **kwargs)
    name = f"{function.__module__}.{function.__qualname__}"
    return made(name, (args, kwargs), lambda: function(*args, **kwargs))


def made(name: str, of: object, make: Callable[[], Result]) -> Result:
    """Return `make()`, which depends on nothing but the code and `of`, from what is kept if it can."""
    return make() if _here is None else _here.get(name, of, make)


def each(name: str, inputs: Sequence[object], make: Callable[[Sequence[int]], list[Result]]) -> list[Result]:
    """Return what `make` makes of the inputs at some places, from what is kept for all the others.

    A value depends on nothing but the code and its own input.
    """
    return make(range(len(inputs))) if _here is None else _here.each(name, inputs, make)


def has(name: str, of: object) -> bool:
    """Tell whether something lies under a name and an input; whether it is whole, only `made` knows."""
    return _here is not None and _here.has(name, of)


def missed() -> bool:
    """Tell whether anything had to be computed since `keeping` began, here or in a process forked since."""
    return _here is None or bool(_here.missed[0])


def keeps() -> bool:
    """Tell whether values are kept at all."""
    return _here is not None


@contextmanager
def keeping(folder: Path | None) -> Iterator[None]:
    """Keep values below a cache folder until the block ends; None keeps nothing."""
    global _here
    before = _here
    _here = None if folder is None else Kept(folder / FOLDER)
    try:
        yield
    finally:
        if _here is not None:
            _here.tidy()
        _here = before


class Kept:
    """Values in a folder, a file each. code: the digest of what computes them."""

    def __init__(self, folder: Path, code: str = "") -> None:
        self.root = folder
        self.code = code or digest_of_code()
        self.folder = folder / self.code[:32]
        self._refused = False
        self.missed = shared((1,))

    def get(self, name: str, of: object, make: Callable[[], Result]) -> Result:
        """Return what is kept under a name and an input, or `make()`, which is kept then."""
        (found,) = self.each(name, [of], lambda _: [make()])
        return found

    def each(
        self, name: str, inputs: Sequence[object], make: Callable[[Sequence[int]], list[Result]]
    ) -> list[Result]:
        """Return what is kept under a name and each input; the others are made together, and kept then."""
        keys = [self._key(name, of) for of in inputs]
        found = {i: value for i, key in enumerate(keys) for value in self._kept(key)}
        left = [i for i in range(len(keys)) if i not in found]
        if left:
            self.missed[0] = 1
            for i, value in zip(left, make(left), strict=True):
                packed = _packed(value)
                self._put(self.folder / keys[i], _sealed(packed, keys[i]))
                found[i] = _value(packed)
        return [found[i] for i in range(len(keys))]

    def _kept(self, key: str) -> Iterator[Any]:
        """Yield the value of an entry, nothing where there is none that is whole."""
        path = self.folder / key
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
            value = _opened(path.read_bytes(), key)
            _used(path)
            yield value

    def has(self, name: str, of: object) -> bool:
        """Tell whether there is an entry of a name and an input."""
        return (self.folder / self._key(name, of)).is_file()

    def tidy(self) -> None:
        """Remove what no site has asked for in a month, and the oldest where it is too much."""
        with contextlib.suppress(OSError):
            now = time.time()
            for other in self.root.iterdir():
                if other != self.folder and now - other.stat().st_mtime > UNUSED:
                    files.remove(other)
            entries = sorted(
                (path.stat().st_mtime, path.stat().st_size, path) for path in self.folder.iterdir()
            )
            left = sum(size for _, size, _ in entries)
            for when, size, path in entries:
                if now - when > UNUSED or left > MOST:
                    files.remove(path)
                    left -= size

    def _key(self, name: str, of: object) -> str:
        digest = hashlib.sha256(self.code.encode())
        _feed(digest.update, (name, of))
        return digest.hexdigest()

    def _put(self, path: Path, data: bytes) -> None:
        """Keep an entry in place of a damaged one; where the folder takes none, the site is built without."""
        if self._refused:
            return
        try:
            files.make(path.parent)
            if path.exists():
                files.remove(path)
            files.mark(path, data)
        except FileExistsError:
            pass  # another process has just computed the same
        except OSError as error:
            self._refused = True
            _LOG.debug("%s keeps nothing: %s", self.folder, error)


def _used(path: Path) -> None:
    # Of a cache that cannot be written nothing is removed either.
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _DAY:
            files.touch(path)


@cache
def digest_of_code() -> str:
    """Return the digest of all sources of the harness and the leaderboard, and of what they compute with.

    Once a process: what it imported is what it runs.
    """
    digest = hashlib.sha256()
    for root in (Path(equity.__file__).parents[1], Path(__file__).parent):
        _feed(digest.update, sources(root))
    libraries = {one.__name__: one.__version__ for one in (np, pd, PIL, pyarrow, scipy)}
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    told = {name: value for name, value in sorted(os.environ.items()) if name.startswith(_NUMBERS)}
    _feed(digest.update, (libraries, sys.version, list(platform.uname()), threads, told))
    return digest.hexdigest()


def sources(root: Path) -> dict[str, bytes]:
    """Return what is in each source file below a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.py"))}


def _feed(update: Callable[[bytes], object], value: object) -> None:
    """Give a digest all that a value is; no two unlike values give it the same bytes.

    Raises TypeError for a value of which nobody has said what it is made of.
    """
    if isinstance(value, np.ndarray) and value.dtype != object:
        # In which order an array lies in memory is the order in which it is summed.
        update(repr(("array", value.dtype.str, value.shape, value.strides)).encode())
        update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, np.ndarray):
        update(repr(("objects", value.shape, value.strides)).encode())
        _feed(update, value.ravel().tolist())
    elif isinstance(value, str | bytes):
        data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        update(f"{type(value).__name__} {len(data)} ".encode() + data)
    elif value is None or isinstance(value, bool | int | np.bool_ | np.integer):
        update(f"{type(value)} {value};".encode())
    elif isinstance(value, float | np.floating):
        update(f"{type(value)} {float(value).hex()};".encode())
    elif isinstance(value, list | tuple) and _TEXTS.issuperset(map(type, value)):
        # At once: of names of samples and groups there are hundreds in most inputs.
        update(f"{type(value).__name__} of texts {json.dumps(value)}".encode())
    elif isinstance(value, list | tuple):
        update(f"{type(value).__name__} {len(value)} ".encode())
        for one in value:
            _feed(update, one)
    elif isinstance(value, Mapping):
        # In its order, which is that of a table's rows.
        update(f"mapping {len(value)} ".encode())
        for key, one in value.items():
            _feed(update, key)
            _feed(update, one)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        update(f"{type(value).__qualname__} ".encode())
        _feed(update, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    else:
        raise TypeError(f"{type(value)} is no input of what is kept")


def _sealed(packed: bytes, key: str) -> bytes:
    return hashlib.sha256(key.encode() + packed).digest() + packed


def _opened(data: bytes, key: str) -> Any:
    """Return the value of an entry. Raises ValueError for one that is damaged or of another key."""
    packed = data[32:]
    if _sealed(packed, key) != data:
        raise ValueError("not what was kept under this key")
    return _value(packed)


def _packed(value: object) -> bytes:
    """Return a value as bytes: a line of JSON that says what it is, and behind it the arrays and bytes."""
    blobs: list[bytes] = []
    told = json.dumps(_told(value, blobs), separators=(",", ":")).encode()
    return b"".join([len(told).to_bytes(8, "big"), told, *blobs])


def _value(packed: bytes) -> Any:
    end = 8 + int.from_bytes(packed[:8], "big")
    return _read(json.loads(packed[8:end]), io.BytesIO(packed[end:]))


def _told(value: Any, blobs: list[bytes]) -> list[Any]:
    """Return what a value is, for JSON. Raises TypeError for one that could not be read back as it was."""
    if value is None or type(value) in (bool, str):
        return ["", value]
    if type(value) is int:
        return ["int", str(value)]
    if type(value) is float:
        return ["float", value.hex()]
    if type(value) is bytes:
        blobs.append(value)
        return ["bytes", len(value)]
    if type(value) in (list, tuple):
        return [type(value).__name__, [_told(one, blobs) for one in value]]
    if type(value) is dict:
        return ["dict", [[_told(key, blobs), _told(one, blobs)] for key, one in value.items()]]
    if isinstance(value, np.generic):
        return ["scalar", _told(np.asarray(value)[None], blobs)]
    if type(value) is np.ndarray:
        if value.dtype == object:
            return ["objects", value.shape, [_told(one, blobs) for one in value.ravel().tolist()]]
        blobs.append(np.ascontiguousarray(value).tobytes())
        return ["array", value.dtype.str, value.shape, len(blobs[-1])]
    if type(value) is pd.DataFrame:
        return ["frame", _index(value.columns, blobs), _index(value.index, blobs), _columns(value, blobs)]
    if type(value) in _KINDS.values():
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return ["kind", type(value).__name__, _told(parts, blobs)]
    raise TypeError(f"{type(value)} is nothing that is kept")


def _columns(frame: pd.DataFrame, blobs: list[bytes]) -> list[Any]:
    return [_column(frame.iloc[:, i], blobs) for i in range(frame.shape[1])]


def _column(column: pd.Series, blobs: list[bytes]) -> list[Any]:
    if isinstance(column.dtype, np.dtype):
        return _told(column.to_numpy(), blobs)
    if column.dtype != pd.StringDtype(na_value=np.nan):
        raise TypeError(f"a column of {column.dtype} is nothing that is kept")
    return ["texts", [None if pd.isna(one) else str(one) for one in column]]


def _index(index: pd.Index, blobs: list[bytes]) -> list[Any]:
    if type(index) is pd.RangeIndex:
        return ["range", index.start, index.stop, index.step]
    if index.name is not None or type(index) is not pd.Index:
        raise TypeError(f"{type(index)} named {index.name} is nothing that is kept")
    return ["index", _column(index.to_series(), blobs)]


def _read(told: list[Any], blobs: io.BytesIO) -> Any:
    """Return what `_told` told of, the arrays and bytes read in the order in which they were written."""
    match told:
        case ["", value]:
            return value
        case ["int", value]:
            return int(value)
        case ["float", value]:
            return float.fromhex(value)
        case ["bytes", length]:
            return _exactly(blobs, length)
        case ["list", parts]:
            return [_read(one, blobs) for one in parts]
        case ["tuple", parts]:
            return tuple(_read(one, blobs) for one in parts)
        case ["dict", parts]:
            return {_read(key, blobs): _read(one, blobs) for key, one in parts}
        case ["scalar", one]:
            return _read(one, blobs)[0]
        case ["objects", shape, parts]:
            objects = np.empty(len(parts), dtype=object)
            objects[:] = [_read(one, blobs) for one in parts]
            return objects.reshape(shape)
        case ["array", kind, shape, length]:
            return np.frombuffer(_exactly(blobs, length), kind).reshape(shape).copy()
        case ["texts", parts]:
            return pd.array(parts, dtype=pd.StringDtype(na_value=np.nan))
        case ["range", start, stop, step]:
            return pd.RangeIndex(start, stop, step)
        case ["index", parts]:
            return pd.Index(_as_it_is(_read(parts, blobs)))
        case ["frame", columns, index, parts]:
            names, rows = _read(columns, blobs), _read(index, blobs)
            series = [_as_it_is(_read(one, blobs)) for one in parts]
            frame = pd.DataFrame(dict(enumerate(series)), index=rows)
            frame.columns = names
            return frame
        case ["kind", name, parts]:
            return _KINDS[name](**_read(parts, blobs))
    raise ValueError(f"{told[0]} is nothing that is kept")


def _as_it_is(column: Any) -> Any:
    """Return a column that pandas takes as it is: of bare objects it would make texts."""
    return pd.Series(column, dtype=column.dtype).array if column.dtype == object else column


def _exactly(blobs: io.BytesIO, length: int) -> bytes:
    found = blobs.read(length)
    if len(found) != length:
        raise ValueError("it ends too early")
    return found
