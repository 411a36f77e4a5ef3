"""Options that several verbs share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click


class Number(click.FloatRange):
    """A number in a range; unlike in its parent, nan is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or fail with one sentence."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


def _cache_default() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("equity-leaderboard")


RUNS = click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of records.",
)
CACHE = click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=_cache_default,
    envvar="HARNESS_CACHE",
    help="Folder of weights, cohorts and embeddings.  [default: the user's cache folder; env: HARNESS_CACHE]",
)
PROTOCOL = click.option(
    "--protocol", default="quick", show_default=True, help="Name of a shipped protocol, or a .toml file."
)
SEEDS = click.option("--seeds", help="Seeds instead of the protocol's: 0,1,2.")
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
JOBS = click.option(
    "--jobs", type=click.IntRange(1), help="Trials at a time.  [default: one a GPU, or by CPU cores]"
)
DATA = click.option("--data", type=click.Path(path_type=Path), help="Folder of the cohort's files.")
