"""`harness status` and `harness logs`: what runs where and what it prints, wherever the store is."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import RUNS
from harness.commands.verb import Verb
from harness.errors import HarnessError, plain

if TYPE_CHECKING:
    from harness.running.status import Board, Running, Status
    from harness.store import Store

_AGAIN_SECONDS = 2.0
_FOLLOW_SECONDS = 0.3


@click.command("status", cls=Verb)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for a program.")
@click.option(
    "--watch", is_flag=True, help="Again every two seconds, until nothing runs and nothing is left."
)
@RUNS
def status_command(as_json: bool, watch: bool, runs: Path) -> None:
    """Say what runs where, at which epoch, what failed and why, what is left and when it will be done."""
    if as_json and watch:
        raise HarnessError("--watch is for people and --json for programs; give one of them.")
    from harness.running.status import status
    from harness.store import Store

    while True:
        found = status(Store(runs))
        if as_json:
            click.echo(json.dumps(dataclasses.asdict(found), indent=2))
            return
        if watch and sys.stdout.isatty():
            click.clear()
        for line in _lines(found, runs):
            click.echo(plain(line))
        if not watch or not (found.others or any(board.running or board.left for board in found.boards)):
            return
        time.sleep(_AGAIN_SECONDS)


def _lines(found: Status, runs: Path) -> Iterator[str]:
    for board in found.boards:
        yield _headline(board)
        yield from (f"  {_line(one)}" for one in board.running)
        for one in board.failed:
            yield f"  failed   {one.trial[:8]}  {one.method}: {' '.join(one.error.split())}"
    if found.others:
        yield "On no board:"
        yield from (f"  {_line(one)}" for one in found.others)
    if not found.boards and not found.others:
        yield f"{runs}: nothing was run here yet."


def _headline(board: Board) -> str:
    from harness.commands.trial_card import day

    total = board.done + len(board.failed) + board.damaged + board.left
    counts = {"running": len(board.running), "failed": len(board.failed), "damaged": board.damaged}
    said = [f"{board.done} of {total} done", *(f"{count} {word}" for word, count in counts.items() if count)]
    waiting = max(0, board.left - len(board.running))
    said += [f"{waiting} not begun"] if waiting else []
    line = f"{board.key}: {', '.join(said)}"
    if board.seconds:
        line += f"; {timedelta(seconds=round(board.seconds))} of one machine's time is left"
    if board.until:
        line += f", to {day(board.until)} at this pace"
    if waiting and not board.running:
        line += "; harness run goes on"
    return line + "."


def _line(one: Running) -> str:
    from harness.commands.trial_card import day

    where = f"{one.host}, job {one.job}" if one.job else f"{one.host}, process {one.process}"
    epoch = f"epoch {one.epoch} of {one.epochs}" if one.epochs else "before its first epoch's end"
    loss = "" if one.loss is None else f", loss {one.loss:.4f}"
    word = "running" if one.alive else "silent "
    silent = "" if one.alive else f"; no sign of life for {one.silent:.0f} s, {_what_follows(one)}"
    return (
        f"{word}  {one.trial[:8]}  {one.label}  on {where}  since {day(one.since)}  "
        f"{one.stage} {one.done}/{one.total}, {epoch}{loss}{silent}"
    )


def _what_follows(one: Running) -> str:
    if not one.halted:
        return "the next run takes it over"
    number = one.process
    return (
        f"but its process is there: `kill -CONT {number}` lets it go on, `kill -9 {number}` frees its trial"
    )


@click.command("logs", cls=Verb)
@click.argument("trial")
@click.option("-f", "--follow", is_flag=True, help="Go on as the trial prints, until it ends.")
@RUNS
def logs_command(trial: str, follow: bool, runs: Path) -> None:
    """Print what a trial has printed, while it runs or from its record.

    The first characters of its id are enough.
    """
    from harness.store import Store

    store = Store(runs)
    one = _one(store, trial, runs)
    if not follow or store.has(one):
        click.echo(plain(store.log(one) or _tail(store, one, 0)[0], "\n\t"), nl=False)
        return
    place = 0
    while True:
        # Looked at before reading: what is printed last is in what is read after the end.
        ended = store.has(one)
        said, place = _tail(store, one, place)
        if ended and not said and place == 0:
            said = store.log(one)
        click.echo(plain(said, "\n\t"), nl=False)
        if ended:
            return
        time.sleep(_FOLLOW_SECONDS)


def _tail(store: Store, trial: str, place: int) -> tuple[str, int]:
    """Return what a log under way holds from a place on, and the place where it ends now."""
    from harness.store import names

    path = store.claim(trial).with_name(names.LOG)
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            # It was cut off in its middle: the beginning was printed.
            file.seek(place if place <= size else 0)
            return file.read().decode(errors="replace"), size
    except OSError:
        return "", place


def _one(store: Store, trial: str, runs: Path) -> str:
    work = store.root / "work"
    running = {path.name for path in work.iterdir() if path.name[0] != "."} if work.is_dir() else set()
    known = sorted({*store.ids(), *running})
    matches = [name for name in known if name.startswith(trial)] if trial else []
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise HarnessError(
            f"{runs}: no trial with an id that begins with '{trial}' (harness status, harness list trials)."
        )
    raise HarnessError(
        f"{runs}: {len(matches)} trials with an id that begins with '{trial}': "
        f"{', '.join(name[:12] for name in matches[:5])}; give more of it."
    )
