"""`harness list` and `harness show`: what is here, for a person and, as JSON, for a program."""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands import meaning
from harness.commands.as_json import JSON
from harness.commands.as_json import echo as echo_json
from harness.commands.options import CACHE, RUNS, Choice
from harness.commands.verb import Verb
from harness.commands.waiting import waiting
from harness.errors import HarnessError, plain

if TYPE_CHECKING:
    from harness.store import Record, Store


@click.command("list", cls=Verb)
@click.argument("what", type=Choice(meaning.LISTS))
@JSON
@RUNS
@CACHE
def list_command(what: str, as_json: bool, runs: Path, cache: Path) -> None:
    """List methods, shipped protocols, the trials that have a record, or what takes how much space."""
    lister: dict[str, Callable[[], int]] = {
        "methods": lambda: _list_methods(as_json),
        "protocols": lambda: _list_protocols(as_json),
        "space": lambda: _list_space(runs, cache, as_json),
        "trials": lambda: _list_trials(runs, as_json),
    }
    sys.exit(lister[what]())


@click.command("show", cls=Verb)
@click.argument("trial")
@JSON
@RUNS
def show_command(trial: str, as_json: bool, runs: Path) -> None:
    """Show one trial: its scores by group, what it cost and where its files are.

    The first characters of its id are enough.
    """
    from harness.store import Store

    with waiting("Reading the record ..."):
        store = Store(runs)
        record = store.record(_one(store, trial, runs))
        if as_json:
            said = record.model_dump_json(indent=2, exclude={"method": {"source"}})
        else:
            from harness.commands.trial_card import card

            said = "\n".join(card(store, record))
    click.echo(plain(said, "\n\t"))


def _one(store: Store, trial: str, runs: Path) -> str:
    ids = store.ids()
    matches = [name for name in ids if name.startswith(trial)] if trial else []
    if len(matches) == 1:
        return matches[0]
    if not matches:
        among = f" among {len(ids)}" if ids else ""
        raise HarnessError(
            f"{runs}: no record{among} with an id that begins with '{trial}' (harness list trials)."
        )
    few = ", ".join(name[:12] for name in matches[:5]) + (" ..." if len(matches) > 5 else "")
    raise HarnessError(
        f"{runs}: {len(matches)} records with an id that begins with '{trial}': {few}; give more of it."
    )


def _list_methods(as_json: bool) -> int:
    from harness.plugin import declared, discovery

    with waiting("Importing the methods ..."):
        found = discovery.discover()
        methods, broken = discovery.load_all(list(found.values()))
        values = {name: declared.hyper_parameters(method, found[name]) for name, method in methods.items()}
    if as_json:
        echo_json(
            [
                {
                    "name": name,
                    "title": method.card.title,
                    "hyper_parameters": values[name],
                    "reads_attribute_at_test": method.reads_attribute_at_test,
                    "file": str(found[name].file),
                }
                for name, method in methods.items()
            ]
            + [{"name": one.plugin.name, "broken": one.error, "file": str(one.plugin.file)} for one in broken]
        )
        return 1 if broken else 0
    wide = max(map(len, found), default=0)
    for name, method in methods.items():
        listed = ", ".join(f"{key}={value}" for key, value in values[name].items())
        track = "; needs the attribute to predict" if method.reads_attribute_at_test else ""
        click.echo(plain(f"{name:{wide}} {method.card.title}" + (f" ({listed})" if listed else "") + track))
    for one in broken:
        click.echo(plain(f"{one.plugin.name:{wide}} broken: {one.error}"), err=True)
    return 1 if broken else 0


def _list_protocols(as_json: bool) -> int:
    from harness.protocol import load, shipped

    protocols = {name: load(name) for name in shipped()}
    if as_json:
        echo_json([{"name": name, "title": one.title} for name, one in protocols.items()])
        return 0
    wide = max(map(len, protocols), default=0)
    for name, one in protocols.items():
        click.echo(f"{name:{wide}} {one.title}")
    return 0


def _list_space(runs: Path, cache: Path, as_json: bool) -> int:
    from harness.running.paths import Paths
    from harness.running.space import parts, readable

    found = parts(Paths(runs, None, cache))
    if as_json:
        echo_json([{"path": str(one.path), "bytes": one.size, "what": one.what} for one in found])
        return 0
    wide = max((len(str(one.path)) for one in found), default=0)
    for one in found:
        click.echo(f"{readable(one.size):>8}  {plain(str(one.path)):{wide}}  {one.what}")
    return 0


def _list_trials(runs: Path, as_json: bool) -> int:
    from harness.running.boards import on_no_board, said_of
    from harness.store import Store

    with waiting("Reading the records ..."):
        store = Store(runs)
        ranked = {board.name: str(board.protocol["ranked_by"]) for board in store.boards()}
        # Each record is let go at once: a hundred thousand would be gigabytes.
        found = ((_order(one), _row(store, one, ranked.get(one.protocol, ""))) for one in store.each_record())
        rows = [row for _, row in sorted(found, key=itemgetter(0))]
    if as_json:
        echo_json(rows)
        return 0
    if not rows:
        click.echo(f"{runs}: no trial has left a record yet; `harness run` makes them.", err=True)
    widths = {key: max((len(str(row[key])) for row in rows), default=0) for key in ("protocol", "method")}
    wide = max((len(row["attribute"] or "-") for row in rows), default=0)
    for row in rows:
        click.echo(plain(_line(row, widths, wide)))
    if said := said_of(on_no_board(store)):
        click.echo(plain(said), err=True)
    return 0


def _order(record: Record) -> tuple[Any, ...]:
    return (
        record.method.name,
        record.control,
        record.attribute or "",
        record.seed,
        record.protocol,
        record.id,
    )


def _row(store: Store, record: Record, structure: str) -> dict[str, Any]:
    from harness.identity import SCHEME

    cost = record.cost
    return {
        "id": record.id,
        "status": record.status,
        "protocol": record.protocol,
        "method": f"{record.method.name}: {record.control}" if record.control else record.method.name,
        "attribute": record.attribute,
        "seed": record.seed,
        "structure": structure,
        "dice": _dice(store, record, structure),
        "seconds": round(cost.fit_seconds + cost.predict_seconds + cost.score_seconds, 3),
        "finished": record.finished,
        "older_scheme": record.identity.get("scheme") != SCHEME,
    }


def _dice(store: Store, record: Record, structure: str) -> float | None:
    """Return the mean Dice of a structure, of all where it is "", None of a trial that failed."""
    if record.status != "done":
        return None
    import pyarrow.compute as pc

    table = store.spared(store.score_table, record, ["structure", "dice"])
    if table is None:
        return None
    own = table.filter(pc.equal(table["structure"], structure)) if structure else table
    mean = pc.mean(own["dice"]).as_py()
    return None if mean is None else float(mean)


def _line(row: dict[str, Any], widths: dict[str, int], wide: int) -> str:
    from harness.commands.trial_card import clock, day

    score = "" if row["dice"] is None else f"{row['structure'] or 'all'} Dice {row['dice']:.4f}"
    old = "  of an older identity scheme" if row["older_scheme"] else ""
    return (
        f"{row['id'][:8]}  {row['status']:6}  {row['method']:{widths['method']}}  "
        f"{row['attribute'] or '-':{wide}}  seed {row['seed']}  {score:16}  "
        f"{clock(row['seconds']):>8}  {day(row['finished'])}  {row['protocol']}{old}"
    ).rstrip()
