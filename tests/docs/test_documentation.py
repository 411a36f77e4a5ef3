"""The documentation as a site: builds without a warning, links within itself, asks for nothing outside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import ROOT
from html_page import Page
from shared import made_once

LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
}
"""Elements that load something, and by which attribute; a `link` does by its `rel`."""

LINKS = {
    "stylesheet",
    "icon",
    "shortcut icon",
    "preload",
    "preconnect",
    "dns-prefetch",
    "manifest",
    "modulepreload",
}


def build(folder: Path, docs: Path = ROOT / "docs") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder / "site")]
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    config = config.replace("docs_dir: docs", f"docs_dir: {docs}").replace("paths: [.]", f"paths: [{ROOT}]")
    (folder / "mkdocs.yml").write_text(config)
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        [*command, "-f", str(folder / "mkdocs.yml")], env=env, capture_output=True, text=True, check=False
    )


def make(folder: Path) -> None:
    done = build(folder)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    return made_once(tmp_path_factory, "docs-site", make) / "site"


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def outside(address: str) -> bool:
    return bool(re.match(r"(?:[a-z]+:)?//", address.strip(), re.IGNORECASE))


def test_no_page_loads_anything_from_outside(pages, site):
    assert len(pages) > 15
    for path, page in pages.items():
        for tag, attrs in page.tags:
            if tag == "link" and attrs.get("rel") in LINKS:
                assert not outside(attrs["href"]), (path, attrs)
            if tag in LOADED:
                assert not outside(attrs.get(LOADED[tag]) or ""), (path, attrs)
        assert not re.search(r"url\(\s*['\"]?(?:https?:)?//|@import", path.read_text(encoding="utf-8")), path
    for path in site.rglob("*.css"):
        assert not re.search(
            r"url\(\s*['\"]?(?:https?:)?//|@import\s+url", path.read_text(encoding="utf-8")
        ), path


def test_every_link_within_the_site_leads_to_what_is_there(pages, site):
    anchors = {
        path: {a[key] for _, a in page.tags for key in ("id", "name") if a.get(key)}
        for path, page in pages.items()
    }
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links are from the top of a host
        for tag, attrs in page.tags:
            href = attrs.get("href") or ""
            if tag != "a" or not href or re.match(r"[a-z]+:", href):
                continue
            file, _, anchor = href.partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.exists(), (path, href)
            if anchor and target in anchors and anchor != "__skip":
                assert anchor in anchors[target], (path, href)


def test_the_reference_has_the_names_that_are_promised(pages, site):
    import harness

    text = pages[site / "reference.html"].text
    for name in (*harness.__all__, "read_board", "evaluate"):
        assert name in text
    # Parameters are told, and not only named.
    assert "Where there is no board" in text


def test_a_link_to_a_page_that_is_not_there_fails_the_build(tmp_path):
    docs = Path(shutil.copytree(ROOT / "docs", tmp_path / "docs"))
    (docs / "glossary.md").write_text("[gone](gone.md) [and](index.md#gone)\n")
    done = build(tmp_path, docs)
    assert done.returncode == 1
    assert "gone.md" in done.stderr
    assert "#gone" in done.stderr


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_of_the_readme_lead_to_files_and_headings(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        if not re.match(r"[a-z]+:", target):
            text = (ROOT / file).read_bytes()
            headings = re.findall(rb"(?m)^#+ (.+)$", text)
            known = {re.sub(r"[^a-z0-9 -]", "", one.decode().lower()).replace(" ", "-") for one in headings}
            assert not anchor or anchor in known, target


def test_the_readme_is_a_tour_of_one_screen():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
