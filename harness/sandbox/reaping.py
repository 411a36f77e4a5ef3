"""What runs that were killed have left: containers that go on, and folders in the temporary place."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.sandbox import engine
from harness.store import leases

LEASE = "equity-sandbox-lease"
"""Label of a container: the machine, and there the folder, of the process that waits for it."""

JOB = "job"
"""The kind of folder that a container's inputs lie in."""


def reap() -> None:
    """Remove the folders of dead runs, and the containers that these were for.

    For the start of a run, sandboxed or not: without a dead one's folder no engine is asked.
    """
    leases.reap(_end_containers)


def reap_containers() -> None:
    """Remove the containers of this machine whose process is gone. Raises HarnessError without an engine."""
    for container in engine.labelled(LEASE):
        machine, _, folder = container.labels[LEASE].partition(":")
        # An engine may serve several machines, whose folders are not to be seen here.
        if machine == platform.node() and leases.is_dead(Path(folder)):
            _remove(container)


def label(folder: Path) -> dict[str, str]:
    """Return the label of a container whose process holds a folder."""
    return {LEASE: f"{platform.node()}:{folder.resolve()}"}


def _end_containers(dead: list[Path]) -> None:
    if any(folder.name.startswith(f"harness-{JOB}-") for folder in dead):
        # Where no engine answers, none of its containers runs.
        with contextlib.suppress(HarnessError):
            reap_containers()


def _remove(container: Any) -> None:
    with contextlib.suppress(Exception):
        container.remove(force=True, v=True)
