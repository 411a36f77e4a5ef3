"""What a test needs of the machine: without it, it is skipped and says how to get it, and fails in CI."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

CI = os.environ.get("CI") == "true"

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first that is there is driven; one without windows and tool bars takes half of the time for a page."""


def browser() -> str | None:
    """Return the path of the browser that is driven, None for Playwright's own."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def missing(what: str, remedy: str) -> NoReturn:
    """Skip a test for want of something, and say what would make it run; in CI this is a failure."""
    (pytest.fail if CI else pytest.skip)(f"{what}; to run this: {remedy}")


def unless(there: bool, what: str, remedy: str) -> pytest.MarkDecorator:
    """Skip the marked test, in CI too, where something is not there that no install brings."""
    return pytest.mark.skipif(not there, reason=f"{what}; to run this: {remedy}")
