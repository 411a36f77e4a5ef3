"""Keep a source in one decoded, memory-mapped form, so that each file is read once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from harness import identity
from harness.cohorts import grid
from harness.cohorts.cohort import RESERVED
from harness.cohorts.source import Sample, Source
from harness.errors import HarnessError
from harness.protocol import Protocol

_FILES = ("images.npy", "masks.npy", "samples.parquet")
_READ_AHEAD = 64  # samples
_ABANDONED = 24 * 3600  # seconds after which a build that never ended is swept away


@dataclass(frozen=True)
class Stored:
    """A cached source: images uint8 [N, S, S, 3], masks uint8 [N, S, S] of class indices, both mapped.

    table: `sample`, `patient`, `split` and the source's columns, text or None, sorted by sample;
    digest: SHA-256 of images, masks, samples and patients.
    """

    images: np.ndarray
    masks: np.ndarray
    table: pd.DataFrame
    digest: str


def stored(source: Source, protocol: Protocol, cache: Path) -> Stored:
    """Return the source on the protocol's grid, from `cache/cohorts/<key>`, building it where needed.

    The key is a hash of the source's identity, size, labels and the code that reads it. An entry is
    built aside and renamed, so it is whole or absent; one that was damaged since is built anew.
    Raises HarnessError for samples that cannot be used, and where the cache cannot be written.
    """
    folder = cache / "cohorts" / _key(source, protocol)
    try:
        entry = _open(folder)
        if entry is None:
            _build(source, protocol, folder)
            entry = _open(folder)
    except OSError as error:
        raise HarnessError(
            f"{folder}: {error.strerror or error} while caching the cohort; "
            "make room there or choose another cache directory."
        ) from None
    if entry is None:
        raise HarnessError(
            f"{folder}: the cached cohort changes as it is read; choose another cache directory."
        )
    return entry


def _key(source: Source, protocol: Protocol) -> str:
    decides = {
        "code": [_meaning(file) for file in (Path(__file__), Path(grid.__file__), *source.code)],
        "source": source.identity,
        "size": protocol.cohort.size,
        "labels": protocol.labels,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:32]


def _meaning(file: Path) -> str:
    # By meaning, so that a comment does not decode ten thousand images again.
    return identity.meaning(file.read_bytes(), file.name)


def _open(folder: Path) -> Stored | None:
    """Return an entry, or None where there is none or it is not as it was built."""
    try:
        about = json.loads((folder / "cohort.json").read_text(encoding="utf-8"))
        if about["files"] != _stats(folder):
            return None
        images = np.load(folder / "images.npy", mmap_mode="r")
        masks = np.load(folder / "masks.npy", mmap_mode="r")
        table = pd.read_parquet(folder / "samples.parquet").astype(object)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
    return Stored(images, masks, table.where(table.notna(), None), about["digest"])


def _stats(folder: Path) -> list[list[Any]]:
    stats = [(folder / name).stat() for name in _FILES]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in zip(_FILES, stats, strict=True)]


def _build(source: Source, protocol: Protocol, folder: Path) -> None:
    with _aside(folder) as aside:
        digest = _write(source, protocol, aside)
        about = {"digest": digest, "files": _stats(aside), "title": source.title}
        (aside / "cohort.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        _publish(aside, folder)


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """Give a new directory beside `folder`; whatever is left of it in the end is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in folder.parent.glob(".building-*"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _ABANDONED:
                shutil.rmtree(old)
    aside = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _publish(aside: Path, folder: Path) -> None:
    """Rename to the final place; where another process was faster its entry stands, a damaged one goes."""
    if folder.exists() and _open(folder) is None:
        os.rename(folder, aside / "damaged")
    aside.chmod(0o755)  # mkdtemp's is private; the cache may be shared
    try:
        os.rename(aside, folder)
    except OSError:
        if _open(folder) is None:
            raise
        return
    shutil.rmtree(folder / "damaged", ignore_errors=True)


def _write(source: Source, protocol: Protocol, folder: Path) -> str:
    """Write the three data files, samples in the order of their ids, and return the digest."""
    size, count = protocol.cohort.size, len(source.samples)
    if not count:
        raise HarnessError(f"The cohort source '{protocol.cohort.source}' has no samples.")
    sha = hashlib.sha256()
    rows = []
    with (folder / "images.npy").open("wb") as images, (folder / "masks.npy").open("wb") as masks:
        _npy_header(images, (count, size, size, 3))
        _npy_header(masks, (count, size, size))
        for record, image, mask in _decoded(source, protocol):
            images.write(image)
            masks.write(mask)
            sha.update(f"{record['sample']}\0{record['patient']}\0".encode() + image + mask)
            rows.append(record)
        for file in (images, masks):
            file.flush()
            os.fsync(file.fileno())
    pd.DataFrame(rows, dtype=object).to_parquet(folder / "samples.parquet", index=False)
    return sha.hexdigest()


def _decoded(source: Source, protocol: Protocol) -> Iterator[tuple[dict[str, str | None], bytes, bytes]]:
    """Yield row, image and mask of every sample by the order of the ids; a few are read ahead."""
    size = protocol.cohort.size

    def decode(row: int) -> tuple[dict[str, str | None], bytes, bytes]:
        sample = source.read(row)
        image = grid.resize_image(sample.image, size)
        mask = grid.resize_mask(_classes(sample, protocol.labels), size)
        record = {"sample": source.samples[row], "patient": sample.patient, "split": sample.split}
        columns = {name: value for name, value in sample.columns.items() if name not in RESERVED}
        return record | columns, image.tobytes(), mask.tobytes()

    # glibc hands every freed image back to the system, at half the cost of drawing one, until it has
    # seen a large block freed.
    np.empty(1 << 24, dtype=np.uint8)
    order = sorted(range(len(source.samples)), key=lambda row: source.samples[row])
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 8)) as pool:
        for batch in (order[at : at + _READ_AHEAD] for at in range(0, len(order), _READ_AHEAD)):
            yield from pool.map(decode, batch)


def _npy_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    # Written as a stream and not through a memory map: there a full disk kills the process.
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _classes(sample: Sample, labels: tuple[int, ...]) -> np.ndarray:
    """Return the mask as class indices, uint8; raises HarnessError for a label no structure declares."""
    present = np.unique(sample.mask)
    unknown = [int(label) for label in present if label != 0 and label not in labels]
    if unknown:
        raise HarnessError(
            f"{sample.mask_file}: the mask has the label {unknown[0]}, which no structure declares "
            f"(declared: {', '.join(map(str, labels))}); add it to a structure of the protocol "
            "or mend the mask."
        )
    table = np.zeros(int(present.max(initial=0)) + 1, dtype=np.uint8)
    for index, label in enumerate(labels, start=1):
        table[label : label + 1] = index
    classes: np.ndarray = table[sample.mask]
    return classes
