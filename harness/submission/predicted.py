"""The file of predictions alone, a submission of a model that nobody here can train: packed and read."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

import harness
from harness.errors import HarnessError
from harness.plugin import naming
from harness.store import formats
from harness.store.values import Name, Words
from harness.submission import archive
from harness.submission.archive import MANIFEST, digests, parsed_json, zipped
from harness.submission.contents import reading

if TYPE_CHECKING:
    from harness.submission.yardstick import Yardstick

MOST_TRAININGS = 20


class Manifest(BaseModel):
    """manifest.json: what was packed, and the SHA-256 of each training's predictions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Annotated[int, Field(ge=1, le=1, strict=True)] = 1
    kind: Literal["predictions only"] = "predictions only"
    method: Annotated[str, Field(pattern=f"^{naming.NAME}$")]
    title: Annotated[Words, Field(min_length=1, max_length=naming.MOST_TITLE)]
    namespace: Annotated[str, Field(pattern=f"^{naming.NAMESPACE}$")] = naming.GUEST
    protocol: Name
    protocol_digest: Name
    harness: Name
    members: Annotated[dict[str, Name], Field(min_length=1, max_length=MOST_TRAININGS)]


@dataclass(frozen=True)
class Predictions:
    """A file of predictions in memory: of its members only the manifest has been understood."""

    manifest: Manifest
    members: dict[str, bytes]
    raw: bytes


def pack(
    method: str, title: str, namespace: str, yardstick: Yardstick, trainings: Sequence[np.ndarray]
) -> bytes:
    """Return the file of predictions; `trainings`: of each, uint8 class indices [test samples, S, S].

    Raises HarnessError for a name that is none, and for a training that is another one.
    """
    naming.check_name(method)
    samples = np.array(yardstick.samples)
    members = {
        member(seed): formats.arrays_bytes(samples=samples, labels=labels)
        for seed, labels in enumerate(trainings)
    }
    check_distinct(members)
    manifest = Manifest(
        method=method, title=title or method, namespace=namespace, protocol=yardstick.protocol.name,
        protocol_digest=yardstick.digest, harness=harness.__version__, members=digests(members),
    )  # fmt: skip
    return zipped({MANIFEST: _bytes(manifest), **members})


def read(file: Path) -> Predictions:
    """Read a file of predictions as a stranger's. Raises HarnessError for one that is none."""
    return parsed(archive.raw(file), str(file))


def parsed(raw: bytes, file: str) -> Predictions:
    """Return the bytes of a file of predictions as one. Raises HarnessError for one that is none."""
    with reading(file), zipfile.ZipFile(io.BytesIO(raw)) as opened:
        entries = opened.infolist()
        allowed = {MANIFEST, *(member(seed) for seed in range(MOST_TRAININGS))}
        for entry in entries:
            if entry.filename not in allowed or entry.compress_type != zipfile.ZIP_STORED:
                raise HarnessError(f"{file}: member {entry.filename[:100]!r} has no place in predictions.")
        if len({entry.filename for entry in entries}) != len(entries):
            raise HarnessError(f"{file}: a member is there twice; nothing was read.")
        members = {entry.filename: opened.read(entry) for entry in entries}
    manifest = parsed_json(members.pop(MANIFEST, b""), Manifest, f"{file}: {MANIFEST}")
    return Predictions(manifest, members, raw)


def check_distinct(members: dict[str, bytes]) -> None:
    """Raise HarnessError where two trainings are one."""
    if len(set(digests(members).values())) < len(members):
        raise HarnessError("Two trainings have the same predictions; each stands for a training of its own.")


def member(seed: int) -> str:
    """Return the name of a training's predictions in the file."""
    return f"predictions/{seed}.npz"


def _bytes(manifest: Manifest) -> bytes:
    return (json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode()
