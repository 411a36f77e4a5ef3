"""`harness weights`: pretrained weights, fetched or seen to be here."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.as_json import JSON
from harness.commands.as_json import echo as echo_json
from harness.commands.options import CACHE, Named
from harness.commands.verb import Verb, Verbs
from harness.commands.waiting import waiting


def _names() -> list[str]:
    from harness.backbones import weights

    return list(weights.CHECKPOINTS)


@click.group("weights", cls=Verbs)
def weights_group() -> None:
    """Pretrained weights: fetch them, or see which are here."""


@weights_group.command("fetch", cls=Verb, interrupted="of a file that was being fetched nothing is kept")
@click.argument("name", type=Named(_names))
@click.option("--from", "source", help="A file or address to take it from instead of the known sources.")
@CACHE
def weights_fetch(name: str, source: str | None, cache: Path) -> None:
    """Fetch a checkpoint into the cache and check its SHA-256."""
    from harness.backbones import weights

    weights.check_known(name)
    size = weights.CHECKPOINTS[name].size
    with waiting(f"Fetching {name}{f', {size / 1e6:.0f} MB' if size else ''} ..."):
        path = weights.fetch(name, cache, source)
    click.echo(f"{name}: {path}, SHA-256 checked.")


@weights_group.command("list", cls=Verb)
@JSON
@CACHE
def weights_list(as_json: bool, cache: Path) -> None:
    """List the known checkpoints and whether they are in the cache."""
    from harness.backbones import weights

    if as_json:
        known = weights.CHECKPOINTS.items()
        rows = [{"name": name, "bytes": one.size, "sha256": one.sha256} for name, one in known]
        echo_json([row | {"here": weights.is_cached(str(row["name"]), cache)} for row in rows])
        return
    for name, checkpoint in weights.CHECKPOINTS.items():
        state = "here" if weights.is_cached(name, cache) else "not fetched"
        size = f"{checkpoint.size / 1e6:8.1f} MB" if checkpoint.size else " " * 11
        click.echo(f"{name:18} {size}  {state}")
