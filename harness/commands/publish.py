"""`harness publish`: the site for a static host, and what it was before for good."""

from __future__ import annotations

import time
from pathlib import Path

import click

from harness.commands.options import CACHE, RUNS, Folder
from harness.commands.report import RUN, beside, nothing_ended, reporter
from harness.commands.verb import Verb
from harness.commands.waiting import waiting
from harness.errors import HarnessError, plain


@click.command("publish", cls=Verb, interrupted="the folder is replaced whole or not at all")
@click.argument("folder", type=Folder("give a folder for the site"))
@click.option("--address", default="", metavar="URL", help="Where FOLDER is served; remembered.")
@click.option(
    "--archive", default="", metavar="DOI", help="Of the newest version's records (harness export --zenodo)."
)
@click.option("--diff", "tell", is_flag=True, help="Also say what moved since the newest version, and why.")
@click.option("--no-images", is_flag=True, help="Publish no image, whatever the cohort allows.")
@RUNS
@CACHE
def publish_command(
    folder: Path, address: str, archive: str, tell: bool, no_images: bool, runs: Path, cache: Path
) -> None:
    """Build the site into FOLDER for a static host; a board that moved becomes a version of it, for good."""
    from harness.store import published

    address = published.checked_address(address) if address else ""
    archive = published.checked_archive(archive) if archive else ""
    published.check_place(folder, runs)
    with waiting("Reading the records ...") as say:
        if reason := nothing_ended(runs):
            raise HarnessError(f"{reason}; {RUN}.")
        site = reporter("site")
        say("Building the site ...")
        began = time.monotonic()
        done = site.publish(runs, folder, images=not no_images, address=address, archive=archive, cache=cache)
        say("")
    seconds, version = time.monotonic() - began, done.version
    if done.new:
        said = f"Version {version.number} is in {folder / version.folder}: {plain(version.changed[0])}"
    else:
        said = f"Nothing moved: the board is that of version {version.number}, and {folder} was built again."
    click.echo(f"{said.rstrip('.')}. ({seconds:.1f} s)")
    if tell and done.new:
        for line in done.changes.splitlines()[1:]:
            click.echo(plain(line))
    for line in beside(runs):
        click.echo(plain(line))
