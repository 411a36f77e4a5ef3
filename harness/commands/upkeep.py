"""`harness gc`, `harness doctor` and `harness export`: room, health, and an archive that outlives both."""

from __future__ import annotations

import dataclasses
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from harness.commands.options import CACHE, RUNS
from harness.commands.verb import Verb
from harness.commands.waiting import waiting
from harness.errors import HarnessError, did_you_mean, plain

_SIGNS = {"well": "well", "note": "note", "ill": "ILL "}


@click.command("gc", cls=Verb)
@click.option("--dry-run", is_flag=True, help="Say what could go and what it costs to make again, and stop.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="Also remove checkpoint, embeddings, cohort or record; may be repeated.  [default: what is lost]",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for a program; removes nothing.")
@RUNS
@CACHE
def gc_command(dry_run: bool, kinds: tuple[str, ...], as_json: bool, runs: Path, cache: Path) -> None:
    """Remove what is of no use any more; with --dry-run list it, with sizes and what each costs."""
    from harness.running import garbage
    from harness.running.paths import Paths
    from harness.running.space import readable

    for kind in kinds:
        if kind not in garbage.KINDS:
            raise HarnessError(f"--kind {kind}: there is no such kind.{did_you_mean(kind, garbage.KINDS)}")
    with waiting("Looking for what could go ..."):
        found = garbage.find(Paths(runs, None, cache))
    going = [one for one in found if one.safe or one.kind in kinds]
    if as_json:
        rows = [dataclasses.asdict(one) | {"path": str(one.path), "goes": one in going} for one in found]
        click.echo(json.dumps(rows, indent=2))
        return
    for one in found:
        word = "goes" if one in going else "stays"
        line = f"{readable(one.size):>8}  {word:5}  {one.kind:10}  {one.path}  again: {one.again}"
        click.echo(plain(line))
    total = readable(sum(one.size for one in going))
    if dry_run:
        click.echo(f"{total} would go; harness gc removes it, --kind KIND what stays.")
        return
    from harness.sandbox import reaping

    reaping.reap()  # with the containers that dead processes waited for
    freed = garbage.remove(going)
    click.echo(f"Removed {readable(freed)} of {total}; --kind KIND removes what stayed.")


@click.command("doctor", cls=Verb)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for a program.")
@RUNS
@CACHE
def doctor_command(as_json: bool, runs: Path, cache: Path) -> None:
    """Look at versions, GPU, weights, engine, disk, permissions and clock, and say what mends each."""
    from harness.running.doctor import examine
    from harness.running.paths import Paths

    with waiting("Looking around ..."):
        found = list(examine(Paths(runs, None, cache)))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in found], indent=2))
    else:
        for one in found:
            fix = f"; {one.fix}" if one.fix else ""
            click.echo(plain(f"{_SIGNS[one.verdict]}  {one.what}: {one.found}{fix}"))
    sys.exit(1 if any(one.verdict == "ill" for one in found) else 0)


@click.command("export", cls=Verb)
@click.argument("board")
@click.option("--zenodo", is_flag=True, help="As one archive with manifest, checksums, licence and citation.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="The archive.  [default: BOARD-DATE.zip]"
)
@click.option("--title", help="Of the data set.  [default: the board's]")
@click.option(
    "--author",
    "authors",
    multiple=True,
    required=True,
    metavar="'FAMILY, GIVEN'",
    help="Who made the records; may be repeated.",
)
@click.option("--licence", default="CC-BY-4.0", show_default=True, help="Of the records, by its SPDX name.")
@RUNS
def export_command(
    board: str,
    zenodo: bool,
    out: Path | None,
    title: str | None,
    authors: tuple[str, ...],
    licence: str,
    runs: Path,
) -> None:
    """Write the records of BOARD as one archive for a DOI; pictures of patients stay at home."""
    if not zenodo:
        raise HarnessError("harness export: say for whom; --zenodo is what there is.")
    from harness.running import export
    from harness.running.space import readable
    from harness.store import Store

    store, day = Store(runs), datetime.now(UTC).date().isoformat()
    about = export.About(title or f"Records of the board {board}", authors, licence, day, day)
    export.check(store, board, about)
    target = out or Path(f"{board.replace('@', '-')}-{day}.zip")
    if not target.parent.is_dir():
        raise HarnessError(f"--out {target}: there is no folder {target.parent}.")
    with waiting("Packing the records ..."):
        found = export.write(store, board, about, target)
    click.echo(f"{target}: {found.records} records in {found.files} files, {readable(found.size)}.")
    if found.missing:
        click.echo(f"{found.missing} trials of the board have no record and are not in it.", err=True)
    sys.exit(1 if found.missing else 0)
