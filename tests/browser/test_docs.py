"""The documentation in a browser: its search works, and nobody but its host is asked for anything."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from shared import made_once

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]


def make(folder: Path) -> None:
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder / "site")]
    subprocess.run(command, cwd=ROOT, env=env, check=True)


@pytest.fixture(scope="module")
def docs(tmp_path_factory) -> Path:
    return made_once(tmp_path_factory, "docs-in-browser", make) / "site"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address(docs):
    handler = functools.partial(Quiet, directory=str(docs))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_search_finds_a_word_and_asks_nobody_else(new_tab, address):
    page = new_tab(address).open()
    box = page.get_by_role("textbox", name="Search")
    box.click()
    # What is typed before the index is there may be answered by its first letters alone.
    page.locator(".md-search-result__meta", has_text="Type to start searching").wait_for()
    box.press_sequentially("levelling")
    found = page.locator(".md-search-result__list", has_text="levelling")
    found.wait_for()
    assert found.locator(".md-search-result__link").first.get_attribute("href")


@pytest.mark.parametrize("name", ["submit.html", "reference.html"])
def test_a_page_asks_nobody_else(new_tab, address, name):
    page = new_tab(address).open(name)
    assert page.locator("h1").inner_text()
    assert page.locator("nav a[href='glossary.html']").count() >= 1
