"""What is done to boards as a whole: set aside, brought back, a row taken off, records that are on none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harness.errors import HarnessError, did_you_mean
from harness.store import ProtocolRecord, Store, Withdrawal, files, formats, names


def archive(store: Store, key: str) -> None:
    """Set a board aside: it is on no site then, and its records stay. Raises HarnessError."""
    _check_there(store, key)
    if store.archived(key).exists():
        raise HarnessError(
            f"{store.archived(key)}: a board was set aside under this name before; "
            "move that folder away first."
        )
    files.move(store.board_folder(key), store.archived(key))


def restore(store: Store, key: str) -> None:
    """Bring back a board that was set aside. Raises HarnessError where its name is taken."""
    if not store.archived(key).is_dir():
        known = store.set_aside()
        raise HarnessError(f"{store.root}: no board '{key}' was set aside.{did_you_mean(key, known)}")
    if store.board_folder(key).exists():
        raise HarnessError(f"{store.root}: there is a board '{key}'; archive it first.")
    files.move(store.archived(key), store.board_folder(key))


def withdraw(store: Store, key: str, method: str, why: str, who: str = "") -> int:
    """Take a method's rows, and its controls', off a board; return how many. The board says that it was done.

    who: in whose name, for the public line. Its records stay. Raises HarnessError for a method that the board
    does not have.
    """
    _check_there(store, key)
    with store.locked(key.partition("@")[0]):
        board = store.protocol(key)
        gone = [row for row in board.plan if method in (row.method, row.control_of)]
        if not gone:
            known = {row.method for row in board.plan if not row.control_of}
            raise HarnessError(
                f"{store.root}: the board '{key}' has no method '{method}'.{did_you_mean(method, known)}"
            )
        when = datetime.now(UTC).isoformat(timespec="seconds")
        told = Withdrawal(method=method, when=when, why=why, who=who)
        changed = board.model_copy(
            update={
                "plan": tuple(row for row in board.plan if row not in gone),
                "tuned": {name: one for name, one in board.tuned.items() if name != method},
                "withdrawn": (*board.withdrawn, told),
            }
        )
        files.write(store.board_file(key), files.as_json(changed))
    return len(gone)


@dataclass(frozen=True)
class Stray:
    """A record that no board has a cell for: of a method, under a protocol's name."""

    trial: str
    method: str
    protocol: str


def on_no_board(store: Store) -> list[Stray]:
    """Return the records that no board has a cell for: copied here from elsewhere, or of older code.

    Where every record is on a board none is read, so that each command can ask.
    """
    used = _on_boards(store)
    stray = [trial for trial in store.ids() if trial not in used]
    if stray:
        # What others start from is in no cell of a control: only now it is worth reading.
        waiting = list(used)
        while waiting:
            origin = _table(store, waiting.pop()).get("started_from")
            if origin is not None and origin not in used:
                used.add(origin)
                waiting.append(origin)
    return [_stray(trial, _table(store, trial)) for trial in stray if trial not in used]


def _on_boards(store: Store) -> set[str]:
    """Return the trials in the cells of the boards, those that were set aside too."""
    used = {row.trial for board in store.boards() for row in board.plan}
    for key in store.set_aside():
        path = store.archived(key) / names.PROTOCOL
        board = store.spared(formats.parse_json, path.read_bytes(), path, ProtocolRecord, "restore it first")
        used |= {row.trial for row in board.plan} if board is not None else set()
    return used


def _table(store: Store, trial: str) -> dict[str, Any]:
    """Return record.json unchecked, which takes a tenth of the time; {} for one that is not to be read."""
    try:
        table = json.loads((store.path(trial) / names.RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def _stray(trial: str, table: dict[str, Any]) -> Stray:
    method = table.get("method")
    name = method.get("name") if isinstance(method, dict) else None
    return Stray(trial, str(name or "damaged"), str(table.get("protocol") or "unknown"))


def said_of(records: Sequence[Stray]) -> str:
    """Return one line of records that are on no board, "" where there are none."""
    if not records:
        return ""
    counts = Counter(f"{one.method} ({one.protocol})" for one in records)
    listed = ", ".join(f"{count} of {name}" for name, count in counts.most_common(3))
    rest = f" and {len(counts) - 3} more methods" if len(counts) > 3 else ""
    plural = "record is" if len(records) == 1 else "records are"
    return (
        f"{len(records)} {plural} on no board here: {listed}{rest}. They were copied here, withdrawn, or "
        "made with other code or values; harness run METHOD puts on the board what its plan asks for."
    )


def without_record(store: Store) -> list[str]:
    """Return a line for each board some of whose cells have no record: not run yet, or lost."""
    here, lines = set(store.ids()), []
    for board in store.boards():
        rows = board.plan
        gone = Counter(row.control_of or row.method for row in rows if row.trial not in here)
        if gone:
            listed = ", ".join(f"{name} ({count})" for name, count in sorted(gone.items())[:5])
            rest = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
            lines.append(
                f"{gone.total()} of {len(rows)} cells of the board '{board.name}' have no record: "
                f"{listed}{rest}. harness run METHOD makes them; those of a submission come back when its "
                "file is submitted again."
            )
    return lines


def _check_there(store: Store, key: str) -> None:
    if key not in store.protocols():
        known = store.protocols()
        raise HarnessError(f"{store.root}: there is no board '{key}'.{did_you_mean(key, known)}")
