"""A browser, the site on disk and from a local server, and axe-core at a pinned version."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import needs
import pytest
from make_records import Site, World, shared_site

from harness.store import BrokenPlugin

AXE = "axe-core@4.10.3"


@pytest.fixture(scope="session")
def browser():
    try:
        from playwright import sync_api
    except ImportError:
        needs.missing("playwright is not installed", "`make install`")
    with sync_api.sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=needs.browser(), args=["--no-sandbox"])
        except sync_api.Error as error:
            why = error.message.splitlines()[0]
            needs.missing(f"Chromium does not start: {why}", "`apt-get install chromium-headless-shell`")
        yield found
        found.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Site:
    """Two attributes, two structures; one method failed, one plugin broken; with pictures."""
    world = World(
        structures=("cup", "disc"),
        seeds=(0, 1),
        samples=160,
        images=True,
        failed=frozenset({("adv", "race", 1)}),
        broken=(BrokenPlugin(name="mine", file="mine.py", error="line 3: invalid syntax"),),
    )
    return shared_site(tmp_path_factory, "browser", world)


@pytest.fixture(scope="session")
def server(site):
    handler = functools.partial(_Quiet, directory=str(site.out))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


PATIENCE = 180_000
"""Milliseconds that a page is waited for: a machine may be busy with other tests."""


class Tab:
    """A page of the browser that keeps every error and every request to another host."""

    def __init__(self, context, root: str):
        self.page, self.root = context.new_page(), root
        self.page.set_default_timeout(PATIENCE)
        self.errors, self.outside = [], []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._request)

    def _request(self, request):
        if not request.url.startswith((self.root, "data:", "blob:")):
            self.outside.append(request.url)

    def open(self, path: str = "index.html"):
        self.page.goto(f"{self.root}/{path}")
        return self.page

    def methods(self, section: str = "race-cup") -> list[str]:
        """Return the methods in the order in which they are shown."""
        rows = self.page.locator(f"section[id='{section}'] tbody tr:visible")
        return rows.evaluate_all("rows => rows.map(row => row.dataset.method)")


@pytest.fixture
def new_tab(browser):
    """Open a tab on a site; at the end there must be no error and no request to another host."""
    opened, contexts = [], []

    def new(root: str, **options) -> Tab:
        contexts.append(browser.new_context(**options))
        opened.append(Tab(contexts[-1], root))
        return opened[-1]

    yield new
    for tab in opened:
        assert tab.errors == []
        assert tab.outside == []
    for context in contexts:
        context.close()


@pytest.fixture
def tab(new_tab, site) -> Tab:
    """A tab on the site's files."""
    return new_tab(site.out.as_uri())


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> str:
    """The source of axe-core, fetched once through npm into the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "equity-leaderboard" / "axe"
    script = cache / AXE.replace("@", "-") / "axe.min.js"
    if not script.is_file():
        _fetch_axe(script, tmp_path_factory.mktemp("npm"))
    return script.read_text(encoding="utf-8")


def _fetch_axe(script: Path, folder: Path) -> None:
    if shutil.which("npm") is None:
        needs.missing("npm is not installed, so axe-core cannot be fetched", "`apt-get install npm`")
    done = subprocess.run(
        ["npm", "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True, check=False, timeout=500
    )
    if done.returncode:
        why = done.stderr.strip()[-200:]
        needs.missing(f"npm cannot fetch {AXE}: {why}", f"a registry from which `npm pack {AXE}` works")
    with tarfile.open(folder / done.stdout.strip().splitlines()[-1]) as archive:
        source = archive.extractfile("package/axe.min.js").read()
    script.parent.mkdir(parents=True, exist_ok=True)
    aside = script.with_suffix(f".{os.getpid()}")
    aside.write_bytes(source)
    aside.replace(script)
