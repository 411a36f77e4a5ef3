"""One server from which all trials of these tests are forked, with all that they import."""

from __future__ import annotations

from multiprocessing import forkserver

import pytest

from harness.running.executors.local import LocalExecutor

PRELOAD = ["harness.running.trial", "harness.backbones.sam", "harness.backbones.unet"]


@pytest.fixture(scope="session", autouse=True)
def forked_from():
    """Start the server before any test does: what it imported at its start is what every trial has."""
    with LocalExecutor([], preload=PRELOAD):
        forkserver.ensure_running()
