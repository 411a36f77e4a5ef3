"""The templates, and values through them into files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from harness.equity import MIN_PATIENTS
from leaderboard import draw
from leaderboard.compute import columns, facts, tracks, verdicts, words
from leaderboard.compute.metrics import METRICS
from leaderboard.read.boards import readable
from leaderboard.spared import Spared
from leaderboard.write.addresses import web_address
from leaderboard.write.compiled import Compiled

TEMPLATES = Path(__file__).parents[1] / "templates"


@cache
def environment(with_versions: bool = False, packed: bool = False) -> jinja2.Environment:
    """Return the templates, compiled once; everything put into them is escaped.

    with_versions: whether the pages link to those of versions; packed: whether the data are packed.
    """
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.bytecode_cache = Compiled(TEMPLATES, env)
    env.globals["w"] = words
    env.globals["v"] = verdicts
    env.globals["newest"] = facts.newest
    env.globals["t"] = tracks
    env.globals["shapes"] = draw.inside.SHAPES
    env.globals["c"] = columns
    env.globals["METRICS"] = METRICS
    env.globals["web_address"] = web_address
    env.globals["min_patients"] = MIN_PATIENTS
    env.globals["readable"] = readable
    env.globals["with_versions"] = with_versions
    env.globals["data_file"] = lambda name: f"{name}.gz" if packed else name
    return env


def render(
    env: jinja2.Environment, template: str, path: Path, root: str, values: Callable[[], dict[str, Any]]
) -> None:
    """Write a page, or in its place one that says why it cannot be made."""
    spared = Spared()
    text = spared.build(path.name, lambda: env.get_template(template).render(root=root, **values()), None)
    if text is None:
        text = env.get_template("unbuilt.html.j2").render(root=root, name=path.name, why=spared.why)
    put(path, text)


def put(path: Path, text: str) -> None:
    """Write a file, and the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
