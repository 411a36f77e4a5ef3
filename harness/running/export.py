"""A board as one archive that stands by itself: records, manifest, checksums, licence, citation."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import __version__
from harness.errors import HarnessError, did_you_mean
from harness.store import ProtocolRecord, Store, files, names

MANIFEST, CITATION, LICENCE, READING = "manifest.json", "CITATION.cff", "LICENSE.txt", "README.md"

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Of every entry: the same records make the same archive, byte by byte."""

LICENCES = {
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/legalcode",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/legalcode",
    "CC-BY-NC-4.0": "https://creativecommons.org/licenses/by-nc/4.0/legalcode",
}


@dataclass(frozen=True)
class About:
    """What the archive says of itself. authors: as `Family, Given`; date: as 2026-11-28."""

    title: str
    authors: tuple[str, ...]
    licence: str
    version: str
    date: str


@dataclass(frozen=True)
class Exported:
    """What was written: how many files and records, bytes, and trials of the board without a record."""

    files: int
    records: int
    size: int
    missing: int


def check(store: Store, key: str, about: About) -> None:
    """Raise HarnessError for a board that is not there, or a licence or authors that no citation can have."""
    if key not in store.protocols():
        raise HarnessError(f"{store.root}: there is no board '{key}'.{did_you_mean(key, store.protocols())}")
    if about.licence not in LICENCES:
        known = did_you_mean(about.licence, LICENCES)
        raise HarnessError(f"--licence {about.licence}: is none that is written out here.{known}")
    for author in about.authors:
        if not all(part.strip() for part in author.partition(",")[::2]):
            raise HarnessError(f"--author {author}: give the family name, a comma and the given names.")


def write(store: Store, key: str, about: About, target: Path) -> Exported:
    """Write the archive of a board, whole or not at all. Raises HarnessError, as `check` does."""
    check(store, key, about)
    board = store.protocol(key)
    content = dict(_content(store, board))
    records = sum(1 for name in content if name.endswith(f"/{names.RECORD}"))
    manifest = {
        "title": about.title,
        "board": key,
        "protocol_digest": board.digest,
        "cohort": {part: board.cohort.get(part) for part in ("title", "licence", "citation", "digest")},
        "harness": __version__,
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in content.items()
        },
    }
    content |= {
        CITATION: _citation(about),
        LICENCE: f"SPDX-License-Identifier: {about.licence}\n{LICENCES[about.licence]}\n".encode(),
        READING: _reading(about, key).encode(),
        MANIFEST: (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode(),
    }
    packed = _packed(content)
    files.write(target, packed)
    trials = {row.trial for row in board.plan}
    return Exported(len(content), records, len(packed), len(trials) - sum(store.has(one) for one in trials))


def _content(store: Store, board: ProtocolRecord) -> Iterator[tuple[str, bytes]]:
    """Yield the board's files but its pictures, which a cohort may forbid to share, and its records'."""
    for name in (names.PROTOCOL, names.SUBJECTS, names.SIZES):
        path = store.board_file(board.name, name)
        if path.is_file():
            yield f"protocols/{board.name}/{name}", path.read_bytes()
    for trial in sorted({row.trial for row in board.plan}):
        for name in names.RECORD_FILES if store.has(trial) else ():
            path = store.path(trial) / name
            if path.is_file():
                yield f"records/{trial}/{name}", path.read_bytes()


def _packed(content: dict[str, bytes]) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(content):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content[name])
    return into.getvalue()


def _citation(about: About) -> bytes:
    lines = [
        "cff-version: 1.2.0",
        "message: If you use these records, please cite them as below.",
        "type: dataset",
    ]
    lines += [f"title: {json.dumps(about.title)}", f"version: {json.dumps(about.version)}"]
    lines += [f"date-released: {about.date}", f"license: {about.licence}", "authors:"]
    for author in about.authors:
        family, _, given = author.partition(",")
        lines += [
            f"  - family-names: {json.dumps(family.strip())}",
            f"    given-names: {json.dumps(given.strip())}",
        ]
    return ("\n".join(lines) + "\n").encode()


def _reading(about: About, key: str) -> str:
    return (
        f"# {about.title}\n\nThe records of the board `{key}`: scores by sample, predictions, curves and "
        f"logs of every trial, and who was in the cohort. `{MANIFEST}` has the SHA-256 of every file. "
        "Unpacked, the folder is a store: `harness report --runs .` builds the site from it.\n"
    )
