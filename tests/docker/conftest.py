"""A Docker engine with the sandbox's image, waited for where CI builds it beside the other tests."""

from __future__ import annotations

import os
import time

import pytest

from harness.sandbox import engine

WAIT_SECONDS = 900


@pytest.fixture(scope="session")
def image():
    """The image's id. Without one a test is skipped, and fails in CI."""
    building = os.environ.get("EQUITY_IMAGE_BUILD")
    deadline = time.monotonic() + WAIT_SECONDS
    while building and engine.unavailable() and time.monotonic() < deadline:
        if not os.path.isdir(f"/proc/{building}"):
            break
        time.sleep(2)
    if reason := engine.unavailable():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return engine.image(engine.connect(), "cpu")
