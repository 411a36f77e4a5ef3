"""What a cohort's owner has to know of it, said before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.errors import plain

if TYPE_CHECKING:
    from harness.cohorts.cohort import Cohort


def print_remarks(cohort: Cohort) -> None:
    """Print a line for each remark, with what to write in the protocol under it."""
    for one in sorted(cohort.remarks, key=lambda remark: not remark.spoils):
        click.echo(f"{'spoils' if one.spoils else 'look  '}  {one.kind:9}  {plain(one.message)}")
        if one.fix:
            click.echo(f"        {'':9}  {plain(one.fix)}")
