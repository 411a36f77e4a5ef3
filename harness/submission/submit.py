"""Add a submission's records to a board, marked with how they were obtained."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.plugin import naming
from harness.running.board import write_protocol
from harness.running.paths import Paths
from harness.running.plan import Plan
from harness.running.prepare import Prepared
from harness.running.scoring import scoring_identity
from harness.store import (
    Arrival,
    Obtained,
    PlanRow,
    ProtocolRecord,
    Store,
    Withdrawal,
    files,
    formats,
    names,
)
from harness.submission.agreement import recompute
from harness.submission.archive import Manifest, manifest_bytes
from harness.submission.findings import Parsed, Report
from harness.submission.yardstick import Yardstick


@dataclass(frozen=True)
class Signed:
    """Who stands behind a submission.

    key: fingerprint of the key that signed the file, "" for none; corrects: why this submission takes the
    place of an earlier one of the same name, "" where it does not; who: the name in the public line of a
    correction.
    """

    key: str = ""
    corrects: str = ""
    who: str = ""


def submit(
    manifest: Manifest,
    report: Report,
    yardstick: Yardstick,
    paths: Paths,
    by: Signed = Signed(),
    predictions_only: bool = False,
) -> Obtained:
    """Write the records of a report without failures and their cells in the plan; return the mark.

    Written anew from what was parsed: no byte of a stranger's file is copied, the scores are this
    machine's own where it has the cohort, and the method's source is text in its record, nothing more.
    On the board the method stands under its submitter's namespace, so that no name of a stranger's is that of
    a method here. The cells come last: until then the records are on no board, and the same call goes on
    where one was interrupted. Raises HarnessError, before anything is written, where a cell or another record
    is there, where its name or title reads like another row's, or where the namespace belongs to another key.
    """
    if report.failed:
        raise HarnessError(f"The submission failed verification: {report.failed[0].why}.")
    store = Store(paths.runs)
    scored: Obtained = "predictions" if predictions_only else "verified"
    obtained: Obtained = "reported" if yardstick.cohort is None else scored
    _check_board(store, manifest, yardstick, by)
    _check_alike(store, manifest, report, yardstick)
    todo = {
        trial: parsed
        for trial, parsed in report.parsed.items()
        if not _is_there(store, trial, parsed, manifest, yardstick, obtained)
    }
    for trial, parsed in todo.items():
        with files.writing(store.path(trial)) as folder:
            for name, data in _record_files(parsed, manifest, yardstick, obtained).items():
                files.put(folder / name, data)
    _add_cells(store, manifest, yardstick, paths, by)
    return obtained


def name_of(manifest: Manifest) -> str:
    """Return what a submission's method is called on a board."""
    return naming.shown(manifest.namespace, manifest.method)


def rows_of(manifest: Manifest) -> tuple[PlanRow, ...]:
    """Return the cells of a submission as they stand on a board."""
    return tuple(row.model_copy(update={"method": name_of(manifest)}) for row in manifest.plan)


def duplicates(store: Store, manifest: Manifest, report: Report, yardstick: Yardstick) -> list[str]:
    """Return a sentence for each other row of the store with the same predictions, or the same source.

    It is no fault by itself: two honest methods may end in the same predictions, a copy does.
    """
    own = name_of(manifest)
    sources = {parsed.record.method.source_digest for parsed in report.parsed.values()}
    made = {_predictions_digest(parsed, yardstick) for parsed in report.parsed.values()}
    said: dict[str, None] = {}
    for record in store.each_record():
        if record.status != "done" or record.method.name == own:
            continue
        if record.method.source_digest and record.method.source_digest in sources:
            said[f"its source is that of '{record.method.name}'"] = None
        if record.files.get(names.PREDICTIONS) in made:
            said[f"predictions of it are those of '{record.method.name}' to the bit"] = None
    return list(said)


def _predictions_digest(parsed: Parsed, yardstick: Yardstick) -> str:
    """Return the digest that the predictions' file has in a record of this harness."""
    return hashlib.sha256(_predictions(parsed, yardstick)).hexdigest()


def _predictions(parsed: Parsed, yardstick: Yardstick) -> bytes:
    return formats.arrays_bytes(samples=np.array(yardstick.samples), labels=parsed.labels)


def _check_alike(store: Store, manifest: Manifest, report: Report, yardstick: Yardstick) -> None:
    """Raise HarnessError where a reader would take the submission for another row of the board."""
    key = store.board_key(yardstick.protocol.name, yardstick.digest)
    if key not in store.protocols():
        return
    own = name_of(manifest)
    others = {row.method: row.trial for row in store.protocol(key).plan if row.method != own}
    if other := naming.like(own, others):
        raise HarnessError(f"The name '{own}' reads like '{other}' on this board; rename the file.")
    info = next(iter(report.parsed.values())).record.method
    found = {name: store.spared(store.record, trial) for name, trial in others.items() if store.has(trial)}
    titles = {
        name: one.method.title
        for name, one in found.items()
        if one is not None and (not info.source_digest or one.method.source_digest != info.source_digest)
    }
    try:
        naming.check_title(info.title, titles)
    except HarnessError as error:
        raise HarnessError(f"{own}: {error}") from None


def _check_board(store: Store, manifest: Manifest, yardstick: Yardstick, by: Signed) -> None:
    key = store.board_key(yardstick.protocol.name, yardstick.digest)
    if key not in store.protocols():  # one of another protocol may have the name: this one gets its own
        return
    board, shown = store.protocol(key), name_of(manifest)
    _check_key(store, board, manifest, by.key)
    there = {row for row in board.plan if row.method == shown}
    if by.corrects:
        if not there:
            raise HarnessError(f"{store.root}: the board has no method '{shown}' to correct.")
        return
    # Rows whose records were lost are brought back by the very same submission.
    lost = any(not store.has(row.trial) for row in there)
    if there and not (lost and there == set(rows_of(manifest))):
        raise HarnessError(
            f"{store.root}: the board has a method '{shown}', and a submission overwrites none; "
            "the submitter may rename the file and run it again, or correct it with --corrects WHY."
        )


def _check_key(store: Store, board: ProtocolRecord, manifest: Manifest, key: str) -> None:
    """Raise HarnessError where the namespace's earlier rows were signed by another key.

    That of all who name none is nobody's: one who signed there would shut out the others.
    """
    if manifest.namespace == naming.GUEST:
        return
    for method, arrival in board.arrivals.items():
        if method.partition(".")[0] == manifest.namespace and arrival.key and arrival.key != key:
            raise HarnessError(
                f"{store.root}: the namespace '{manifest.namespace}' belongs to the key {arrival.key}, which "
                "did not sign this submission; sign it with that key, or pack it under another --namespace."
            )


def _is_there(
    store: Store, trial: str, parsed: Parsed, manifest: Manifest, yardstick: Yardstick, obtained: Obtained
) -> bool:
    """Tell whether an interrupted submission has left this very record; HarnessError for any other."""
    if not store.has(trial):
        return False
    folder = store.path(trial)
    due = _record_files(parsed, manifest, yardstick, obtained)
    if any(not (folder / name).is_file() or (folder / name).read_bytes() != due[name] for name in due):
        raise HarnessError(
            f"{folder}: this trial has a record, and a submission overwrites none; "
            "delete that folder first if the submission is to replace it."
        )
    return True


def _record_files(
    parsed: Parsed, manifest: Manifest, yardstick: Yardstick, obtained: Obtained
) -> dict[str, bytes]:
    """Return a record's files, name to bytes; the same submission gives the same bytes."""
    scores = parsed.scores if yardstick.cohort is None else recompute(parsed.labels, yardstick)
    found = {
        names.SCORES: formats.scores_bytes(scores),
        names.PREDICTIONS: _predictions(parsed, yardstick),
        names.CURVE: formats.curve_bytes(parsed.curve),
        names.LOG: parsed.log.encode(),
    }
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(found.items())}
    update: dict[str, Any] = {"protocol": yardstick.protocol.name, "obtained": obtained, "files": digests}
    update["method"] = parsed.record.method.model_copy(update={"name": name_of(manifest)})
    if yardstick.cohort is not None:
        update["scoring"] = scoring_identity(yardstick.basis("cpu"))
    return found | {names.RECORD: files.as_json(parsed.record.model_copy(update=update))}


def _add_cells(store: Store, manifest: Manifest, yardstick: Yardstick, paths: Paths, by: Signed) -> None:
    name, shown, rows = yardstick.protocol.name, name_of(manifest), rows_of(manifest)
    chosen = manifest.tuned.get(manifest.method)
    tuned = {} if chosen is None else {shown: chosen}
    key = store.board_key(name, yardstick.digest)
    if key not in store.protocols():
        if yardstick.cohort is None:
            raise HarnessError(f"{store.root}: there is no board '{name}' to add to.")
        # Without a cell, so that what came with the first submission is written as with every other.
        prepared = Prepared(yardstick.protocol, yardstick.cohort, Plan({}, ()), (), paths, {})
        write_protocol(prepared, f"harness run --all --protocol {name}")
    with store.locked(name):
        board = store.protocol(key)
        seeds = sorted({row.seed for row in (*board.plan, *rows)} | set(board.protocol["seeds"]))
        old = () if not by.corrects else tuple(row for row in board.plan if row.method == shown)
        kept = tuple(row for row in board.plan if row not in old)
        told = (_correction(shown, by),) if by.corrects else ()
        changed = {
            "plan": tuple(dict.fromkeys(kept + rows)),
            "protocol": board.protocol | {"seeds": seeds},
            "tuned": {method: one for method, one in board.tuned.items() if method != shown} | tuned,
            "arrivals": board.arrivals | {shown: _arrival(board, shown, manifest, by.key)},
            "withdrawn": (*board.withdrawn, *told),
        }
        files.write(store.board_file(key), files.as_json(board.model_copy(update=changed)))


def _correction(shown: str, by: Signed) -> Withdrawal:
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return Withdrawal(method=shown, when=when, why=by.corrects, who=by.who or by.key, what="corrected")


def _arrival(board: ProtocolRecord, shown: str, manifest: Manifest, key: str) -> Arrival:
    """Return where a row comes from; the day is that of its first submission, whatever came since."""
    before = board.arrivals.get(shown)
    when = before.when if before is not None else datetime.now(UTC).date().isoformat()
    digest = hashlib.sha256(manifest_bytes(manifest)).hexdigest()
    return Arrival(when=when, digest=digest, key=key)
