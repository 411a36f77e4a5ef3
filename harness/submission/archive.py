"""The file of a submission: a plain zip whose bytes follow from its members, read as a stranger's."""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.errors import HarnessError
from harness.store import PlanRow, Tuned, names

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
PROTOCOL = names.PROTOCOL

MOST_BYTES = 1 << 30
"""Of the whole file. Members are stored, not compressed, so nothing in it can be larger than it."""
MOST_MEMBERS = 20_000
MOST_JSON = 8 << 20

_SOURCE = re.compile(r"source(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){1,8}")
_RECORD = re.compile(rf"records/[0-9a-f]{{20}}/({'|'.join(map(re.escape, names.RECORD_FILES))})")
# The format's own earliest date: the time of packing is in no byte.
_DATE = (1980, 1, 1, 0, 0, 0)


# All that zipfile raises over damaged bytes; RuntimeError is its word for encrypted members.
_UNREADABLE = (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, LookupError, struct.error)


class Manifest(BaseModel):
    """manifest.json: what was packed, and the SHA-256 of every other member."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Annotated[int, Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    method: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
    plugin: str
    """The member that is the method's own file; the others under `source/` are what it imports."""
    protocol: str
    protocol_digest: str
    """`harness.running.board.protocol_digest` of protocol and cohort where it was packed."""
    harness: str
    plan: tuple[PlanRow, ...]
    tuned: dict[str, Tuned] = {}
    """How hyper-parameters were chosen, of the method and what it starts from; empty where none were."""
    members: dict[str, str]

    @field_validator("tuned")
    @classmethod
    def _chosen_among_tries(cls, tuned: dict[str, Tuned]) -> dict[str, Tuned]:
        if not all(0 <= one.chosen < len(one.tries) <= one.budget for one in tuned.values()):
            raise ValueError("what was chosen is none of the tries")
        return tuned


@dataclass(frozen=True)
class Submission:
    """A submission in memory; of its members only the manifest has been understood.

    members: every member but the manifest, name to bytes; raw: the file's own bytes.
    """

    manifest: Manifest
    members: dict[str, bytes]
    raw: bytes

    @property
    def source(self) -> dict[str, bytes]:
        """The method's file and what it imports: member's name to text."""
        return {name: data for name, data in self.members.items() if name.startswith("source/")}

    @cached_property
    def records(self) -> dict[str, dict[str, bytes]]:
        """Trial to its record's files, name to bytes."""
        records: dict[str, dict[str, bytes]] = {}
        for name, data in self.members.items():
            if name.startswith("records/"):
                _, trial, part = name.split("/")
                records.setdefault(trial, {})[part] = data
        return records


def encode(manifest: Manifest, members: Mapping[str, bytes]) -> bytes:
    """Return the zip of a submission: the same members give the same bytes, on any day and machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in [(MANIFEST, manifest_bytes(manifest)), *sorted(members.items())]:
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return a manifest as it stands in the file."""
    table = manifest.model_dump(mode="json", exclude=None if manifest.tuned else {"tuned"})
    return (json.dumps(table, indent=1, sort_keys=True) + "\n").encode()


def has_place(name: str) -> bool:
    """Tell whether a submission may have a member of this name."""
    return name in (MANIFEST, PROTOCOL) or any(kind.fullmatch(name) for kind in (_SOURCE, _RECORD))


def digests(members: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 of each member."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(members.items())}


def read(file: Path) -> Submission:
    """Read a submission into memory; nothing is written to disk and no member's name becomes a path.

    Raises HarnessError, one sentence, for a file that `harness pack` cannot have written: too large,
    too many members, names that are not a submission's, compressed or damaged members, no manifest.
    """
    raw = _raw(file)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = _members(file, archive)
    except _UNREADABLE as error:
        raise HarnessError(f"{file}: not a zip, or damaged ({error}); get the file again.") from None
    return Submission(_manifest(members.pop(MANIFEST, b""), file), members, raw)


def load_json(data: bytes, where: str) -> dict[str, Any]:
    """Return a JSON object. Raises HarnessError naming `where` for anything else."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or len(data) > MOST_JSON or _deeper_than(value, 12):
        raise HarnessError(
            f"{where} is missing, or not a JSON object of at most {MOST_JSON >> 20} MiB and 12 levels; pack "
            "the submission again."
        )
    return value


def _deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper_than(item, levels - 1) for item in inner)


def _manifest(data: bytes, file: Path) -> Manifest:
    table = load_json(data, f"{file}: {MANIFEST}")
    try:
        return Manifest.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        raise HarnessError(
            f"{file}: {MANIFEST}: {'.'.join(map(str, first['loc']))}: "
            f"{first['msg'].removeprefix('Value error, ')}; pack it again with "
            "this version of the harness."
        ) from None


def _raw(file: Path) -> bytes:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise HarnessError(f"{file}: larger than {MOST_BYTES >> 20} MiB; a submission holds one method.")
        return file.read_bytes()
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}; give the file that `harness pack` wrote.") from None


def _members(file: Path, archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = archive.infolist()
    if len(entries) > MOST_MEMBERS:
        raise HarnessError(f"{file}: {len(entries)} members, more than {MOST_MEMBERS}; nothing was read.")
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise HarnessError(f"{file}: unpacks to more than {MOST_BYTES >> 20} MiB; nothing was read.")
    names: set[str] = set()
    for entry in entries:
        _check_entry(file, entry, names)
        names.add(entry.filename)
    return {entry.filename: archive.read(entry) for entry in entries}


def _check_entry(file: Path, entry: zipfile.ZipInfo, seen: set[str]) -> None:
    name = entry.filename
    if not has_place(name):
        raise HarnessError(f"{file}: member {name[:200]!r} has no place in a submission; nothing was read.")
    if name in seen:
        raise HarnessError(f"{file}: member {name!r} is there twice; nothing was read.")
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise HarnessError(
            f"{file}: member {name!r} is compressed, which `harness pack` never does; nothing was read."
        )
