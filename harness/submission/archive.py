"""The file of a submission: a plain zip whose bytes follow from its members, read as a stranger's."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.errors import HarnessError, plain
from harness.plugin import naming
from harness.store import PlanRow, Tuned, formats, names
from harness.store.values import Name, unseen

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
PROTOCOL = names.PROTOCOL

MOST_BYTES = 1 << 30
"""Of the whole file. Members are stored, not compressed, so nothing in it can be larger than it."""
MOST_MEMBERS = 20_000
MOST_JSON = 8 << 20
MOST_LEVELS = 12

# Of a member's name, and of what the directory of a zip holds beside it.
_MOST_NAME, _ENTRY = 1_000, 46
_END, _END64 = b"PK\x05\x06", b"PK\x06\x07"
_END_SIZE, _END64_SIZE = 22, 20

_SOURCE = re.compile(r"source(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){1,8}")
_RECORD = re.compile(rf"records/[0-9a-f]{{20}}/({'|'.join(map(re.escape, names.RECORD_FILES))})")
# The format's own earliest date: the time of packing is in no byte.
_DATE = (1980, 1, 1, 0, 0, 0)


# All that zipfile raises over damaged bytes; RuntimeError is its word for encrypted members.
_UNREADABLE = (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, LookupError, struct.error)


Model = TypeVar("Model", bound=BaseModel)


class Manifest(BaseModel):
    """manifest.json: what was packed, and the SHA-256 of every other member."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Annotated[int, Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION, strict=True)] = SCHEMA_VERSION
    method: Annotated[str, Field(pattern=f"^{naming.NAME}$")]
    namespace: Annotated[str, Field(pattern=f"^{naming.NAMESPACE}$")] = naming.GUEST
    """Of who submits: on a board it stands before the method's name."""
    plugin: Annotated[str, Field(max_length=_MOST_NAME)]
    """The member that is the method's own file; the others under `source/` are what it imports."""
    protocol: Name
    protocol_digest: Name
    """`harness.running.board.protocol_digest` of protocol and cohort where it was packed."""
    harness: Name
    plan: Annotated[tuple[PlanRow, ...], Field(max_length=MOST_MEMBERS)]
    tuned: Annotated[dict[Name, Tuned], Field(max_length=100)] = {}
    """How hyper-parameters were chosen, of the method and what it starts from; empty where none were."""
    members: Annotated[dict[str, Name], Field(max_length=MOST_MEMBERS)]

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
    return zipped({MANIFEST: manifest_bytes(manifest), **dict(sorted(members.items()))})


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Return members as a zip, in their order, with nothing in it but their names and bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return a manifest as it stands in the file."""
    told = {"tuned"} if not manifest.tuned else set()
    told |= {"namespace"} if manifest.namespace == naming.GUEST else set()
    table = manifest.model_dump(mode="json", exclude=told)
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
    whole = raw(file)
    try:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            members = _members(file, archive)
    except _UNREADABLE as error:
        raise HarnessError(f"{file}: not a zip, or damaged ({error}); get the file again.") from None
    manifest = parsed_json(members.pop(MANIFEST, b""), Manifest, f"{file}: {MANIFEST}")
    return Submission(manifest, members, whole)


def load_json(data: bytes, where: str) -> dict[str, Any]:
    """Return a JSON object. Raises HarnessError naming `where` for anything else."""
    try:
        value = json.loads(data) if len(data) <= MOST_JSON else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or _deeper_than(value, MOST_LEVELS):
        raise HarnessError(
            f"{where} is missing, or not a JSON object of at most {MOST_JSON >> 20} MiB and {MOST_LEVELS} "
            "levels; pack the submission again."
        )
    return value


def parsed_json(data: bytes, model: type[Model], where: str) -> Model:
    """Return what a stranger's JSON says, as a model; see `load_json`.

    Raises HarnessError, one sentence, where it does not fit: a value out of range, of another type, or a text
    with half a character or with what could move a cursor.
    """
    load_json(data, where)
    try:
        found = model.model_validate_json(data)
    except ValidationError as error:
        raise HarnessError(f"{where}: {formats.said(error)}.") from None
    if place := _moves(found.model_dump(mode="json")):
        raise HarnessError(f"{where}: {plain(place)[:200]} holds a character that no reader sees.")
    return found


def _moves(value: Any, place: str = "") -> str:
    """Return where a text has what could move a terminal's cursor or turn a line, "" where none has.

    A method's source is a text of many lines, which pages show as such and terminals not at all.
    """
    if isinstance(value, str):
        return place if unseen(value, "\n\t\r\f" if place == "method.source" else "\n\t") else ""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        where = f"{place}.{key}".removeprefix(".")
        if (isinstance(key, str) and unseen(key)) or _moves(inner, where):
            return where if isinstance(key, str) and unseen(key) else _moves(inner, where)
    return ""


def _deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper_than(item, levels - 1) for item in inner)


def check_directory(tail: bytes, members: int, where: str) -> None:
    """Raise HarnessError for a zip with more members than there can be; `tail` is at least its last 42 bytes.

    zipfile makes an object of every entry that the directory has, whatever the number beside it says: only
    the directory's size bounds them. It lies before the last 22 bytes, as in every zip that numpy and
    `harness pack` write: without a comment, and without the tables of a zip beyond 4 GiB.
    """
    end = tail[-_END_SIZE:]
    if len(end) < _END_SIZE or not end.startswith(_END):
        raise zipfile.BadZipFile("it does not end as a zip does")
    if tail[-_END_SIZE - _END64_SIZE :].startswith(_END64):
        raise zipfile.BadZipFile("it is in the format of zips beyond 4 GiB")
    count, size = struct.unpack_from("<HI", end, 10)
    if count > members:
        raise HarnessError(f"{where}: {count} members, more than {members}; nothing was read.")
    if size > members * (_ENTRY + _MOST_NAME):
        raise HarnessError(f"{where}: its directory is that of more than {members}; nothing was read.")


def raw(file: Path) -> bytes:
    """Return the bytes of a zip, bounded before anything is read. Raises HarnessError."""
    try:
        if not file.is_dir() and not file.is_file() and file.exists():
            raise HarnessError(f"{file}: no regular file; give the file that `harness pack` wrote.")
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise HarnessError(f"{file}: larger than {MOST_BYTES >> 20} MiB; a submission holds one method.")
        with file.open("rb") as opened:
            opened.seek(-min(size, _END_SIZE + _END64_SIZE), os.SEEK_END)
            check_directory(opened.read(), MOST_MEMBERS, str(file))
            opened.seek(0)
            return opened.read(MOST_BYTES)
    except zipfile.BadZipFile as error:
        raise HarnessError(f"{file}: not a zip, or damaged ({error}); get the file again.") from None
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
