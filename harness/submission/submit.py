"""Add a submission's records to a board, marked with how they were obtained."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.running.board import write_protocol
from harness.running.paths import Paths
from harness.running.plan import Plan
from harness.running.prepare import Prepared
from harness.running.scoring import scoring_identity
from harness.store import Obtained, Store, files, formats, names
from harness.submission.agreement import recompute
from harness.submission.archive import Manifest
from harness.submission.findings import Parsed, Report
from harness.submission.yardstick import Yardstick


def submit(manifest: Manifest, report: Report, yardstick: Yardstick, paths: Paths) -> Obtained:
    """Write the records of a report without failures and their cells in the plan; return the mark.

    Written anew from what was parsed: no byte of a stranger's file is copied, the scores are this
    machine's own where it has the cohort, and the method's source is text in its record, nothing more.
    The cells come last: until then the records are on no board, and the same call goes on where one was
    interrupted. Raises HarnessError, before anything is written, where a cell or another record is there.
    """
    if report.failed:
        raise HarnessError(f"The submission failed verification: {report.failed[0].why}.")
    store = Store(paths.runs)
    obtained: Obtained = "reported" if yardstick.cohort is None else "verified"
    _check_board(store, manifest, yardstick)
    todo = {
        trial: parsed
        for trial, parsed in report.parsed.items()
        if not _is_there(store, trial, parsed, yardstick, obtained)
    }
    for trial, parsed in todo.items():
        with files.writing(store.path(trial)) as folder:
            for name, data in _record_files(parsed, yardstick, obtained).items():
                files.put(folder / name, data)
    _add_cells(store, manifest, yardstick, paths)
    return obtained


def _check_board(store: Store, manifest: Manifest, yardstick: Yardstick) -> None:
    key = store.board_key(yardstick.protocol.name, yardstick.digest)
    if key not in store.protocols():  # one of another protocol may have the name: this one gets its own
        return
    there = {row for row in store.protocol(key).plan if row.method == manifest.method}
    # Rows whose records were lost are brought back by the very same submission.
    lost = any(not store.has(row.trial) for row in there)
    if there and not (lost and there == set(manifest.plan)):
        raise HarnessError(
            f"{store.root}: the board has a method '{manifest.method}', and a submission overwrites none; "
            "the submitter may rename the file and run it again."
        )


def _is_there(store: Store, trial: str, parsed: Parsed, yardstick: Yardstick, obtained: Obtained) -> bool:
    """Tell whether an interrupted submission has left this very record; HarnessError for any other."""
    if not store.has(trial):
        return False
    folder = store.path(trial)
    due = _record_files(parsed, yardstick, obtained)
    if any(not (folder / name).is_file() or (folder / name).read_bytes() != due[name] for name in due):
        raise HarnessError(
            f"{folder}: this trial has a record, and a submission overwrites none; "
            "delete that folder first if the submission is to replace it."
        )
    return True


def _record_files(parsed: Parsed, yardstick: Yardstick, obtained: Obtained) -> dict[str, bytes]:
    """Return a record's files, name to bytes; the same submission gives the same bytes."""
    scores = parsed.scores if yardstick.cohort is None else recompute(parsed.labels, yardstick)
    found = {
        names.SCORES: formats.scores_bytes(scores),
        names.PREDICTIONS: formats.arrays_bytes(samples=np.array(yardstick.samples), labels=parsed.labels),
        names.CURVE: formats.curve_bytes(parsed.curve),
        names.LOG: parsed.log.encode(),
    }
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(found.items())}
    update: dict[str, Any] = {"protocol": yardstick.protocol.name, "obtained": obtained, "files": digests}
    if yardstick.cohort is not None:
        update["scoring"] = scoring_identity(yardstick.basis("cpu"))
    return found | {names.RECORD: files.as_json(parsed.record.model_copy(update=update))}


def _add_cells(store: Store, manifest: Manifest, yardstick: Yardstick, paths: Paths) -> None:
    name = yardstick.protocol.name
    tuned = {method: one for method, one in manifest.tuned.items() if method == manifest.method}
    key = store.board_key(name, yardstick.digest)
    if key not in store.protocols():
        if yardstick.cohort is None:
            raise HarnessError(f"{store.root}: there is no board '{name}' to add to.")
        prepared = Prepared(yardstick.protocol, yardstick.cohort, Plan({}, manifest.plan), (), paths, tuned)
        write_protocol(prepared, f"harness run --all --protocol {name}")
        return
    with store.locked(name):
        board = store.protocol(key)
        seeds = sorted({row.seed for row in (*board.plan, *manifest.plan)} | set(board.protocol["seeds"]))
        changed = {
            "plan": tuple(dict.fromkeys(board.plan + manifest.plan)),
            "protocol": board.protocol | {"seeds": seeds},
            "tuned": board.tuned | tuned,
        }
        files.write(store.board_file(key), files.as_json(board.model_copy(update=changed)))
