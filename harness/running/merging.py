"""Bring the records and boards of another folder here: what two machines or two people ran."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError
from harness.store import Damaged, ProtocolRecord, Store, files, names


@dataclass
class Merged:
    """What became of a merge; a conflict is what is another here, and nothing of it was changed.

    added: records that came; already: those that were here to the byte; twice: those that were run at both
    places with the same predictions, of which the one here stays; boards: those that came or grew.
    """

    added: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    boards: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


def merge(store: Store, other: Store) -> Merged:
    """Bring what another store has; nothing that is here is overwritten. Raises HarnessError.

    Records come first and boards last: interrupted, the same call goes on, and no board names what is not
    there. A trial that failed here and is done there is a conflict too: which one counts is for a person.
    """
    if store.root.resolve() == other.root.resolve():
        raise HarnessError(f"{other.root}: is --runs itself; give the folder of another machine or person.")
    trials, boards = other.ids(), other.protocols()
    if not trials and not boards:
        raise HarnessError(
            f"{other.root}: has no records and no boards; give a folder that harness run wrote."
        )
    found = Merged()
    for trial in trials:
        _record(store, other, trial, found)
    for key in boards:
        _board(store, other, key, found)
    return found


def _record(store: Store, other: Store, trial: str, found: Merged) -> None:
    try:
        members = _members(other, trial)
    except Damaged as error:
        found.conflicts.append(f"{trial}: {error}")
        return
    if not store.has(trial):
        _weights(store, other, trial, found)
        with files.writing(store.path(trial)) as folder:
            for name, data in members.items():
                files.put(folder / name, data)
        found.added.append(trial)
        return
    here = {path.name: path.read_bytes() for path in store.path(trial).iterdir() if path.is_file()}
    if here == members:
        found.already.append(trial)
    elif here.get(names.PREDICTIONS) == members.get(names.PREDICTIONS) and names.PREDICTIONS in here:
        found.twice.append(trial)
    else:
        states = f"{store.status(trial)} here, {other.status(trial)} there"
        found.conflicts.append(
            f"{trial}: {states}, with other predictions; look at {store.path(trial)} and "
            f"{other.path(trial)}, and remove the one that is wrong."
        )


def _members(store: Store, trial: str) -> dict[str, bytes]:
    """Return a record's files, each the one that its record.json hashes. Raises Damaged."""
    record = store.record(trial)
    found = {path.name: path.read_bytes() for path in store.path(trial).iterdir() if path.is_file()}
    for name, digest in record.files.items():
        if name not in found or hashlib.sha256(found[name]).hexdigest() != digest:
            raise Damaged(f"{store.path(trial) / name}: is not the file that its record.json hashes.")
    return {name: data for name, data in found.items() if name in names.RECORD_FILES}


def _weights(store: Store, other: Store, trial: str, found: Merged) -> None:
    """Bring the weights that other methods may start from."""
    theirs, ours = other.weights(trial), store.weights(trial)
    if not theirs.is_file():
        return
    if ours.is_file():
        if ours.read_bytes() != theirs.read_bytes():
            found.conflicts.append(f"{trial}: {ours} holds other weights than {theirs}; remove one of them.")
        return
    files.make(ours.parent)
    files.write(ours, theirs.read_bytes())


def _board(store: Store, other: Store, key: str, found: Merged) -> None:
    try:
        theirs = other.protocol(key)
    except Damaged as error:
        found.conflicts.append(f"board {key}: {error}")
        return
    name = key.partition("@")[0]
    with store.locked(name):
        own = store.board_key(name, theirs.digest)
        if own not in store.protocols():
            _copy_board(store, other.board_folder(key), theirs.model_copy(update={"name": own}), own)
            found.boards.append(own)
            return
        ours = store.spared(store.protocol, own)
        if ours is None:
            found.conflicts.append(f"board {own}: cannot be read here; harness run writes it anew.")
            return
        changed = _together(ours, theirs, found)
        if changed != ours:
            files.write(store.board_file(own), files.as_json(changed))
            found.boards.append(own)


def _copy_board(store: Store, folder: Path, record: ProtocolRecord, key: str) -> None:
    with files.writing(store.board_folder(key)) as aside:
        for path in folder.iterdir():
            if path.is_file() and path.name != names.PROTOCOL:
                files.put(aside / path.name, path.read_bytes())
        files.write_json(aside / names.PROTOCOL, record)


def _together(ours: ProtocolRecord, theirs: ProtocolRecord, found: Merged) -> ProtocolRecord:
    """Return our board with the cells that it has not; what differs is named, and ours stays."""
    cells = {row.cell: row for row in ours.plan}
    for row in theirs.plan:
        if cells.setdefault(row.cell, row).trial != row.trial:
            method, attribute, seed, _ = row.cell
            found.conflicts.append(
                f"board {ours.name}: {method} under {attribute}, seed {seed} is {cells[row.cell].trial} here "
                f"and {row.trial} there; rename one of the methods, or withdraw it."
            )
    found.conflicts += list(_otherwise(ours, theirs))
    seeds = sorted({row.seed for row in cells.values()} | set(ours.protocol["seeds"]))
    return ours.model_copy(
        update={
            "plan": tuple(cells.values()),
            "protocol": ours.protocol | {"seeds": seeds},
            "tuned": dict(theirs.tuned) | dict(ours.tuned),
            "arrivals": dict(theirs.arrivals) | dict(ours.arrivals),
            "withdrawn": tuple(dict.fromkeys((*ours.withdrawn, *theirs.withdrawn))),
        }
    )


def _otherwise(ours: ProtocolRecord, theirs: ProtocolRecord) -> Iterator[str]:
    for method in ours.tuned.keys() & theirs.tuned.keys():
        if ours.tuned[method] != theirs.tuned[method]:
            yield f"board {ours.name}: '{method}' was tuned otherwise there; rows of both would be averaged."
    both = {row.method for row in ours.plan} & {row.method for row in theirs.plan}
    for method in both & (ours.tuned.keys() ^ theirs.tuned.keys()):
        yield f"board {ours.name}: '{method}' was tuned at one place and not at the other."
