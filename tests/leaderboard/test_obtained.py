"""How a record came to the board is said in words on every page and in both exports."""

from __future__ import annotations

import csv
import json

import pytest
from make_records import World, make_site, make_store

from harness.store import Record

WORLD = World(
    methods=("erm", "febs", "adv"),
    attributes=("race",),
    structures=("cup",),
    seeds=(0, 1),
    samples=120,
    missing=frozenset({("adv", "race", 0), ("adv", "race", 1)}),
    obtained={("febs", 0): "verified", ("febs", 1): "reported"},
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("obtained"), WORLD)


def sub_line(page: str, method: str) -> str:
    """The small print under a method's name on the board."""
    row = page[page.index(f'data-method="{method}"') :]
    start = row.index('<span class="sub">')
    return row[start : row.index("</span>", start)]


def test_a_mixed_cell_says_the_weakest_and_one_without_records_nothing(site):
    page = site.page("index.html")
    assert sub_line(page, "erm").endswith("2 seeds · run here")
    assert sub_line(page, "febs").endswith("2 seeds · self-reported")
    assert sub_line(page, "adv").endswith("not run yet")
    # What all rows share is said once, below them.
    assert "All rows: set by the protocol." in page


def test_all_verified_says_so_on_the_method_page(tmp_path):
    world = World(
        methods=("erm", "febs"), attributes=("race",), structures=("cup",), seeds=(0, 1), samples=120,
        obtained={("febs", 0): "verified", ("febs", 1): "verified"},
    )  # fmt: skip
    built = make_site(tmp_path, world)
    assert "Verified from predictions." in built.page("quick/febs.html")
    assert "Run here." in built.page("quick/erm.html")


def test_the_exports_carry_it(site):
    (board,) = json.loads(site.page("leaderboard.json"))["protocols"]
    told = {m["method"]: m["obtained"] for section in board["sections"] for m in section["methods"]}
    assert told == {"erm": "run", "febs": "reported", "adv": None}
    rows = list(csv.DictReader(site.page("leaderboard.csv").splitlines()))
    assert {row["method"]: row["obtained"] for row in rows} == {"erm": "run", "febs": "reported", "adv": ""}


def test_a_record_from_before_the_field_was_run_here(tmp_path):
    store = make_store(tmp_path, World(methods=("erm",), seeds=(0,), samples=20))
    path = store.path(store.ids()[0]) / "record.json"
    table = json.loads(path.read_text())
    del table["obtained"]
    assert Record.model_validate(table).obtained == "run"


def test_whose_loop_trained_a_row_is_said_on_the_board_on_its_page_and_in_the_export(tmp_path):
    methods = ("erm", "febs", "adv", "groupdro", "resampled")
    trained = {(name, seed): "by the harness" for name in methods for seed in (0, 1)}
    trained |= {("febs", 1): "by itself", ("adv", 0): ""}
    world = World(
        methods=methods, attributes=("race",), structures=("cup",), seeds=(0, 1), samples=60, trained=trained,
        obtained={("groupdro", 0): "verified", ("groupdro", 1): "verified"},
    )  # fmt: skip
    built = make_site(tmp_path, world)
    page = built.page("index.html")
    said = {name: sub_line(page, name) for name in methods}
    assert "run here · trained by the harness" in said["erm"]
    # One seed that trained itself is enough, and one that does not tell.
    assert "run here · trains its own model" in said["febs"]
    assert "train" not in said["adv"]
    # What did not run here is the submitter's word.
    assert "verified from predictions · trained by the harness, it is said" in said["groupdro"]
    assert "Trains its own model." in built.page("quick/febs.html")
    (board,) = json.loads(built.page("leaderboard.json"))["protocols"]
    told = {one["method"]: one["trained"] for one in board["sections"][0]["methods"]}
    assert told["febs"] == "by itself"
    assert (told["erm"], told["adv"]) == ("by the harness", "")
