"""`harness sandbox`: the images that strangers' methods run in."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.commands.as_json import JSON
from harness.commands.as_json import echo as echo_json
from harness.commands.verb import Verb, Verbs
from harness.commands.waiting import waiting


@click.group("sandbox", cls=Verbs)
def sandbox_group() -> None:
    """Images for strangers' methods: build them, or see whether they are here."""


_CUDA = click.option("--cuda", is_flag=True, help="The image for GPUs instead of the CPU's.")


@sandbox_group.command(
    "build", cls=Verb, interrupted="the same command goes on with the layers that are built"
)
@click.option("--base", default="equity-base:bookworm", show_default=True, help="Image to build on.")
@click.option("--wheels", type=click.Path(path_type=Path), help="Folder of wheels, instead of fetching them.")
@click.option(
    "--requires", multiple=True, help="A package that a method declares: builds a layer with it on top."
)
@_CUDA
def build_command(base: str, wheels: Path | None, requires: tuple[str, ...], cuda: bool) -> None:
    """Build the image, at the versions of the packages installed here."""
    from harness.sandbox import build

    flavour = "cuda" if cuda else "cpu"
    with waiting("Building the image, which takes minutes ..."):
        name = (
            build.build_layer(requires, wheels, flavour) if requires else build.build(base, wheels, flavour)
        )
    click.echo(name)


@sandbox_group.command("status", cls=Verb)
@JSON
@_CUDA
def status_command(as_json: bool, cuda: bool) -> None:
    """Say whether trials can be sandboxed here, and if not, what is missing."""
    from harness.sandbox import engine

    with waiting("Asking the engine ..."):
        flavour = "cuda" if cuda else "cpu"
        reason = engine.unavailable(flavour)
    if as_json:
        echo_json({"ready": not reason, "reason": reason, "image": engine.tag(flavour)})
    else:
        click.echo(reason or f"Ready: {engine.tag(flavour)}.")
    sys.exit(1 if reason else 0)
