"""`harness data`: public data sets, fetched by one command once their licence is accepted."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.commands.as_json import JSON
from harness.commands.as_json import echo as echo_json
from harness.commands.options import CACHE, Named
from harness.commands.verb import Verb, Verbs
from harness.commands.waiting import counted, waiting
from harness.errors import HarnessError


def _names() -> list[str]:
    from harness.cohorts import fetching

    return list(fetching.DATASETS)


@click.group("data", cls=Verbs)
def data_group() -> None:
    """Public data sets with demographics: fetch them, or see which are known."""


@data_group.command(
    "fetch", cls=Verb, interrupted="what was fetched is kept, and the next call goes on from it"
)
@click.argument("name", type=Named(_names))
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), help="Where to put it.  [default: in the cache]"
)
@click.option("--from", "source", help="Its archive, or another address of it, instead of the official one.")
@click.option("--accept-licence", is_flag=True, help="Accept the licence without being asked.")
@CACHE
def data_fetch(name: str, folder: Path | None, source: str | None, accept_licence: bool, cache: Path) -> None:
    """Fetch a data set, check its SHA-256 and lay it out as a folder with a manifest."""
    from harness.cohorts import fetching

    chosen, target = fetching.find(name), folder or cache / "data" / name
    click.echo(
        f"{chosen.title}\nSource:   {chosen.home}\nLicence:  {chosen.licence}\nCite:     {chosen.citation}"
    )
    if not accept_licence:
        if not sys.stdin.isatty():
            raise HarnessError(f"Nobody is here to accept the licence of '{name}'; give --accept-licence.")
        click.confirm("Do you accept the licence?", abort=True)
    with waiting(f"Fetching {name} ...") as say:
        found = fetching.fetch(name, target, source, counted(say))
    click.echo(f"{name}: {found}\nharness run --all --protocol {name} --data {found}")


@data_group.command("list", cls=Verb)
@JSON
def data_list(as_json: bool) -> None:
    """List the data sets that can be fetched."""
    from harness.cohorts import fetching

    if as_json:
        known = fetching.DATASETS.items()
        echo_json(
            [
                {"name": name, "title": one.title, "licence": one.licence, "home": one.home}
                for name, one in known
            ]
        )
        return
    for name, chosen in fetching.DATASETS.items():
        click.echo(f"{name:12} {chosen.title}\n{'':12} {chosen.licence}; {chosen.home}")
