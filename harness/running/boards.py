"""What is done to boards as a whole: set aside, brought back, a row taken off, records that are on none."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from harness.errors import HarnessError, did_you_mean
from harness.store import Record, Store, Withdrawal, files


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


def withdraw(store: Store, key: str, method: str, why: str) -> int:
    """Take a method's rows, and its controls', off a board; return how many. The board says that it was done.

    Its records stay. Raises HarnessError for a method that the board does not have.
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
        told = Withdrawal(method=method, when=datetime.now(UTC).isoformat(timespec="seconds"), why=why)
        changed = board.model_copy(
            update={
                "plan": tuple(row for row in board.plan if row not in gone),
                "tuned": {name: one for name, one in board.tuned.items() if name != method},
                "withdrawn": (*board.withdrawn, told),
            }
        )
        files.write(store.board_file(key), files.as_json(changed))
    return len(gone)


def on_no_board(store: Store) -> list[Record]:
    """Return the records that no board has a cell for: copied here from elsewhere, or of older code."""
    used = {row.trial for board in store.boards() for row in board.plan}
    records, waiting = {record.id: record for record in store.records()}, list(used)
    while waiting:
        trial = waiting.pop()
        origin = records[trial].started_from if trial in records else None
        if origin is not None and origin not in used:
            used.add(origin)
            waiting.append(origin)
    return [record for trial, record in records.items() if trial not in used]


def said_of(records: list[Record]) -> str:
    """Return one line of records that are on no board, "" where there are none."""
    if not records:
        return ""
    counts = Counter(f"{record.method.name} ({record.protocol})" for record in records)
    listed = ", ".join(f"{count} of {name}" for name, count in counts.most_common(3))
    rest = f" and {len(counts) - 3} more methods" if len(counts) > 3 else ""
    plural = "record is" if len(records) == 1 else "records are"
    return (
        f"{len(records)} {plural} on no board here: {listed}{rest}. They were copied here, withdrawn, or "
        "made with other code or values; harness run METHOD puts on the board what its plan asks for."
    )


def _check_there(store: Store, key: str) -> None:
    if key not in store.protocols():
        known = store.protocols()
        raise HarnessError(f"{store.root}: there is no board '{key}'.{did_you_mean(key, known)}")
