"""What a source of samples hands to the cache: who is in it, and a way to read one sample."""

from __future__ import annotations

import errno
import math
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from harness.cohorts.cohort import Remark
from harness.cohorts.grid import Fit
from harness.errors import HarnessError

Progress = Callable[[str, int, int], None]
"""Told what is being done, and how many of how many are."""


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


class SourceOptions(BaseModel):
    """The keys of `[cohort]` beside `source` and `size`; each source names its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FileOptions(SourceOptions):
    """What the sources that read files have in common."""

    folder: Path | None = None
    """Where the files are; `--data DIR` overrides it."""
    publish_images: bool = False
    """Whether the board may show images. Off unless the data's owners have agreed."""


@dataclass(frozen=True)
class Sample:
    """One sample as read: an image and its label mask of the same size.

    image: uint8 [H, W] or [H, W, 3]; mask: integers [H, W], labels as `protocol.label_of` has them;
    columns: column name to value, None where unknown; split: the source's own, or None;
    mask_file: what to name in an error about the mask; mask_kind: "palette" or "colour" where it is no plain
    mask; fit: how it becomes a square; spacing: mm from one slice, row and column to the next, NaN where not
    known; volume, slice: what the sample is a slice of, and which.
    """

    patient: str
    image: np.ndarray
    mask: np.ndarray
    mask_file: str
    columns: dict[str, str | None]
    split: str | None = None
    mask_kind: str = ""
    fit: Fit = "pad"
    spacing: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    volume: str = ""
    slice: int = 0


@dataclass(frozen=True)
class Source:
    """An opened source.

    samples: unique ids; read: row number (an index into `samples`) to the sample, raises
    HarnessError; identity: JSON of everything that decides what `read` returns (options, and
    names, sizes and times of the files), and code, the modules that do the reading; values: column to
    all values the source knows, for columns whose coding is fixed, whether or not they occur; place: row
    number to what a person looks up to mend a value, a line of a table or a file; before: what has to be seen
    of all files before one can be read, with what is to be said of them; training: "with-structure" where
    samples with nothing in their mask are not trained on.
    """

    code: tuple[Path, ...]
    title: str
    licence: str
    citation: str
    publish_images: bool
    samples: tuple[str, ...]
    read: Callable[[int], Sample]
    identity: dict[str, Any]
    values: dict[str, tuple[str, ...]] = field(default_factory=dict)
    place: Callable[[int], str] = lambda row: ""
    before: Callable[[Progress], list[Remark]] = lambda progress: []
    training: Literal["all", "with-structure"] = "all"


def existing_folder(options: FileOptions, data: Path | None, source: Literal["fairseg", "folder"]) -> Path:
    """Return the folder to read: `data` (from `--data`) or the option `folder`."""
    folder = data or options.folder
    if folder is None:
        raise HarnessError(
            f"The cohort source '{source}' reads files: give --data DIR, or 'folder' in [cohort]."
        )
    if not folder.is_dir():
        raise HarnessError(f"{folder}: not a folder; give the folder of the cohort with --data DIR.")
    return folder


def fingerprint(file: Path) -> list[Any]:
    """Return path, size in bytes and times of a file: a change of content shows in them.

    The modification time alone does not do: `cp -p` and archives set it to what it was elsewhere. Raises
    OSError for what is no regular file: a pipe would be waited for.
    """
    about = regular(file).stat()
    return [str(file.resolve()), about.st_size, about.st_mtime_ns, about.st_ctime_ns]


def regular(file: Path) -> Path:
    """Return a file that can be read to its end. Raises OSError for a pipe, a device, a folder, or none."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(file))
    return file
