"""The protocol's own record: what a board's cells are, on which cohort, made by which command."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError
from harness.identity import trial_id
from harness.protocol import Protocol
from harness.running import scoring
from harness.running.plan import Plan
from harness.running.prepare import Prepared
from harness.running.why import changes, keep_parts
from harness.store import BrokenPlugin, PlanRow, ProtocolRecord, Store, Tuned, files, formats, names

_LABELS = ("name", "title", "description", "seeds", "claims")
"""Keys of a protocol under which two are still one board."""


def write_protocol(prepared: Prepared, command: str) -> None:
    """Write the record of the protocol's board; cells of methods that are not in this plan stay.

    A board of another protocol under the same name is left as it is: this one gets a key of its own.
    """
    if prepared.basis is not None:
        keep_parts(prepared.store, prepared.basis, prepared.plan)
    with prepared.store.locked(prepared.protocol.name):
        _write_protocol(prepared, command)


@dataclass(frozen=True)
class Change:
    """What a run is about to do to the boards that are here.

    key: of the board that it writes; others: key of each other board under its protocol's name, to what
    this run's protocol has otherwise; replaced: method to why its cells leave the board; outdated: method
    to how many of its cells had a score, will have none of it, and are not to run now.
    """

    key: str
    others: Mapping[str, str]
    replaced: Mapping[str, str]
    outdated: Mapping[str, int] = field(default_factory=dict)


def change(prepared: Prepared) -> Change:
    """Say what writing the board would change, before anything is written.

    Raises HarnessError where a cell would take the place of a submitted one: that is never a run's to do.
    """
    store, name = prepared.store, prepared.protocol.name
    key = store.board_key(name, protocol_digest(prepared.protocol, prepared.cohort))
    boards = {one: board for one in store.boards_of(name) if (board := store.spared(store.protocol, one))}
    others = {other: difference(board, prepared) for other, board in boards.items() if other != key}
    old = boards.get(key)
    if old is None:
        return Change(key, others, {})
    _check_submitted(store, old, prepared)
    rows, _ = _merged(old, prepared)
    kept = rows[: len(rows) - len(prepared.plan.rows)]
    cells = {row.cell for row in rows}
    gone = [row for row in old.plan if row.cell not in cells]
    replaced = {row.method: _why_gone(row, old, prepared) for row in gone}
    return Change(key, others, replaced, _outdated(store, old, kept))


def _outdated(store: Store, old: ProtocolRecord, kept: Iterable[PlanRow]) -> dict[str, int]:
    """Count, by method, cells that have a score and will wait for a trial that this run does not make."""
    before = {row.cell: row.trial for row in old.plan}
    moved = [row for row in kept if before[row.cell] != row.trial]
    return dict(
        Counter(
            row.method for row in moved if store.is_done(before[row.cell]) and not store.is_done(row.trial)
        )
    )


def difference(board: ProtocolRecord, prepared: Prepared) -> str:
    """Say in what a board's protocol and that of a run differ: `recipe.epochs 4 -> 1`."""
    told = list(changes(_fixed_of(board.protocol), _fixed_of(prepared.protocol.model_dump(mode="json"))))
    if board.cohort.get("digest") != prepared.cohort.digest:
        told.append("the cohort is another")
    elif {name: tuple(groups) for name, groups in board.groups.items()} != prepared.cohort.groups:
        told.append("the groups are others")
    return "; ".join(told[:3]) + (f"; and {len(told) - 3} more" if len(told) > 3 else "")


def _fixed_of(protocol: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in protocol.items() if key not in _LABELS}


def _check_submitted(store: Store, board: ProtocolRecord, prepared: Prepared) -> None:
    own = {row.cell: row.trial for row in prepared.plan.rows}
    for row in board.plan:
        trial = own.get(row.cell)
        if trial not in (None, row.trial) and store.has(row.trial):
            record = store.spared(store.record, row.trial)
            if record is not None and record.obtained != "run":
                raise HarnessError(
                    f"{store.root}: the board '{board.name}' has a submitted method '{row.method}', and a "
                    "run replaces none; rename your file, or take that row off with "
                    f"`harness withdraw {row.method} --board {board.name}`."
                )


def _why_gone(row: PlanRow, old: ProtocolRecord, prepared: Prepared) -> str:
    method = row.control_of or row.method
    if old.tuned.get(method) != prepared.tuned.get(method):
        before, now = ("tuned" if method in one else "not tuned" for one in (old.tuned, prepared.tuned))
        values = "with other values" if before == now else f"and is {now} now"
        return f"it was {before} {values}: rows of both would be averaged"
    return "its method's code is another, and this run makes no controls (--controls)"


def _write_protocol(prepared: Prepared, command: str) -> None:
    store, protocol, cohort = prepared.store, prepared.protocol, prepared.cohort
    digest = protocol_digest(protocol, cohort)
    key = store.board_key(protocol.name, digest)
    old = store.spared(store.protocol, key) if key in store.protocols() else None
    rows, tuned = prepared.plan.rows, dict(prepared.tuned)
    if old is not None:
        rows, tuned = _merged(old, prepared)
    seeds = sorted({row.seed for row in rows} | set(protocol.seeds))
    record = ProtocolRecord(
        name=key,
        digest=digest,
        protocol=protocol.model_dump(mode="json") | {"seeds": seeds, "title": _title(key, prepared)},
        cohort={
            "title": cohort.title,
            "licence": cohort.licence,
            "citation": cohort.citation,
            "digest": cohort.digest,
            "publish_images": cohort.publish_images,
            "n_samples": len(cohort.subjects),
            "n_patients": int(cohort.subjects["patient"].nunique()),
        }
        | ({} if cohort.spacing is None else {"distances": "mm"}),
        groups=cohort.groups,
        command=command,
        plan=rows,
        broken=tuple(
            BrokenPlugin(name=b.plugin.name, file=b.plugin.file.name, error=b.error) for b in prepared.broken
        ),
        tuned=tuned,
        withdrawn=() if old is None else old.withdrawn,
        arrivals={} if old is None else old.arrivals,
    )
    unread = store.board_file(key, names.PROTOCOL if old is None else names.DAMAGED_PROTOCOL)
    with files.writing(store.board_folder(key)) as folder:
        files.write_json(folder / names.PROTOCOL, record)
        files.put(folder / names.SUBJECTS, formats.frame_bytes(scoring.subjects(protocol, cohort)))
        files.put(folder / names.SIZES, formats.frame_bytes(scoring.sizes(protocol, cohort)))
        # A picture is of one sample, and these scores are of several.
        if cohort.publish_images and protocol.scoring.unit == "sample":
            files.put(folder / names.CASES, _cases(cohort))
        if unread.is_file():  # it names what others ran or submitted: a person may yet find them there
            files.put(folder / names.DAMAGED_PROTOCOL, unread.read_bytes())


def _title(key: str, prepared: Prepared) -> str:
    """Return a board's title, with what sets it apart from one of its name: `Quick (3f2a: epochs 1)`."""
    name, _, digest = key.partition("@")
    if not digest:
        return prepared.protocol.title
    store = prepared.store
    first = store.spared(store.protocol, name) if name in store.protocols() else None
    apart = "" if first is None else difference(first, prepared)
    told = "; ".join(
        part.split(" -> ")[-1] if " -> " not in part else _now(part) for part in apart.split("; ")
    )
    return f"{prepared.protocol.title} ({digest[:4]}{': ' + told if told else ''})"


def _now(change: str) -> str:
    """Return `epochs 1` of `recipe.epochs 4 -> 1`."""
    key, _, value = change.partition(" ")
    return f"{key.rpartition('.')[2]} {value.rpartition(' -> ')[2]}"


def protocol_digest(protocol: Protocol, cohort: Cohort) -> str:
    """Return the SHA-256 over all that makes two boards one: what is fixed but for names and seeds."""
    fixed = protocol.model_dump(mode="json", exclude=set(_LABELS))
    text = json.dumps([fixed, cohort.digest, cohort.groups], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _merged(old: ProtocolRecord, prepared: Prepared) -> tuple[tuple[PlanRow, ...], dict[str, Tuned]]:
    """Return the plan's rows and tunings with those that are already there of other cells.

    Cells of a method that was tuned otherwise, or not at all, go: they would be averaged with these. Those
    that were made with other code become what is to run now; controls that are not in this plan go then.
    """
    rows, tuned = prepared.plan.rows, dict(prepared.tuned)
    fresh = {row.cell for row in rows}
    again = {row.control_of or row.method for row in rows}
    retuned = {method for method in again if old.tuned.get(method) != tuned.get(method)}
    now = [_as_of_now(row, prepared.whole or prepared.plan) for row in old.plan]
    recoded = {row.method for row, one in zip(old.plan, now, strict=True) if one not in (None, row)}
    kept = tuple(
        one or row
        for row, one in zip(old.plan, now, strict=True)
        if row.cell not in fresh
        and (row.control_of or row.method) not in retuned
        and not (one is None and row.control_of in recoded)
    )
    return kept + rows, {method: one for method, one in old.tuned.items() if method not in again} | tuned


def _as_of_now(row: PlanRow, current: Plan) -> PlanRow | None:
    """Return a cell as the plan would fill it under the cell's seed; None for what is not in the plan."""
    if any(one.fold for one in current.rows):
        # Each seed deals the patients anew, so that the plan knows nothing of a seed that it has not.
        return next((one for one in current.rows if one.cell == row.cell), None)
    for one in current.rows:
        same = (one.method, one.attribute) == (row.method, row.attribute)
        if same and one.trial in current.trials:  # a submission's trials are on the board alone
            return row.model_copy(update={"trial": _reseeded(one.trial, row.seed, current)})
    return None


def _reseeded(trial: str, seed: int, current: Plan) -> str:
    """Return the id that a trial of the plan has under another seed."""
    identity = current.trials[trial].identity
    origin = identity["starts_from"]
    before = None if origin is None else _reseeded(origin, seed, current)
    return trial_id(identity | {"seed": seed, "starts_from": before})


def _cases(cohort: Cohort) -> bytes:
    rows = cohort.rows("test")
    samples = cohort.subjects["sample"].to_numpy()[rows].astype(str)
    images, masks = np.asarray(cohort.images[rows]), np.asarray(cohort.masks[rows])
    return formats.arrays_bytes(samples=samples, images=images, masks=masks)
