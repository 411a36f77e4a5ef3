"""Pack a method's finished trials under a protocol into one file."""

from __future__ import annotations

import json
from pathlib import Path

import harness
from harness import identity
from harness.errors import HarnessError
from harness.plugin import naming
from harness.plugin.discovery import Plugin
from harness.running import provenance
from harness.running.board import protocol_digest
from harness.running.prepare import Prepared
from harness.store import Store, files, names
from harness.submission.archive import PROTOCOL, Manifest, digests, encode, has_place


def pack(prepared: Prepared, plugin: Plugin, command: str, namespace: str = naming.GUEST) -> bytes:
    """Return the bytes of a submission: the method's source, its records and the protocol.

    `command` is what runs the trials, named in errors; `namespace` is the submitter's. Raises HarnessError
    where a trial is missing, failed, changed since it ran, or was not run here.
    """
    if prepared.broken:
        raise HarnessError(prepared.broken[0].error)
    if prepared.protocol.split.folds > 1:
        raise HarnessError(
            f"The protocol '{prepared.protocol.name}' tests in folds, and a submission has one test set; "
            "pack under a protocol without [split] folds."
        )
    rows = tuple(row for row in prepared.plan.rows if row.method == plugin.name)
    trials = list(dict.fromkeys(row.trial for row in rows))
    _check_all_there(prepared, trials, command)
    members = {PROTOCOL: _protocol(prepared)} | source_members(plugin.file)
    for trial in trials:
        members |= _record(prepared.store, trial)
    manifest = Manifest(
        method=plugin.name,
        namespace=namespace,
        plugin=next(name for name, path in _places(plugin.file).items() if path == plugin.file.resolve()),
        protocol=prepared.protocol.name,
        protocol_digest=protocol_digest(prepared.protocol, prepared.cohort),
        harness=harness.__version__,
        plan=rows,
        tuned=dict(prepared.tuned),
        members=digests(members),
    )
    return encode(manifest, members)


def write(data: bytes, out: Path) -> None:
    """Write the file whole or not at all. Raises HarnessError where it cannot be written."""
    try:
        files.write(out, data)
    except OSError as error:
        raise HarnessError(f"{out}: {error.strerror}; choose another place with --out.") from None


def _check_all_there(prepared: Prepared, trials: list[str], command: str) -> None:
    store = prepared.store
    missing = [trial for trial in trials if not store.has(trial)]
    if missing:
        raise HarnessError(
            f"{store.root}: {len(missing)} of {len(trials)} trials have no record, the first of them "
            f"{prepared.plan.trials[missing[0]].label}; run `{command}` and pack again."
        )
    failed = [trial for trial in trials if store.record(trial).status == "failed"]
    if failed:
        raise HarnessError(
            f"{store.root}: {len(failed)} of {len(trials)} trials failed, the first of them "
            f"{prepared.plan.trials[failed[0]].label}; mend the method and run `{command} --retry-failed`."
        )


def _protocol(prepared: Prepared) -> bytes:
    table = prepared.protocol.model_dump(mode="json")
    return (json.dumps(table, indent=1, sort_keys=True) + "\n").encode()


def source_members(file: Path) -> dict[str, bytes]:
    """Return a method's file and what it imports: member's name to text.

    Raises HarnessError for a file whose name has no place in a submission.
    """
    places = _places(file)
    odd = [path for name, path in places.items() if not has_place(name)]
    if odd:
        raise HarnessError(
            f"{odd[0]}: cannot be packed under this name; rename the file to "
            "letters a to z, digits, '_', '-' and '.'."
        )
    return {name: identity.read(path) for name, path in places.items()}


def _places(file: Path) -> dict[str, Path]:
    return {f"source/{name}": path for name, path in identity.places(file).items()}


def _record(store: Store, trial: str) -> dict[str, bytes]:
    folder, record = store.path(trial), store.record(trial)
    if record.obtained != "run":
        raise HarnessError(f"{folder}: this record came with a submission; only who ran a trial packs it.")
    if provenance.digests(folder) != record.files:
        raise HarnessError(
            f"{folder}: its files changed since the trial ran; delete the folder and run again."
        )
    return {f"records/{trial}/{name}": (folder / name).read_bytes() for name in names.RECORD_FILES}
