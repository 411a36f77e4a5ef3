"""Processes are forked from one server that has imported torch."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def forked(server_of_processes):
    """Have the server start before the first process is asked of it."""
