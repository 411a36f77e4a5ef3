"""Is a method a valid, deterministic, well-behaved plugin? One line a check, a fix for each failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from harness.check import conduct, effects, losses, plugin_file, sandboxed, training
from harness.check.subject import Line, Subject
from harness.plugin.discovery import Plugin
from harness.store import leases

__all__ = ["CHECKS", "Line", "run"]

CHECKS: tuple[Callable[[Subject], Iterator[Line]], ...] = (
    plugin_file.check,
    losses.check,
    training.check,
    effects.check,
    conduct.check,
    sandboxed.check,
)
"""The themes in order; each yields its lines, and skips them where an earlier theme found no ground."""


def run(plugin: Plugin) -> Iterator[Line]:
    """Yield a line for every check of a plugin, as soon as each is known.

    The plugin is only ever imported in child processes with a time limit, in a folder of their own,
    so that one that crashes, hangs or exits costs its lines and nothing else. That is not a
    sandbox: it stops mistakes, not malice. The last check is one, where there is a Docker engine.
    """
    with leases.leased("check") as scratch:
        subject = Subject(plugin, scratch.resolve())
        for check in CHECKS:
            yield from check(subject)
