"""Arrays as numpy keeps them, .npy and .npz, read in any number of threads."""

from __future__ import annotations

import io
import lzma
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    import numpy as np

# numpy parses a header with `ast`, and until 3.11.8 two threads that did so at once could end in a
# SystemError of the interpreter (python/cpython#106905). Reentrant: a finalizer may read amid a reading.
_HEADERS = threading.RLock()


def load(source: Path | IO[bytes]) -> np.ndarray:
    """Return the array of a .npy file; objects, which would need pickle, are refused.

    Raises OSError, EOFError and ValueError for what is not such a file.
    """
    found: np.ndarray = _load(source, None)
    return found


def mapped(file: Path, mode: Literal["r", "r+"] = "r") -> np.memmap:
    """Return the array of a .npy file as it lies there, with "r+" to be written to. Raises as `load` does."""
    found: np.memmap = _load(file, mode)
    return found


def _load(source: Path | IO[bytes], mode: Literal["r", "r+"] | None) -> Any:
    import numpy as np

    with _HEADERS:
        found = np.load(source, mmap_mode=mode, allow_pickle=False)
    if isinstance(found, np.ndarray):
        return found
    found.close()
    raise ValueError("an archive of arrays (.npz) where one array (.npy) is due")


class Archive:
    """The arrays of an .npz file; `sizes` has the bytes that each unpacks to, by name.

    Raises OSError, EOFError and ValueError for what is not such a file, as it opens and as an array is read;
    KeyError for a name that it has not.
    """

    def __init__(self, source: Path | IO[bytes]) -> None:
        with _damage():
            self._packed = zipfile.ZipFile(source)
        # numpy names each member by its array and ".npy"; what else lies in an archive is no array.
        entries = (entry for entry in self._packed.infolist() if entry.filename.endswith(".npy"))
        self.sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in entries}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._packed.close()

    def __getitem__(self, name: str) -> np.ndarray:
        with _damage():
            unpacked = self._packed.read(f"{name}.npy")  # outside the lock: it is what takes long
        return load(io.BytesIO(unpacked))


@contextmanager
def _damage() -> Iterator[None]:
    """What zipfile raises of a damaged, encrypted or otherwise packed archive, as ValueError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError) as error:
        raise ValueError(str(error)) from None
