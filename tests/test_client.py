"""`harness.read_board`: a published board as a frame, from wherever it lies."""

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest
from make_records import World, shared_site

import harness
from harness.client import COLUMNS, READS
from harness.errors import HarnessError

MISSING = frozenset({("febs", "race", seed) for seed in (0, 1)})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    world = World(
        methods=("erm", "adv", "febs"),
        attributes=("race",),
        structures=("cup",),
        seeds=(0, 1),
        missing=MISSING,
    )
    return shared_site(tmp_path_factory, "read", world)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(Quiet, directory=str(site.out.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/{site.out.name}"
        running.shutdown()


def test_it_has_every_number_of_the_json_and_of_the_csv(site):
    board = harness.read_board(site.out)
    assert tuple(board.columns) == COLUMNS
    export = json.loads(site.page("leaderboard.json"))
    numbers = [
        number
        for method in export["protocols"][0]["sections"][0]["methods"]
        for part in ("scores", "groups")
        for numbers in method[part].values()
        for number in numbers.values()
    ]
    scored = board[board["metric"] != ""]
    assert len(scored) == len(numbers)
    sums = (sum(n["estimate"] or 0 for n in numbers), scored["estimate"].sum())
    assert sums[0] == pytest.approx(sums[1])
    # The CSV is written by other code, from the statistics' own tables.
    table = pd.read_csv(site.out / "leaderboard.csv", keep_default_na=False, na_values=[""])
    own = ["method", "metric", "estimate", "low", "high"]
    theirs = table[table["quantity"] == "es_sum"].sort_values(["method", "metric"])[own]
    mine = board[board["quantity"] == "es_sum"].sort_values(["method", "metric"])[own]
    assert len(theirs) > 5
    pd.testing.assert_frame_equal(
        mine.reset_index(drop=True), theirs.reset_index(drop=True), check_dtype=False, rtol=1e-5
    )


def test_a_method_that_has_not_run_has_a_row_and_no_number(site):
    board = harness.read_board(site.out)
    (row,) = board[board["method"] == "febs"].to_dict("records")
    assert row["status"] == "not run yet"
    assert math.isnan(row["estimate"])
    assert board[board["method"] == "febs"]["rank"].isna().all()


@pytest.mark.parametrize("place", ["", "/", "/index.html#race-cup", "/leaderboard.json"])
def test_every_address_of_a_site_leads_to_its_results(site, address, place):
    board = harness.read_board(address + place)
    pd.testing.assert_frame_equal(board, harness.read_board(site.out))
    assert board.attrs["source"] == f"{address}/leaderboard.json"
    assert board.attrs["schema_version"] in READS


def test_a_folder_a_page_a_file_and_a_file_address_are_the_same(site):
    once = harness.read_board(site.out)
    for place in (str(site.out), site.out / "index.html", site.out / "leaderboard.json", site.out.as_uri()):
        pd.testing.assert_frame_equal(harness.read_board(place), once)


REFUSED = {
    "[1]": "no schema_version",
    "{": "not JSON",
    "[" * 100_000: "not JSON",
    "\ufffd": "not JSON",
    '{"schema_version": 99}': "schema 99, this harness reads 2",
    '{"schema_version": 2}': "not what the schema says",
    '{"schema_version": 2, "protocols": [1]}': "not what the schema says",
    '{"schema_version": [2]}': "this harness reads 2",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_board_is_one_sentence(tmp_path, text):
    (tmp_path / "leaderboard.json").write_text(text)
    with pytest.raises(HarnessError, match=REFUSED[text]) as raised:
        harness.read_board(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ftp://example.org/site", "begins with https://"),
        ("data://text/plain,x", "begins with https://"),
        ("http://[", "no address"),
        ("http://127.0.0.1:1/site", "give the address of a published board"),
        ("http://", "give the address of a published board"),
        ("http://127.0.0.1:99999/", "give the address of a published board"),
        ("http://a b/", "give the address of a published board"),
        ("file:///nowhere", "give a site that harness report"),
        ("nowhere", "give a site that harness report"),
    ],
)
def test_what_does_not_answer_is_one_sentence(address, said):
    with pytest.raises(HarnessError, match=said) as raised:
        harness.read_board(address)
    assert "\n" not in str(raised.value)


def test_what_is_not_there_is_said_with_its_status(address):
    with pytest.raises(HarnessError, match="404 .*File not found"):
        harness.read_board(f"{address}/none")


def test_the_name_is_there_and_nothing_is_imported_for_it():
    code = (
        "import sys, harness; harness.read_board; "
        "assert not {'pandas', 'numpy', 'urllib.request'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "read_board" not in harness.__all__  # the plugin author's nine names are what they were
