"""One run that many tests read, and one server from which their trials are forked, all imports done."""

from __future__ import annotations

from multiprocessing import forkserver

import pytest
from tiny import shared_run

from harness.running.executors.local import LocalExecutor
from harness.running.trial import Paths

PRELOAD = ["harness.running.trial", "harness.backbones.sam", "harness.backbones.unet"]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Paths:
    """One run of the tiny protocol that all tests read; one that changes it copies it first."""
    return shared_run(tmp_path_factory)


@pytest.fixture(scope="session", autouse=True)
def forked_from():
    """Start the server before any test does: what it imported at its start is what every trial has."""
    with LocalExecutor([], preload=PRELOAD):
        forkserver.ensure_running()
