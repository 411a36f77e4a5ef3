"""`harness publish`: versions that stay, what changed, a feed, tables for other pages."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import uuid
import xml.etree.ElementTree as ET
from datetime import datetime
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
from click.testing import CliRunner
from html_page import Page
from make_records import World, make_store, shared_site

import harness
import leaderboard
from harness.commands.report import report_command
from harness.errors import HarnessError
from harness.store import published
from leaderboard import publishing, site
from leaderboard.write import versions

ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    world = World(methods=("erm", "adv", "febs"), attributes=("race",), structures=("cup",), seeds=(0, 1))
    return shared_site(tmp_path_factory, "published", world)


@pytest.fixture
def board(built, tmp_path, monkeypatch):
    """A folder to publish to, and a board whose results each publishing takes as they stand in `results`."""
    results = json.loads(built.page("leaderboard.json"))

    def fill(runs: Path, folder: Path, images: bool, with_versions: bool = False, cache=None) -> None:
        shutil.copytree(built.out, folder, dirs_exist_ok=True)
        (folder / "leaderboard.json").write_text(json.dumps(results))

    monkeypatch.setattr(site, "fill", fill)
    return Board(tmp_path / "public", built.runs.root, results)


class Board:
    def __init__(self, out: Path, runs: Path, results: dict):
        self.out, self.runs, self.results = out, runs, results

    def publish(self, **asked) -> publishing.Published:
        return leaderboard.publish(self.runs, self.out, **asked)

    def move(self, method: int = 0, by: float = 0.1) -> None:
        row = self.results["protocols"][0]["sections"][0]["methods"][method]
        row["scores"]["dice"]["es_sum"]["estimate"] -= by

    def feed(self) -> ET.Element:
        return ET.fromstring((self.out / "feed.xml").read_text(encoding="utf-8"))

    def page(self, name: str) -> str:
        return (self.out / name).read_text(encoding="utf-8")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_first_version_is_the_board_and_the_same_board_again_changes_no_byte(board):
    first = board.publish()
    assert (first.new, first.version.number) == (True, 1)
    assert json.loads(board.page("v/1/leaderboard.json")) == board.results
    before = tree(board.out)
    again = board.publish()
    assert (again.new, again.version, again.changes) == (False, first.version, "")
    assert tree(board.out) == before


def test_a_board_that_moved_is_a_new_version_and_the_one_before_stays_to_the_byte(board):
    board.publish()
    first = tree(board.out / "v" / "1")
    board.move()
    second = board.publish()
    assert (second.new, second.version.number) == (True, 2)
    assert tree(board.out / "v" / "1") == first
    assert second.changes == leaderboard.diff(board.out / "v" / "1", board.out / "v" / "2")
    assert second.changes == leaderboard.diff(board.out / "v" / "1", board.out)
    assert "1 score of 1 method moved" in Page(board.page("v/2/changes.html")).text
    assert "1 score of 1 method moved" in Page(board.page("versions.html")).text
    # A version that goes back is one of its own: what was said in between was said.
    board.move(by=-0.1)
    assert board.publish().version.number == 3
    assert tree(board.out / "v" / "1") == first


def test_a_methods_result_in_a_version_has_an_address_that_stays(board):
    board.publish()
    old = board.results["protocols"][0]["sections"][0]["methods"][0]["scores"]["dice"]["es_sum"]["estimate"]
    board.move(by=0.2)
    board.publish()
    for number, score in ((1, old), (2, old - 0.2)):
        page = Page(board.page(f"v/{number}/quick.html"))
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert {"erm", "adv", "febs", "race-cup"} <= set(ids)
        assert len(ids) == len(set(ids))
        assert f"{score:.3f}" in page.text
        assert " – " not in page.text  # everything has run, so every number is there


def test_what_lies_beside_the_site_stays_and_what_is_the_sites_goes_with_it(board):
    board.out.mkdir()
    (board.out / "CNAME").write_text("board.example.org")
    board.publish()
    (board.out / "docs").mkdir()
    (board.out / "docs" / "index.html").write_text("ours")
    (board.out / "quick" / "old.html").write_text("a method that is gone")
    board.move()
    board.publish()
    board.publish()
    assert board.page("CNAME") == "board.example.org"
    assert board.page("docs/index.html") == "ours"
    assert not (board.out / "quick" / "old.html").exists()
    assert (board.out / ".nojekyll").is_file()


@pytest.mark.parametrize("name", ["v", "feed.xml", "versions.html", "embed"])
def test_a_board_never_takes_the_place_of_what_is_of_all_versions(name):
    from leaderboard.write.addresses import slug

    assert slug(name.partition(".")[0]) != name.partition(".")[0] or name == "feed.xml"


def test_a_name_of_ours_that_is_anothers_is_refused_and_nothing_changes(board, monkeypatch):
    board.publish()
    (board.out / "second.html").write_text("mine")
    before = tree(board.out)
    fill = site.fill

    def with_one_more(runs, folder, images, with_versions=False, cache=None):
        fill(runs, folder, images, with_versions)
        (folder / "second.html").write_text("a new board's page")

    monkeypatch.setattr(site, "fill", with_one_more)
    with pytest.raises(HarnessError, match=r"second\.html: is not the site's"):
        board.publish()
    assert tree(board.out) == before


def test_what_is_no_place_for_a_site_is_refused_before_anything_is_built(board, tmp_path):
    (tmp_path / "clone" / ".git").mkdir(parents=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    for place, said in {
        tmp_path / "clone": "the top of a checkout",
        tmp_path / "full": "holds thesis.tex and no version yet",
        board.runs: "records lie in it",
        board.runs / "public": "records lie in it, or it in them",
        board.runs.parent: "records lie in it",
    }.items():
        board.out = place
        with pytest.raises(HarnessError, match=said):
            board.publish()
    assert (tmp_path / "full" / "thesis.tex").is_file()


def test_a_plain_report_never_takes_the_place_of_versions(board):
    board.publish()
    with pytest.raises(HarnessError, match="harness publish adds to them"):
        leaderboard.build(board.runs, board.out)


def damaged(history: dict) -> dict:
    return {
        "{": lambda text: text[1:],
        "a version is missing": lambda text: json.dumps(history | {"versions": history["versions"][1:]}),
        "no version": lambda text: json.dumps(history | {"versions": []}),
        "another schema": lambda text: json.dumps(history | {"schema_version": 2}),
        "no digest": lambda text: text.replace('"digest"', '"digset"'),
    }


@pytest.mark.parametrize("what", damaged({"versions": []}))
def test_a_damaged_history_is_refused_and_nothing_is_lost(board, what):
    board.publish()
    board.move()
    board.publish()
    path = board.out / "versions.json"
    path.write_text(damaged(json.loads(path.read_text()))[what](path.read_text()))
    before = tree(board.out)
    with pytest.raises(
        HarnessError, match=r"versions\.json: .*bring back what harness publish wrote"
    ) as raised:
        board.publish()
    assert "\n" not in str(raised.value)
    assert tree(board.out) == before


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_text("{}")])
def test_a_version_that_was_changed_afterwards_is_named(board, change):
    board.publish()
    change(board.out / "v" / "1" / "leaderboard.json")
    board.move()
    with pytest.raises(HarnessError, match=r"v/1/leaderboard\.json.*: gone, or not what was published"):
        board.publish()


def test_two_at_once_lose_no_version(board, monkeypatch):
    board.publish()
    board.move()
    write = versions.write_around

    def meanwhile(*args):
        monkeypatch.setattr(versions, "write_around", write)
        board.publish()
        return write(*args)

    monkeypatch.setattr(versions, "write_around", meanwhile)
    with pytest.raises(HarnessError, match="somebody else published just now"):
        board.publish()
    assert [one.number for one in published.read(board.out).versions] == [1, 2]
    assert (board.out / "v" / "2" / "index.html").is_file()


def test_results_of_another_schema_are_not_compared(board, monkeypatch):
    board.publish()
    text = board.page("v/1/leaderboard.json").replace('"schema_version": 2', '"schema_version": 1')
    (board.out / "v" / "1" / "leaderboard.json").write_text(text)
    path = board.out / "versions.json"
    path.write_text(path.read_text().replace(published.read(board.out).newest.digest, digest(text)))
    board.move()
    assert "not compared" in board.publish().version.changed[0]


def digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def test_an_archive_is_told_with_its_version_also_when_it_comes_later(board):
    board.publish()
    board.move()
    assert board.publish(archive="10.5281/zenodo.123").version.archive == "https://doi.org/10.5281/zenodo.123"
    board.move()
    board.publish()
    assert board.publish(archive="doi:10.5281/zenodo.124").new is False
    found = [one.archive for one in published.read(board.out).versions]
    assert found == ["", "https://doi.org/10.5281/zenodo.123", "https://doi.org/10.5281/zenodo.124"]
    for number, archive in enumerate(found, start=1):
        links = [attrs.get("href") for _, attrs in Page(board.page(f"v/{number}/index.html")).tags]
        assert [link for link in links if link and "doi.org" in link] == [archive] * bool(archive)


ARCHIVES = {
    "10.5281/zenodo.1": "https://doi.org/10.5281/zenodo.1",
    "https://doi.org/10.5281/zenodo.1": "https://doi.org/10.5281/zenodo.1",
    "http://dx.doi.org/10.1000/a(b)c": "https://doi.org/10.1000/a(b)c",
    "DOI: 10.1000/x": "https://doi.org/10.1000/x",
    "https://example.org/records.zip": "https://example.org/records.zip",
}


@pytest.mark.parametrize(("given", "found"), ARCHIVES.items())
def test_a_doi_becomes_its_address(given, found):
    assert published.checked_archive(given) == found


@pytest.mark.parametrize(
    "given", ["zenodo.1", "10.5281", "javascript:alert(1)", "https://", 'https://a/"x', "http://[", " "]
)
def test_what_is_neither_a_doi_nor_an_address_is_refused(given):
    with pytest.raises(HarnessError, match="give a DOI"):
        published.checked_archive(given)


@pytest.mark.parametrize(
    "given",
    [
        "a.b",
        "ftp://a.b/",
        "https://a.b/?x=1",
        "https://a.b/#x",
        "https://me:pw@a.b/",
        "http://[",
        "https://a b/",
    ],
)
def test_what_is_no_address_of_a_folder_is_refused(given):
    with pytest.raises(HarnessError, match="give where the folder is served"):
        published.checked_address(given)


@pytest.mark.parametrize("address", ["", "https://example.org/board"])
def test_the_feed_keeps_the_rules_of_atom(board, address):
    """RFC 4287: what 4.1.1 and 4.1.2 say a feed and its entries must have, and once only."""
    board.publish(address=address)
    row = board.results["protocols"][0]["sections"][0]["methods"][0]
    row["status"] = "partial"
    row["method"] = "a<b> & \u202e\"c'"
    board.publish()
    board.move(1)
    board.publish()
    feed = board.feed()
    assert feed.tag == f"{ATOM}feed"
    entries = feed.findall(f"{ATOM}entry")
    assert len(entries) == 3
    for part in (feed, *entries):
        for name in ("id", "title", "updated"):
            (one,) = part.findall(f"{ATOM}{name}")
            assert one.text.strip()
        uuid.UUID(part.find(f"{ATOM}id").text.removeprefix("urn:uuid:"))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", part.find(f"{ATOM}updated").text)
        datetime.fromisoformat(part.find(f"{ATOM}updated").text)
        # No two alternates of one type, and each link has an address.
        alternates = [
            link.get("type") for link in part.findall(f"{ATOM}link") if link.get("rel") == "alternate"
        ]
        assert alternates == ["text/html"]
        assert all(link.get("href") for link in part.findall(f"{ATOM}link"))
    assert feed.find(f"{ATOM}author/{ATOM}name").text  # so that no entry needs one
    ids = [part.find(f"{ATOM}id").text for part in (feed, *entries)]
    assert len(set(ids)) == len(ids)
    assert feed.find(f"{ATOM}updated").text == max(one.find(f"{ATOM}updated").text for one in entries)
    # Content of type html is text that is HTML (4.1.3.3): a line of the version in each of its lines.
    for entry, version in zip(entries, reversed(published.read(board.out).versions), strict=True):
        content = entry.find(f"{ATOM}content")
        assert content.get("type") == "html"
        assert len(content) == 0
        shown = ET.fromstring(f"<div>{content.text}</div>")
        assert [one.text for one in shown.iter("li")] == list(version.changed)
        assert {one.tag for one in shown.iter()} == {"div", "ul", "li"}
    assert entries[-1].find(f"{ATOM}title").text == "Version 1: 1 board, 3 methods"
    hrefs = [link.get("href") for link in feed.iter(f"{ATOM}link")]
    assert all(href.startswith("https://example.org/board/") for href in hrefs if address)
    assert all((board.out / href.removeprefix("https://example.org/board/")).is_file() for href in hrefs)
    assert (feed.find(f"{ATOM}link[@rel='self']") is not None) == bool(address)


def test_ids_of_the_feed_never_change(board):
    board.publish()
    first = [one.text for one in board.feed().iter(f"{ATOM}id")]
    board.move()
    board.publish()
    again = [one.text for one in board.feed().iter(f"{ATOM}id")]
    assert again[0] == first[0]
    assert again[-1] == first[-1]


def test_pages_of_versions_and_tables_for_other_pages_ask_for_nothing_and_link_to_what_is_there(board):
    board.publish()
    board.move()
    board.publish()
    pages = [*board.out.glob("v/*/*.html"), *board.out.glob("embed/*.html"), board.out / "versions.html"]
    assert len(pages) == 3 + 3 + 1 + 1
    for path in pages:
        page = Page(path.read_text(encoding="utf-8"))
        tags = {tag for tag, _ in page.tags}
        assert not tags & {"script", "img", "iframe", "object", "embed", "form", "base"}
        assert [a for tag, a in page.tags if tag == "link" and a.get("rel") != "alternate"] == []
        (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        ids = {a["id"] for _, a in page.tags if "id" in a}
        for _, attrs in page.tags:
            file, _, anchor = (attrs.get("href") or "").partition("#")
            if not file.startswith("http"):
                assert not file or (path.parent / file).is_file(), (path, file)
                assert file or not anchor or anchor in ids


def test_words_of_strangers_are_no_markup_in_any_of_them(board):
    row = board.results["protocols"][0]["sections"][0]["methods"][0]
    row["title"] = row["method"] = "<script>alert(1)</script>"
    board.results["protocols"][0]["title"] = "</title><img src=x>"
    board.publish()
    for path in (*board.out.glob("v/1/*.html"), *board.out.glob("embed/*.html"), board.out / "versions.html"):
        assert not re.search(r"<script|<img", path.read_text(encoding="utf-8"))


def test_a_version_is_read_like_a_board_also_where_it_is_kept_packed(board, monkeypatch):
    board.publish()
    monkeypatch.setattr(versions, "MOST_PLAIN", 1000)
    board.move()
    board.publish()
    assert not (board.out / "v" / "2" / "leaderboard.json").exists()
    for number in (1, 2):
        page = Page(board.page(f"v/{number}/index.html"))
        assert {a["href"] for _, a in page.tags if "download" in a} == {
            versions.kept(board.out, published.read(board.out).versions[number - 1]).name
        }
    now = harness.read_board(board.out)
    pd.testing.assert_frame_equal(harness.read_board(board.out / "v" / "2"), now)
    assert not harness.read_board(board.out / "v" / "1").equals(now)
    assert "1 score of 1 method moved" in leaderboard.diff(
        board.out / "v" / "1", versions.kept(board.out, published.read(board.out).newest)
    )
    schema = json.loads(board.page("v/1/leaderboard.schema.json"))
    jsonschema.validate(json.loads(board.page("v/1/leaderboard.json")), schema)
    board.move()
    assert board.publish().version.number == 3


@pytest.mark.slow
def test_the_pages_of_a_published_site_lead_to_its_versions(tmp_path):
    world = World(methods=("erm", "adv"), attributes=("race",), structures=("cup",), seeds=(0,), samples=60)
    make_store(tmp_path / "runs", world)
    leaderboard.publish(tmp_path / "runs", tmp_path / "public")
    leaderboard.build(tmp_path / "runs", tmp_path / "site")
    for page in ("index.html", "quick/erm.html"):
        assert "versions.html" in (tmp_path / "public" / page).read_text()
        assert "versions.html" not in (tmp_path / "site" / page).read_text()
    once = tree(tmp_path / "public")
    leaderboard.publish(tmp_path / "runs", tmp_path / "public")
    assert tree(tmp_path / "public") == once


def test_a_site_of_so_many_trials_that_its_data_are_packed_is_read_compared_and_published(
    built, tmp_path, monkeypatch
):
    monkeypatch.setattr(site, "PACKED", 1)
    runs, out = built.runs.root, tmp_path / "site"
    leaderboard.build(runs, out)
    assert not (out / "leaderboard.json").exists()
    for name in ("leaderboard.json", "leaderboard.csv"):
        assert gzip.decompress((out / f"{name}.gz").read_bytes()).decode() == built.page(name)
    tags = Page((out / "index.html").read_text(encoding="utf-8")).tags
    data = {tag["href"] for name, tag in tags if name == "a" and "download" in tag}
    assert data >= {"leaderboard.json.gz", "leaderboard.csv.gz"}
    assert all((out / one).is_file() for one in data)
    pd.testing.assert_frame_equal(harness.read_board(out), harness.read_board(built.out))
    assert leaderboard.diff(built.out, out) == leaderboard.diff(built.out, built.out)
    again = CliRunner().invoke(report_command, ["--runs", str(runs), "--out", str(out), "--diff", str(out)])
    assert again.exit_code == 0, again.output
    public = tmp_path / "public"
    assert leaderboard.publish(runs, public).new
    assert not leaderboard.publish(runs, public).new
    assert len(harness.read_board(public / "v" / "1")) == len(harness.read_board(out))
