"""What a verb prints for a program: `--json`, and then JSON and nothing else."""

from __future__ import annotations

import json
from typing import Any

import click

JSON = click.option("--json", "as_json", is_flag=True, help="As JSON, for a program.")


def echo(found: Any) -> None:
    """Print what a verb found; escaped as JSON does, so that a stranger's text moves no cursor."""
    click.echo(json.dumps(found, indent=2))
