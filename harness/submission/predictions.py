"""Predictions alone, as a submission: of a model that nobody here can train, scored here."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

import harness
from harness.errors import HarnessError
from harness.identity import trial_id
from harness.plugin import naming
from harness.store import CURVE, MethodInfo, PlanRow, Record, formats
from harness.store.values import Name, Words
from harness.submission import archive
from harness.submission.agreement import recompute
from harness.submission.archive import MANIFEST, digests, parsed_json, zipped
from harness.submission.contents import parse_predictions, reading
from harness.submission.findings import Finding, Parsed, Report
from harness.submission.yardstick import Yardstick

KIND = "predictions only"
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
        _member(seed): formats.arrays_bytes(samples=samples, labels=labels)
        for seed, labels in enumerate(trainings)
    }
    _check_distinct(members)
    manifest = Manifest(
        method=method, title=title or method, namespace=namespace, protocol=yardstick.protocol.name,
        protocol_digest=yardstick.digest, harness=harness.__version__, members=digests(members),
    )  # fmt: skip
    return zipped({MANIFEST: _bytes(manifest), **members})


def read(file: Path) -> Predictions:
    """Read a file of predictions as a stranger's. Raises HarnessError for one that is none."""
    raw = archive.raw(file)
    with reading(str(file)), zipfile.ZipFile(io.BytesIO(raw)) as opened:
        entries = opened.infolist()
        allowed = {MANIFEST, *(_member(seed) for seed in range(MOST_TRAININGS))}
        for entry in entries:
            if entry.filename not in allowed or entry.compress_type != zipfile.ZIP_STORED:
                raise HarnessError(f"{file}: member {entry.filename[:100]!r} has no place in predictions.")
        if len({entry.filename for entry in entries}) != len(entries):
            raise HarnessError(f"{file}: a member is there twice; nothing was read.")
        members = {entry.filename: opened.read(entry) for entry in entries}
    manifest = parsed_json(members.pop(MANIFEST, b""), Manifest, f"{file}: {MANIFEST}")
    return Predictions(manifest, members, raw)


def verify(given: Predictions, yardstick: Yardstick) -> tuple[archive.Manifest, Report]:
    """Return what can be said of predictions, and the manifest under which their records are added.

    Every test sample must be predicted, and scores are computed here: nothing that is in the file is one.
    """
    report = Report()
    manifest = given.manifest
    report.findings += _file(given, yardstick)
    rows = []
    for seed, name in enumerate(sorted(given.members, key=lambda one: int(one[12:-4]))):
        if report.failed:
            break
        try:
            labels = parse_predictions(
                given.members[name],
                yardstick.samples,
                yardstick.protocol.cohort.size,
                yardstick.protocol.n_classes,
            )
        except HarnessError as error:
            report.findings.append(Finding("coverage", "failed", f"{name}: {error}"))
            break
        parsed = _parsed(manifest, yardstick, labels, seed)
        report.parsed[parsed.record.id] = parsed
        rows += [
            PlanRow(method=manifest.method, attribute=attribute, seed=seed, trial=parsed.record.id)
            for attribute in yardstick.groups
        ]
    if not report.failed:
        report.findings += _said(len(given.members), yardstick)
    return _as_submission(manifest, rows), report


def _file(given: Predictions, yardstick: Yardstick) -> list[Finding]:
    if digests(given.members) != dict(sorted(given.manifest.members.items())):
        return [Finding("hashes", "failed", "its members are not those that its manifest lists")]
    if set(given.members) != {_member(seed) for seed in range(len(given.members))}:
        return [Finding("hashes", "failed", "its trainings are not numbered from 0")]
    if given.manifest.protocol_digest != yardstick.digest:
        why = f"they are of another protocol or cohort than '{yardstick.protocol.name}' here"
        return [Finding("protocol", "failed", why)]
    try:
        _check_distinct(given.members)
    except HarnessError as error:
        return [Finding("trainings", "failed", str(error).rstrip("."))]
    return [Finding("protocol", "confirmed", "protocol, cohort and test samples are those that are here")]


def _said(trainings: int, yardstick: Yardstick) -> list[Finding]:
    count = f"{len(yardstick.samples)} test samples of {trainings} training{'s' if trainings > 1 else ''}"
    return [
        Finding("coverage", "confirmed", f"all {count} are predicted, with the protocol's classes"),
        Finding("scores", "confirmed", "computed here, on this machine's masks"),
        Finding(
            "training", "could not confirm", "how they were made, and on which data, nobody here can tell"
        ),
    ]


def _parsed(manifest: Manifest, yardstick: Yardstick, labels: np.ndarray, seed: int) -> Parsed:
    told = {"name": manifest.method, "namespace": manifest.namespace, "title": manifest.title}
    identity = {
        "kind": KIND,
        "protocol": yardstick.digest,
        "method": told,
        "seed": seed,
        "predictions": hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest(),
    }
    record = Record(
        id=trial_id(identity), status="done", protocol=yardstick.protocol.name,
        method=MethodInfo(name=manifest.method, title=manifest.title, reads_attribute=False),
        attribute=None, groups=(), seed=seed, identity=identity,
    )  # fmt: skip
    return Parsed(record, labels, recompute(labels, yardstick), pd.DataFrame(columns=list(CURVE)), "")


def _as_submission(manifest: Manifest, rows: list[PlanRow]) -> archive.Manifest:
    return archive.Manifest(
        method=manifest.method, namespace=manifest.namespace, plugin="", protocol=manifest.protocol,
        protocol_digest=manifest.protocol_digest, harness=manifest.harness, plan=tuple(rows),
        members=manifest.members,
    )  # fmt: skip


def _check_distinct(members: dict[str, bytes]) -> None:
    if len(set(digests(members).values())) < len(members):
        raise HarnessError("Two trainings have the same predictions; each stands for a training of its own.")


def _member(seed: int) -> str:
    return f"predictions/{seed}.npz"


def _bytes(manifest: Manifest) -> bytes:
    return (json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode()
