"""What runs where, what ended how, what is left and when it will be done: read from the store alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from harness.store import ProtocolRecord, Store, claims, names

_HEAD = 1_000
"""Bytes of a record.json in which its status stands."""

_SAMPLED = 200
"""Records that are read whole to tell how long a trial takes."""

_SILENT = 3.0
"""Times the seconds between two signs of life after which a claim looks forsaken."""


@dataclass(frozen=True)
class Running:
    """A trial that some process has claimed.

    host, job: where; since: UTC; silent: seconds without a sign of life, by the store's own clock; loss: of
    the last epoch that ended, None before the first; epochs: 0 where it is not known yet; halted: silent,
    though its process is there, on this machine: no run takes its trial over.
    """

    trial: str
    label: str
    protocol: str
    host: str
    process: int
    job: str
    since: str
    stage: str
    done: int
    total: int
    epoch: int
    epochs: int
    loss: float | None
    silent: float
    alive: bool
    halted: bool


@dataclass(frozen=True)
class Failed:
    """A trial that left a record of its failure, and why."""

    trial: str
    method: str
    error: str


@dataclass(frozen=True)
class Board:
    """How far a board is: its trials by how they ended, those that failed, and how long the rest may take.

    seconds: of machine time that is left, by the mean of what is done, None where nothing is; until: UTC, if
    as many trials run at a time from here on as do now; None where nothing runs.
    """

    key: str
    done: int
    failed: tuple[Failed, ...]
    damaged: int
    running: tuple[Running, ...]
    left: int
    seconds: float | None
    until: str | None


@dataclass(frozen=True)
class Status:
    """The boards of a store, and what runs that is on none of them."""

    boards: tuple[Board, ...]
    others: tuple[Running, ...]


def status(store: Store) -> Status:
    """Return how far the boards of a store are; nothing is changed but for a file that tells the time."""
    running = {one.trial: one for one in under_way(store)}
    found = [_board(store, board, running) for board in store.boards()]
    placed = {one.trial for board in found for one in board.running}
    return Status(tuple(found), tuple(one for one in running.values() if one.trial not in placed))


def under_way(store: Store) -> list[Running]:
    """Return the trials that are claimed, those first that began first."""
    folder = store.root / "work"
    if not folder.is_dir():
        return []
    now = claims.now(folder)
    found = [_running(store, path.name, now) for path in folder.iterdir() if not path.name.startswith(".")]
    return sorted((one for one in found if one is not None), key=lambda one: (one.since, one.trial))


def ended(store: Store, trials: Iterable[str]) -> dict[str, str]:
    """Return the trials that have a record, and how each ended: done, failed or damaged.

    Only the beginning of each record.json is read: ten thousand take half a second.
    """
    # Each is asked for by its name: listing the folder for every board costs the square of what is there.
    found = ((trial, _status(store, trial)) for trial in trials)
    return {trial: word for trial, word in found if word is not None}


def _status(store: Store, trial: str) -> str | None:
    try:
        with open(store.path(trial) / names.RECORD, "rb", buffering=0) as file:
            head = file.read(_HEAD)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return "damaged"
    for word in ("done", "failed"):
        if b'"status": "%s"' % word.encode() in head:
            return word
    return "damaged"


def _board(store: Store, board: ProtocolRecord, running: dict[str, Running]) -> Board:
    methods = {row.trial: row.method for row in board.plan}
    how = ended(store, methods)
    counts = Counter(how.values())
    own = [running[trial] for trial in methods if trial in running and how.get(trial) != "done"]
    left = len(methods) - counts["done"] - counts["failed"] - counts["damaged"]
    seconds = _left(store, methods, how)
    failed = [_failed(store, trial, methods[trial]) for trial in methods if how.get(trial) == "failed"]
    return Board(
        key=board.name,
        done=counts["done"],
        failed=tuple(failed),
        damaged=counts["damaged"],
        running=tuple(own),
        left=left,
        seconds=seconds,
        until=_until(seconds, sum(one.alive for one in own)),
    )


def _left(store: Store, methods: dict[str, str], how: dict[str, str]) -> float | None:
    """Return the seconds of machine time that are left, by the means of the methods' trials that are done."""
    done = [trial for trial, word in how.items() if word == "done"]
    took: dict[str, list[float]] = {}
    for trial in done[:: max(1, len(done) // _SAMPLED)]:
        cost = _table(store.path(trial) / names.RECORD).get("cost") or {}
        seconds = sum(float(cost.get(f"{part}_seconds") or 0.0) for part in ("fit", "predict", "score"))
        took.setdefault(methods[trial], []).append(seconds)
    if not took:
        return None
    mean = fmean(one for some in took.values() for one in some)
    means = {method: fmean(some) for method, some in took.items()}
    return sum(means.get(method, mean) for trial, method in methods.items() if trial not in how)


def _until(seconds: float | None, at_once: int) -> str | None:
    if seconds is None or not at_once:
        return None
    return datetime.fromtimestamp(time.time() + seconds / at_once, UTC).isoformat(timespec="seconds")


def _failed(store: Store, trial: str, method: str) -> Failed:
    return Failed(trial, method, str(_table(store.path(trial) / names.RECORD).get("error") or ""))


def _running(store: Store, trial: str, now: float) -> Running | None:
    found = claims.last(store.claim(trial))
    if found is None:
        return None
    holder, touched = found
    silent = max(0.0, now - touched)
    dead = claims.is_known_dead(store.claim(trial))
    alive = silent < _SILENT * holder.lease / claims.BEATS and not dead
    progress, epochs = _table(store.progress(trial)), _table(store.progress(trial).with_name(names.EPOCHS))
    losses = epochs.get("losses") or []
    return Running(
        trial=trial,
        label=str(holder.about.get("label") or trial[:8]),
        protocol=str(holder.about.get("protocol") or ""),
        host=holder.host,
        process=holder.process,
        job=str(holder.about.get("job") or ""),
        since=holder.since,
        stage=str(progress.get("stage") or "starting"),
        done=_whole(progress.get("done")),
        total=_whole(progress.get("total")),
        epoch=_whole(epochs.get("epoch")),
        epochs=_whole(epochs.get("epochs")),
        loss=float(losses[-1][1]) if losses else None,
        silent=silent,
        alive=alive,
        halted=not alive and not dead and holder.machine == claims.machine(),
    )


def _table(path: Path) -> dict[str, Any]:
    """Return a file's JSON table unchecked; {} where it is not there or is none."""
    try:
        table = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
