"""`harness board` and `harness withdraw`: the boards of a folder of records, and rows that leave them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.as_json import JSON
from harness.commands.as_json import echo as echo_json
from harness.commands.options import PROTOCOL, RUNS
from harness.commands.verb import Verb, Verbs
from harness.errors import plain

if TYPE_CHECKING:
    from harness.store import ProtocolRecord, Store


@click.group("board", cls=Verbs)
def board_group() -> None:
    """The boards of a folder of records: see them, set one aside, bring it back; take submissions."""


@board_group.command("list", cls=Verb)
@JSON
@RUNS
def board_list(as_json: bool, runs: Path) -> None:
    """List the boards, those that were set aside, and how many records are on none."""
    from harness.running.boards import on_no_board, said_of
    from harness.store import Store

    store = Store(runs)
    if as_json:
        echo_json(_listed(store))
        return
    if not store.protocols() and not store.set_aside():
        click.echo(f"{runs}: there is no board yet; `harness run` makes one.")
    for board in store.boards():
        key = board.name
        methods = len({row.method for row in board.plan if not row.control_of})
        done = _done(store, board)
        title = plain(str(board.protocol["title"]))
        click.echo(f"{key:24} {methods:3} methods, {done:4} records  {title}")
        for one in board.withdrawn:
            by = f" by {one.who}" if one.who else ""
            click.echo(plain(f"{'':24} {one.what} {one.when[:10]}{by}: {one.method}: {one.why}"))
    for key in store.set_aside():
        click.echo(f"{key:24} set aside (harness board restore {key})")
    if said := said_of(on_no_board(store)):
        click.echo(said)


def _done(store: Store, board: ProtocolRecord) -> int:
    return sum(store.has(trial) for trial in {row.trial for row in board.plan})


def _listed(store: Store) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "key": board.name,
            "title": board.protocol["title"],
            "methods": sorted({row.method for row in board.plan if not row.control_of}),
            "records": _done(store, board),
            "cells": len(board.plan),
            "withdrawn": [one.model_dump() for one in board.withdrawn],
            "set_aside": False,
        }
        for board in store.boards()
    ]
    return rows + [{"key": key, "set_aside": True} for key in store.set_aside()]


@board_group.command("archive", cls=Verb, interrupted="harness board list says whether it was set aside")
@click.argument("key")
@RUNS
def board_archive(key: str, runs: Path) -> None:
    """Set the board KEY aside: it leaves the site, its records stay."""
    from harness.running.boards import archive
    from harness.store import Store

    archive(Store(runs), key)
    click.echo(f"Set the board '{key}' aside; its records stay (harness board restore {key} brings it back).")


@board_group.command("restore", cls=Verb, interrupted="harness board list says whether it is back")
@click.argument("key")
@RUNS
def board_restore(key: str, runs: Path) -> None:
    """Bring the board KEY back."""
    from harness.running.boards import restore
    from harness.store import Store

    restore(Store(runs), key)
    click.echo(f"The board '{key}' is back.")


@board_group.command("init", cls=Verb)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@PROTOCOL
def board_init(folder: Path, protocol: str) -> None:
    """Fill FOLDER with a repository for submissions: workflows verify and publish, a person reviews."""
    from harness.commands import asked
    from harness.submission import repository

    for name in repository.init(folder, asked.protocol(protocol)):
        click.echo(folder / name)
    click.echo("Fill in HARNESS_REPOSITORY and HARNESS_COMMIT in the workflows, and signers.")


@click.command("withdraw", cls=Verb, interrupted="harness board list says whether it was withdrawn")
@click.argument("method")
@click.option(
    "--board", "key", default="quick", show_default=True, help="Key of the board (harness board list)."
)
@click.option("--why", default="no reason given", show_default=True, help="What the board says of it.")
@click.option("--who", default="the board's keeper", show_default=True, help="In whose name.")
@RUNS
def withdraw_command(method: str, key: str, why: str, who: str, runs: Path) -> None:
    """Take METHOD off a board; its records stay, and the board says that it was withdrawn."""
    from harness.running.boards import withdraw
    from harness.store import Store

    count = withdraw(Store(runs), key, method, why, who)
    click.echo(
        f"Took {count} rows of '{method}' off the board '{key}'; its records stay, and the board says so."
    )
