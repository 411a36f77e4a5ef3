"""A Docker engine with the sandbox's image."""

from __future__ import annotations

import needs
import pytest

from harness.sandbox import engine


@pytest.fixture(scope="session")
def image():
    """The image's id. Without one a test is skipped, and fails in CI."""
    if reason := engine.unavailable():
        needs.missing(reason, "`sudo docker/base.sh && harness sandbox build`, with dockerd running")
    return engine.image(engine.connect(), "cpu")
