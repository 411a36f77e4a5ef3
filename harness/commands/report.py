"""`harness report`: the site, from the records."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from harness.commands.options import CACHE, RUNS, Folder
from harness.commands.verb import Verb
from harness.commands.waiting import waiting
from harness.errors import HarnessError, plain

RUN = "`harness run --all` makes records, and --runs says where others lie"
_LOOK_SECONDS = 1.0


@click.command("report", cls=Verb, interrupted="a site is put in place whole or not at all")
@click.option(
    "--out",
    type=Folder("give a folder for the site"),
    default=Path("site"),
    show_default=True,
    help="Folder of the site.",
)
@click.option("--no-images", is_flag=True, help="Publish no image, whatever the cohort allows.")
@click.option("--open", "open_it", is_flag=True, help="Open the site in a browser.")
@click.option("--watch", is_flag=True, help="Build again whenever a trial finishes, until Ctrl-C.")
@click.option(
    "--diff",
    "old",
    type=click.Path(path_type=Path),
    help="An earlier site, or its leaderboard.json: also say which scores moved since, and why.",
)
@RUNS
@CACHE
def report_command(
    out: Path, no_images: bool, open_it: bool, watch: bool, old: Path | None, runs: Path, cache: Path
) -> None:
    """Build the leaderboard, a static site, from the records."""
    if watch and old is not None:
        raise HarnessError("--watch and --diff exclude each other: compare once the trials have finished.")
    _check_place(out)
    with waiting("Reading the records ...") as say, _kept(old, out) as before:
        if watch:
            _watch(say, runs, out, not no_images, open_it, cache)
            return
        if reason := nothing_ended(runs):
            raise HarnessError(f"{reason}; {RUN}.")
        site, index = reporter("site"), out / "index.html"
        say("Building the site ...")
        began = time.monotonic()
        site.build(runs, out, images=not no_images, cache=cache)
        say("")
        click.echo(f"Wrote {index} in {time.monotonic() - began:.1f} s.")
        for line in beside(runs):
            click.echo(plain(line))
        if before is not None:
            click.echo(site.diff(before, out))
    if open_it:
        click.launch(str(index))


def _check_place(out: Path) -> None:
    """Raise HarnessError for a folder that holds something else than a site, before seconds of building."""
    from harness.store import published

    if (out / published.FILE).exists():
        raise HarnessError(f"{out}: holds versions, which would go; harness publish adds to them.")
    if (
        out.is_dir()
        and any(out.iterdir())
        and not any((out / name).is_file() for name in ("leaderboard.json", "leaderboard.json.gz"))
    ):
        raise HarnessError(f"{out}: not a site of the leaderboard; give --out a new or empty folder.")


def nothing_ended(runs: Path) -> str:
    """Return why a site would be empty, "" where at least one trial has ended."""
    from harness.store import Store

    store = Store(runs)
    boards = store.protocols()
    if not boards:
        return f"{runs}: nothing was run here yet, so there is nothing to report"
    planned = {row.trial for board in store.boards() for row in board.plan}
    if any(store.has(trial) for trial in planned):
        return ""
    return (
        f"{runs}: none of the {len(planned)} trials of {', '.join(boards)} has ended yet: nothing to report"
    )


def beside(runs: Path) -> list[str]:
    """Return what a reader of the folder may miss on the site: cells without record, records without cell."""
    from harness.running.boards import on_no_board, said_of, without_record
    from harness.store import Store

    store = Store(runs)
    return [line for line in (*without_record(store), said_of(on_no_board(store))) if line]


def reporter(name: str) -> Any:
    """Return what builds sites: the harness finds it as an entry point and never imports the leaderboard."""
    from importlib.metadata import entry_points

    from harness import identity

    found = {entry.name: entry for entry in entry_points(group="harness.reporters")}
    if name not in found:
        raise HarnessError(f"No reporter '{name}' is installed; run `pip install -e .` in the clone.")
    identity.claim(found[name].module.partition(".")[0])
    return found[name].load()


def _watch(
    say: Callable[[str], None], runs: Path, out: Path, images: bool, open_it: bool, cache: Path
) -> None:
    site = reporter("site")
    say("")
    click.echo(f"Watching {runs}; Ctrl-C ends it.")
    try:
        while reason := nothing_ended(runs):
            say(f"{reason}; waiting ...")
            time.sleep(_LOOK_SECONDS)
        say("")
        for build, seconds in enumerate(site.watch(runs, out, images, cache=cache)):
            click.echo(f"{time.strftime('%H:%M:%S')} wrote {out / 'index.html'} in {seconds:.1f} s.")
            if open_it and build == 0:
                click.launch(str(out / "index.html"))
    except KeyboardInterrupt:
        click.echo("")


@contextmanager
def _kept(old: Path | None, out: Path) -> Iterator[Path | None]:
    """Give the results of an earlier site; as a copy where building to `out` will replace them."""
    if old is None:
        yield None
        return
    results = old / "leaderboard.json" if old.is_dir() else old
    if old.is_dir() and not results.is_file() and results.with_suffix(".json.gz").is_file():
        results = results.with_suffix(".json.gz")  # of a large site, or of a published version
    if not results.is_file():
        raise HarnessError(f"--diff {old}: there is no {results}; give a site that harness report built.")
    if results.resolve().parent != out.resolve():
        yield results
        return
    with TemporaryDirectory() as folder:
        yield Path(shutil.copy(results, folder))
