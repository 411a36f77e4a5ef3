"""Keep a source in one decoded, memory-mapped form, so that each file is read once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from harness import arrays, identity
from harness.cohorts import grid, guard, labels
from harness.cohorts.cohort import RESERVED, Remark
from harness.cohorts.guard import Seen
from harness.cohorts.labels import Codes
from harness.cohorts.source import Progress, Source
from harness.errors import HarnessError
from harness.protocol import Protocol
from harness.store import files, formats

_FILES = ("images.npy", "masks.npy", "samples.parquet", "areas.npy", "places.parquet")
_ABOUT = "cohort.json"
_CODE = (__file__, grid.__file__, labels.__file__, guard.__file__)
_READ_AHEAD = 64  # samples


@dataclass(frozen=True)
class Stored:
    """A cached source: images uint8 [N, S, S, 3], masks uint8 [N, S, S] of class indices, both mapped.

    table: `sample`, `patient`, `split` and the source's columns, text or None, sorted by sample;
    digest: SHA-256 of images, masks, samples and patients; areas, places, remarks: as a `Cohort` has them.
    """

    images: np.ndarray
    masks: np.ndarray
    table: pd.DataFrame
    digest: str
    areas: np.ndarray
    places: pd.DataFrame
    remarks: tuple[Remark, ...]


def stored(source: Source, protocol: Protocol, cache: Path, progress: Progress) -> Stored:
    """Return the source on the protocol's grid, from `cache/cohorts/<key>`, building it where needed.

    The key is a hash of the source's identity, size, labels, structures and the code that reads it. An entry
    is built aside and renamed, so it is whole or absent; one that was damaged since is built anew.
    Raises HarnessError for samples that cannot be used, and where the cache cannot be written.
    """
    folder = cache / "cohorts" / _key(source, protocol)
    try:
        entry = _open(folder)
        if entry is None:
            _build(source, protocol, folder, progress)
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
        "code": [_meaning(file) for file in (*map(Path, _CODE), *source.code)],
        "source": source.identity,
        "size": protocol.cohort.size,
        "labels": [protocol.label_values, protocol.background, protocol.ignored],
        "structures": {name: protocol.classes(name) for name in protocol.structures},
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:32]


def _meaning(file: Path) -> str:
    # By meaning, so that a comment does not decode ten thousand images again.
    return identity.meaning(file.read_bytes(), file.name)


def _open(folder: Path) -> Stored | None:
    """Return an entry, or None where there is none or it is not as it was built."""
    if not (folder / _ABOUT).is_file():
        return None
    try:
        with formats.reading(folder, "it is built anew"):
            about = json.loads((folder / _ABOUT).read_bytes())
            if about["files"] != _stats(folder):
                return None
            images = arrays.mapped(folder / "images.npy")
            masks = arrays.mapped(folder / "masks.npy")
            table = pd.read_parquet(folder / "samples.parquet").astype(object)
            return Stored(
                images,
                masks,
                table.where(table.notna(), None),
                str(about["digest"]),
                arrays.load(folder / "areas.npy"),
                pd.read_parquet(folder / "places.parquet"),
                tuple(Remark(**one | {"samples": tuple(one["samples"])}) for one in about["remarks"]),
            )
    except formats.Damaged:
        return None


def _stats(folder: Path) -> list[list[Any]]:
    stats = [(folder / name).stat() for name in _FILES]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in zip(_FILES, stats, strict=True)]


def _build(source: Source, protocol: Protocol, folder: Path, progress: Progress) -> None:
    with files.writing(folder) as aside:
        found = source.before(progress)
        digest, seen = _write(source, protocol, aside, progress)
        remarks = [asdict(one) for one in (*found, *guard.of_pixels(seen, protocol))]
        about = {"digest": digest, "files": _stats(aside), "title": source.title, "remarks": remarks}
        files.put(aside / _ABOUT, (json.dumps(about, indent=2) + "\n").encode())


def _write(source: Source, protocol: Protocol, folder: Path, progress: Progress) -> tuple[str, list[Seen]]:
    """Write the data files, samples by id; return the digest and what was seen of each."""
    size, count = protocol.cohort.size, len(source.samples)
    if not count:
        raise HarnessError(f"The cohort source '{protocol.cohort.source}' has no samples.")
    sha = hashlib.sha256()
    rows, seen = [], []
    with files.stream(folder / "images.npy") as images, files.stream(folder / "masks.npy") as masks:
        _npy_header(images, (count, size, size, 3))
        _npy_header(masks, (count, size, size))
        for read in _decoded(source, protocol):
            images.write(read.image)
            masks.write(read.mask)
            record = read.record
            sha.update(f"{record['sample']}\0{record['patient']}\0".encode() + read.image + read.mask)
            rows.append(record)
            seen.append(read.seen)
            progress("Reading the cohort", len(rows), count)
    files.put(folder / "samples.parquet", formats.frame_bytes(pd.DataFrame(rows, dtype=object)))
    files.put(folder / "areas.npy", formats.array_bytes(np.stack([one.areas for one in seen])))
    files.put(folder / "places.parquet", formats.frame_bytes(pd.DataFrame([one.place for one in seen])))
    return sha.hexdigest(), seen


@dataclass(frozen=True)
class _Read:
    """A sample as it is stored: its row of the table, image, mask, and what was seen of it."""

    record: dict[str, str | None]
    image: bytes
    mask: bytes
    seen: Seen


def _decoded(source: Source, protocol: Protocol) -> Iterator[_Read]:
    """Yield every sample by the order of the ids; a few are read ahead."""
    size, codes = protocol.cohort.size, Codes.of(protocol)

    def decode(row: int) -> _Read:
        sample = source.read(row)
        classes = codes.classes_of(sample)
        image = grid.resize_image(grid.square(sample.image, sample.fit), size)
        mask = grid.resize_mask(grid.square(classes, sample.fit), size)
        record = {"sample": source.samples[row], "patient": sample.patient, "split": sample.split}
        columns = {name: value for name, value in sample.columns.items() if name not in RESERVED}
        seen = guard.seen(source.samples[row], sample, classes, mask, protocol)
        return _Read(record | columns, image.tobytes(), mask.tobytes(), seen)

    # glibc hands every freed image back to the system, at half the cost of drawing one, until it has
    # seen a large block freed.
    np.empty(1 << 24, dtype=np.uint8)
    order = sorted(range(len(source.samples)), key=lambda row: source.samples[row])
    # Samples are read side by side: a product of a few hundred rows that takes all cores too waits for them.
    with (
        threadpool_limits(1, "blas"),
        ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 8)) as pool,
    ):
        for batch in (order[at : at + _READ_AHEAD] for at in range(0, len(order), _READ_AHEAD)):
            yield from pool.map(decode, batch)


def _npy_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    # Written as a stream and not through a memory map: there a full disk kills the process.
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
