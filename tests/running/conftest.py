"""One run that many tests read, and one server from which their trials are forked."""

from __future__ import annotations

import pytest
from tiny import shared_run

from harness.running.trial import Paths


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Paths:
    """One run of the tiny protocol that all tests read; one that changes it copies it first."""
    return shared_run(tmp_path_factory)


@pytest.fixture(scope="session", autouse=True)
def forked(server_of_processes):
    """Have the server before any executor starts one of its own."""
